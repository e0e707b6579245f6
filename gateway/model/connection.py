"""Who is at the other end of a connection, as far as the connection itself shows it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from gateway.model.errors import Invalid

Subject: TypeAlias = frozenset[tuple[str, str]]
"""Attributes of a certificate's subject: ("commonName", "ris")."""

STATE: Final = "connection"
"""The name in a request's state under which the HTTP port puts the Connection that the request came by."""

_ATTRIBUTES = {
    "CN": "commonName",
    "C": "countryName",
    "DC": "domainComponent",
    "EMAILADDRESS": "emailAddress",
    "L": "localityName",
    "O": "organizationName",
    "OU": "organizationalUnitName",
    "SERIALNUMBER": "serialNumber",
    "ST": "stateOrProvinceName",
    "UID": "userId",
}  # Source: RFC 4514 3, and the names that OpenSSL gives them
_COMMA = re.compile(r"(?<!\\),")


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate that the other side showed, signed by an authority of ours and in its time."""

    fingerprint: str  # SHA-256 of its DER form in hexadecimal, small letters without colons
    subject: Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The other end of a connection. It is the sender's, or that of a proxy in front of the gateway."""

    address: str
    certificate: Certificate | None = None  # None: it showed none, or was not asked


def subject_in(verified: Mapping[str, Any] | None) -> Subject:
    """The subject of a verified certificate, as `SSLSocket.getpeercert` tells it; empty when there is none."""
    groups = (verified or {}).get("subject", ())
    return frozenset((str(name), str(value)) for group in groups for name, value in group)


def read_subject(text: str) -> Subject:
    """The attributes in `text`, "CN=ris,O=Hospital"; a comma inside a value is written `\\,`. Raises Invalid."""
    return frozenset(_attributes(_COMMA.split(text)))


def _attributes(parts: Iterable[str]) -> Iterable[tuple[str, str]]:
    for part in parts:
        name, mark, value = part.replace("\\,", ",").partition("=")
        known = _ATTRIBUTES.get(name.strip().upper())
        if not mark or known is None or not value.strip():
            raise Invalid(f"not a subject such as CN=ris,O=Hospital; known are {', '.join(_ATTRIBUTES)}")
        yield known, value.strip()
