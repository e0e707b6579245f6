"""How one side of an HTTP connection proves who it is, and the check of what it says."""

import base64
import binascii
import secrets
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """A secret that whoever bears it may use. Source: RFC 6750."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Basic:
    """A user and a password. Source: RFC 7617, as UTF-8."""

    user: str
    password: str = field(repr=False)

    @property
    def pair(self) -> bytes:
        """What stands in the header, before base64."""
        return f"{self.user}:{self.password}".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A header of the other side's own choice; to destinations only."""

    name: str
    value: str = field(repr=False)


Credential: TypeAlias = Bearer | Basic | Header


def is_proof(expected: Bearer | Basic | None, authorization: str) -> bool:
    """Whether the Authorization header is what is expected; it takes the same time for every wrong one.

    None expects nothing.
    """
    if expected is None:
        return True
    scheme, _, given = authorization.strip().partition(" ")
    given = given.strip()
    if isinstance(expected, Bearer):
        return scheme.lower() == "bearer" and _is_same(_bytes(given), expected.token.encode())
    return scheme.lower() == "basic" and _is_same(_decoded(given), expected.pair)


def challenge_for(expected: Bearer | Basic | None, realm: str) -> str:
    """The WWW-Authenticate header for one who is not admitted. Source: RFC 9110 11.6.1."""
    kind = "Basic" if isinstance(expected, Basic) else "Bearer"
    return f'{kind} realm="{realm}"' + (', charset="UTF-8"' if kind == "Basic" else "")


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
