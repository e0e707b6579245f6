"""A FHIR resource that we hold: pushed to us by a record system, or read back from it."""

from dataclasses import dataclass
from datetime import datetime

Identifiers = tuple[tuple[str, str], ...]
"""(system, value) of each; the system is "" where the sender gave none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One version of a resource as its source wrote it."""

    source: str
    type: str  # "Patient"
    id: str
    version: str = ""  # meta.versionId; "" when the source gave none
    last_updated: datetime | None = None  # meta.lastUpdated; None when the source gave none that can be read
    body: bytes  # JSON with the digits of its decimals; b"" of one that was deleted without a last version
    at: datetime  # when it came
    is_deleted: bool = False
    identifiers: Identifiers = ()

    @property
    def address(self) -> str:
        """ "Patient/7" in the source's FHIR base."""
        return f"{self.type}/{self.id}"


def is_older(one: Held, other: Held) -> bool:
    """Whether `one` is an older version than `other`: by version when both count up, else by time of change.

    Source: FHIR R4 resource.html, meta.versionId, meta.lastUpdated.
    """
    if _counts(one.version) and _counts(other.version):
        return int(one.version) < int(other.version)
    if one.last_updated is not None and other.last_updated is not None:
        return one.last_updated < other.last_updated
    return False


def _counts(version: str) -> bool:
    return version.isascii() and version.isdigit() and len(version) < 20
