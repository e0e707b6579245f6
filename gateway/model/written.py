"""What another server called something that we wrote there."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A resource on a FHIR server, as that server names it."""

    id: str
    version: str | None  # meta.versionId; None when the server did not say
