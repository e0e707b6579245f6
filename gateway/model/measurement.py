"""A number a machine measured, as its structured report said it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A coded concept: value, scheme designator (LN, SCT, DCM, UCUM, 99...) and meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The document that a number stands in. Source: DICOM PS3.3 C.17.2."""

    sop_uid: str
    is_complete: bool  # Completion Flag (0040,A491)
    is_verified: bool  # Verification Flag (0040,A493)
    is_preliminary: bool  # Preliminary Flag (0040,A496)
    replaces: tuple[str, ...] = ()  # the SOP Instance UIDs of the reports that it takes the place of
    date: str = ""  # Content Date, Content Time and the zone, as they stood
    time: str = ""
    zone_offset: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What else a report says of a number."""

    subject: str = ""  # which fetus, as the report names it; "" for the patient
    modifiers: tuple[tuple[Code, Code], ...] = ()  # what is said and its value: finding site, derivation ...
    qualifier: Code | None = None  # why there is no number; None when the report does not say
    observation_uid: str = ""  # Observation UID (0040,A171)
    report: Report | None = None  # None for what was read before reports were looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One NUM content item of a structured report. Source: DICOM PS3.3 C.18.1."""

    name: Code
    value: str  # the decimal as the machine wrote it, digits and trailing zeros kept; "" when it gave none
    unit: Code | None  # None when the item has no value
    context: tuple[str, ...]  # the meanings of the containers above it, outermost first
    path: str  # the item's place in the tree, "1.3.2", unique in its report
    circumstances: Circumstances = Circumstances()


def read_circumstances(found: Mapping[str, Any]) -> Circumstances:
    """Circumstances from the plain mapping that `dataclasses.asdict` makes of them. Raises LookupError, TypeError."""
    report = found["report"]
    return Circumstances(
        subject=str(found["subject"]),
        modifiers=tuple((read_code(said), read_code(value)) for said, value in found["modifiers"]),
        qualifier=None if found["qualifier"] is None else read_code(found["qualifier"]),
        observation_uid=str(found["observation_uid"]),
        report=None if report is None else Report(**{**report, "replaces": tuple(report["replaces"])}),
    )


def read_code(found: Mapping[str, Any]) -> Code:
    """A code from its plain mapping. Raises LookupError, TypeError."""
    return Code(value=str(found["value"]), scheme=str(found["scheme"]), meaning=str(found["meaning"]))
