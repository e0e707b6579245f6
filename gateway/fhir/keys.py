"""Our own key pairs: made, read from their files, and published. Source: RFC 7517; SMART App Launch 2.2, asymmetric."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from gateway.model.errors import Conflict, Invalid

Kind = Literal["RS384", "ES384"]

_LEAST_RSA_BITS = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A private key, with what its signatures are called."""

    kid: str  # its thumbprint. Source: RFC 7638
    kind: Kind
    pair: RSAKey | ECKey

    def public(self) -> dict[str, Any]:
        """The public half as a JWK."""
        told = self.pair.as_dict(private=False)
        return {**told, "kid": self.kid, "use": "sig", "alg": self.kind}


def make_key(file: Path, kind: Kind) -> SigningKey:
    """A new key pair, whose private half stands in the file that nobody but its owner can read (PEM).

    Raises Conflict when the file is there already, Invalid when it cannot be written.
    """
    pair = RSAKey.generate_key(3072) if kind == "RS384" else ECKey.generate_key("P-384")
    try:
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Conflict(f"{file}: there is a file already; it is not written over") from None
    except OSError as error:
        raise Invalid(f"{file}: cannot be written: {error.strerror}") from None
    with os.fdopen(opened, "wb") as written:
        written.write(pair.as_pem(private=True))
    return read_key(file)


def read_key(file: Path) -> SigningKey:
    """The key pair of a file (PEM). Raises Invalid."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise Invalid(f"{file}: cannot be read: {error.strerror}") from None
    for kind in (RSAKey, ECKey):
        try:
            pair = kind.import_key(raw)
        except (ValueError, TypeError, JoseError):
            continue
        return SigningKey(kid=pair.thumbprint(), kind=_kind(pair, file), pair=pair)
    raise Invalid(f"{file}: no RSA or EC private key (PEM)")


def public_pem(key: SigningKey) -> str:
    """The public half for servers that are given a file."""
    return key.pair.as_pem(private=False).decode()


def key_set(files: Iterable[Path]) -> dict[str, Any]:
    """The JWK Set that servers fetch. Raises Invalid."""
    return {"keys": [read_key(file).public() for file in dict.fromkeys(files)]}


def _kind(pair: RSAKey | ECKey, file: Path) -> Kind:
    """Raises Invalid for a key that SMART servers need not take, or no private one."""
    if not pair.is_private:
        raise Invalid(f"{file}: it is a public key; a private one is needed")
    if isinstance(pair, RSAKey):
        if pair.raw_value.key_size < _LEAST_RSA_BITS:
            raise Invalid(f"{file}: an RSA key has {_LEAST_RSA_BITS} bits at least")
        return "RS384"
    if pair.curve_name != "P-384":
        raise Invalid(f"{file}: an EC key is of the curve P-384")
    return "ES384"
