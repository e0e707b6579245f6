"""What is asked of the stored studies, and what is found, free of DICOM's encoding."""

from dataclasses import dataclass
from datetime import datetime

from gateway.model.ids import Uid
from gateway.model.patient import Patient
from gateway.model.study import SeriesFacts
from gateway.model.worklist import Match, Range


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which studies, series or instances are looked for; what is empty or None does not narrow the search."""

    study_uids: tuple[str, ...] = ()
    series_uids: tuple[str, ...] = ()
    sop_uids: tuple[str, ...] = ()
    sop_classes: tuple[str, ...] = ()
    patient_id: Match | None = None
    issuer: Match | None = None
    patient_name: Match | None = None
    birth_date: Range | None = None
    sex: Match | None = None
    accession: Match | None = None
    study_id: Match | None = None
    study_description: Match | None = None
    study_date: Range | None = None
    modalities: Match | None = None  # of one of the study's series
    modality: Match | None = None  # of the series itself; so with the next two
    series_number: Match | None = None
    series_description: Match | None = None
    instance_number: Match | None = None
    with_doubtful: bool = False  # studies whose link to their order a person has yet to settle


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundStudy:
    """A study as it is known now."""

    study_uid: Uid
    patient: Patient
    accession: str
    study_id: str
    description: str
    referring: str
    study_date: str  # YYYYMMDD as the header said
    started: datetime | None  # aware UTC; None when the header has no time of day
    zone_offset: str  # "+0100"; "" when the header has none
    modalities: tuple[str, ...]
    series_count: int
    instance_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSeries:
    """A series, and the study it is part of."""

    study: FoundStudy
    series_uid: Uid
    modality: str
    number: str
    description: str
    facts: SeriesFacts
    instance_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundInstance:
    """An instance, and the series it is part of."""

    series: FoundSeries
    sop_uid: Uid
    sop_class: Uid
    transfer_syntax: Uid
    number: str
    frames: int
