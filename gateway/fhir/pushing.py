"""What a request can prove its sender by. Several proofs that must hold together are a way in."""

import base64
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from gateway.fhir.issuer import Issuer
from gateway.model.connection import Certificate, Connection, Subject
from gateway.model.credential import Basic, Bearer, Header, is_proof
from gateway.model.network import Network, is_within


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What there is of a request to look at."""

    headers: Mapping[str, str]  # by their names in small letters
    secret: str = field(default="", repr=False)  # what stands behind "~" in the address
    peer: str = ""  # the address that it came from; a proxy of ours may have told it
    connection: Connection  # what it came by, which no header changes
    body: bytes = field(default=b"", repr=False)  # as it came, before it was unpacked


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A header with the HMAC of the body. Source: RFC 2104; WebSub 8, X-Hub-Signature; Medplum, X-Signature."""

    header: str
    secret: str = field(repr=False)
    prefix: str = ""  # "sha256="
    encoding: Literal["hex", "base64"] = "hex"
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class PathSecret:
    """A secret in the address, for senders that can send no header: /fhir/{source}~{secret}."""

    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificate:
    """A client certificate: of the connection itself, or verified by a proxy of ours and told by a header."""

    fingerprints: frozenset[str] = frozenset()  # SHA-256 in hexadecimal, small letters, no colons; none: any
    subjects: tuple[Subject, ...] = ()  # none: any; without fingerprints and subjects nobody is meant
    header: str = ""  # "": no proxy tells of one
    proxies: tuple[Network, ...] = ()  # whose word counts

    def fits(self, attempt: Attempt) -> bool:
        """Whether the request came with one of these."""
        shown = attempt.connection.certificate
        if shown is not None and self._is_meant(shown):
            return True
        # The address is the connection's own: X-Forwarded-For must not make a proxy of whoever writes it.
        if not self.header or not is_within(attempt.connection.address, self.proxies):
            return False
        told = attempt.headers.get(self.header.lower(), "").replace(":", "").strip().lower()
        return told in self.fingerprints

    def _is_meant(self, shown: Certificate) -> bool:
        is_named = any(one <= shown.subject for one in self.subjects)
        is_known = shown.fingerprint in self.fingerprints
        return (
            (is_named or is_known) and (is_named or not self.subjects) and (is_known or not self.fingerprints)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """The networks that a sender calls from."""

    networks: tuple[Network, ...]

    def fits(self, attempt: Attempt) -> bool:
        """Whether the request came from one of these."""
        return is_within(attempt.peer, self.networks)


Check: TypeAlias = Bearer | Basic | Header | Signature | PathSecret | ClientCertificate | Addresses | Issuer
Way: TypeAlias = tuple[Check, ...]
"""Proofs that must all hold."""


def holds(check: Check, attempt: Attempt) -> bool:
    """Whether the request proves what is checked."""
    match check:
        case Bearer() | Basic():
            return is_proof(check, attempt.headers.get("authorization", ""))
        case Header(name=name, value=value):
            return _is_same(attempt.headers.get(name.lower(), ""), value)
        case Signature():
            return _is_signed(check, attempt)
        case PathSecret(secret=secret):
            return _is_same(attempt.secret, secret)
        case ClientCertificate() | Addresses():
            return check.fits(attempt)
        case Issuer():
            return check.vouches_for(attempt.headers.get("authorization", ""))


def _is_signed(check: Signature, attempt: Attempt) -> bool:
    digest = hmac.digest(check.secret.encode(), attempt.body, check.algorithm)
    text = digest.hex() if check.encoding == "hex" else base64.b64encode(digest).decode()
    given = attempt.headers.get(check.header.lower(), "").strip()
    if check.encoding == "hex":
        given = given.lower()
    return _is_same(given, f"{check.prefix.lower() if check.encoding == 'hex' else check.prefix}{text}")


def _is_same(given: str, expected: str) -> bool:
    return secrets.compare_digest(given.encode("latin-1", errors="replace"), expected.encode())
