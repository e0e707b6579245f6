"""Who may push to us, and how we prove ourselves to others."""

import base64
import binascii
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """A secret that whoever bears it may use. Source: RFC 6750."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Basic:
    """A user and a password. Source: RFC 7617, as UTF-8."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A header of the other side's own choice; to destinations only."""

    name: str
    value: str = field(repr=False)


Credential: TypeAlias = Bearer | Basic | Header


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A record system that pushes orders to /fhir/{name}."""

    name: str
    auth: Bearer | Basic | None  # None: whoever reaches the port may push
    release: Literal["R4", "R4B"] = "R4"
    base_url: str = ""  # where its references are read back; "" when it cannot be asked


def is_admitted(source: Source, authorization: str) -> bool:
    """Whether the Authorization header proves the sender to be `source`; takes the same time for every wrong one."""
    if source.auth is None:
        return True
    scheme, _, given = authorization.strip().partition(" ")
    given = given.strip()
    if isinstance(source.auth, Bearer):
        return scheme.lower() == "bearer" and _is_same(_bytes(given), source.auth.token.encode())
    return scheme.lower() == "basic" and _is_same(_decoded(given), _pair(source.auth))


def challenge(source: Source) -> str:
    """The WWW-Authenticate header for one who is not admitted. Source: RFC 9110 11.6.1."""
    kind = "Basic" if isinstance(source.auth, Basic) else "Bearer"
    return f'{kind} realm="fhir"' + (', charset="UTF-8"' if kind == "Basic" else "")


def headers(credential: Credential | None) -> Mapping[str, str]:
    """The request headers by which we prove ourselves; none for None."""
    match credential:
        case Bearer(token=token):
            return {"Authorization": f"Bearer {token}"}
        case Basic():
            return {"Authorization": f"Basic {base64.b64encode(_pair(credential)).decode()}"}
        case Header(name=name, value=value):
            return {name: value}
        case None:
            return {}


def _pair(basic: Basic) -> bytes:
    return f"{basic.user}:{basic.password}".encode()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _bytes(text: str) -> bytes:
    """A header's text as it came over the wire: the server reads headers as Latin-1."""
    return text.encode("latin-1", errors="replace")


def _is_same(given: bytes, expected: bytes) -> bool:
    return secrets.compare_digest(given, expected)
