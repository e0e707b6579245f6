"""A patient as the gateway knows one: by identifier and issuer."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """Who is to be examined. Empty text means unknown."""

    patient_id: str
    issuer: str
    name: str  # DICOM person name: family^given^middle^prefix^suffix
    birth_date: str  # YYYYMMDD
    sex: str  # M F O or empty

    @property
    def display_name(self) -> str:
        """The name as a receptionist reads it: "Doe, Jane Q"."""
        alphabetic = self.name.split("=", 1)[0]
        family, _, rest = alphabetic.partition("^")
        given = " ".join(part for part in rest.split("^")[:2] if part)
        return f"{family}, {given}" if given else family
