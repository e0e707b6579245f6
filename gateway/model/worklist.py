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


def starts_within(day: str, hour: str, days: Range | None, hours: Range | None) -> bool:
    """Whether a start, YYYYMMDD and HHMMSS, is in what was asked; an open hour ("") is in any hours of its day.

    A range of days and a range of hours are one span, from the first day's first hour to the last day's last; hours
    whose end comes before their beginning go over midnight. Source: DICOM PS3.4 table K.6-1, C.2.2.2.5.
    """
    if days is not None and not _is_in(day, days):
        return False
    if hours is None or not hour:
        return True
    if days is None or days.first == days.last or hours.first == hours.last:
        if hours.first and hours.last and hours.last < hours.first:
            return hour >= hours.first or hour <= hours.last
        return _is_in(hour, hours)
    too_early = day == days.first and hour < hours.first
    too_late = bool(hours.last) and day == days.last and hour > hours.last
    return not too_early and not too_late


def _is_in(text: str, span: Range) -> bool:
    return text != "" and text >= span.first and (not span.last or text <= span.last)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorklistQuery:
    """The keys of one query; None or an absent field matches everything. Source: DICOM PS3.4 K.6.1.2.2."""

    patient_name: Match | None = None
    is_fuzzy: bool = False  # the name more or less: see model/names.py
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
