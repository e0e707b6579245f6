"""What a machine asks of the worklist, free of DICOM's encoding."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A condition on one text: any of `values`; `*` and `?` are wildcards when `is_wild`."""

    values: tuple[str, ...]
    is_wild: bool = False
    ignore_case: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A closed range of DICOM dates (YYYYMMDD) or times (HHMMSS); an empty end is open."""

    first: str = ""
    last: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorklistQuery:
    """The keys of one query; None or an absent field matches everything. Source: DICOM PS3.4 K.6.1.2.2."""

    patient_name: Match | None = None
    patient_id: Match | None = None
    issuer: Match | None = None
    accession: Match | None = None
    procedure_id: Match | None = None
    study_uid: Match | None = None
    station: Match | None = None  # AE title; an order that names no machine is on every machine's list
    modality: Match | None = None
    step_id: Match | None = None
    date: Range | None = None
    time: Range | None = None
    others: dict[str, Match] = field(default_factory=dict)  # keys without a column, by keyword
