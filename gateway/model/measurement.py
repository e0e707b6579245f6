"""A number a machine measured, as its structured report said it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A coded concept: value, scheme designator (LN, SCT, DCM, UCUM, 99...) and meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One NUM content item of a structured report. Source: DICOM PS3.3 C.18.1."""

    name: Code
    value: str  # the decimal as the machine wrote it, digits and trailing zeros kept; "" when it gave none
    unit: Code | None  # None when the item has no value
    context: tuple[str, ...]  # the meanings of the containers above it, outermost first
    path: str  # the item's place in the tree, "1.3.2", unique in its report
