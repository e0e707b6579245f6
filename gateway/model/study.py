"""What a machine sent: studies, series, instances."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.model.ids import InstanceId, OrderId, SeriesId, StudyId, Uid
from gateway.model.measurement import Code, Measurement


class StudyState(StrEnum):
    """Whether more images are awaited."""

    RECEIVING = "receiving"
    COMPLETE = "complete"


class PictureState(StrEnum):
    """What became of an instance's thumbnail and measurements."""

    PENDING = "pending"
    READY = "ready"
    NONE = "none"  # the object has no picture
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFacts:
    """What the header of a study's first object says for those who are told of it. Text as it stood."""

    zone_offset: str = ""  # Timezone Offset From UTC (0008,0201), "+0100"
    accession_issuer: str = ""  # a UID, a URI or a name
    referring: str = ""  # Referring Physician's Name
    procedure: tuple[Code, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesFacts:
    """What the header of a series' first object says for those who are told of it. Text as it stood."""

    date: str = ""
    time: str = ""
    zone_offset: str = ""
    body_part: str = ""  # Body Part Examined (0018,0015)
    region: Code | None = None  # Anatomic Region; None when it is not coded
    laterality: str = ""
    performing: str = ""  # Performing Physician's Name, several with a backslash between them
    operators: str = ""
    station: str = ""  # Station Name


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One object as its header describes it. Dates and times are DICOM text as they stood; empty is absent."""

    sop_uid: Uid
    sop_class: Uid
    series_uid: Uid
    study_uid: Uid
    transfer_syntax: Uid
    modality: str
    patient_id: str
    issuer: str
    patient_name: str
    birth_date: str
    sex: str
    accession: str
    study_id: str
    study_date: str
    study_time: str
    zone_offset: str  # Timezone Offset From UTC (0008,0201), "+0100"
    study_description: str
    series_number: str
    series_description: str
    instance_number: str
    frames: int
    calling_ae: str
    title: str = ""  # what kind of picture or document it is
    facts: StudyFacts = StudyFacts()
    series_facts: SeriesFacts = SeriesFacts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A stored object. `path` is relative to the files' folder."""

    id: InstanceId
    sop_uid: Uid
    sop_class: Uid
    transfer_syntax: Uid
    number: str
    frames: int
    path: str
    size: int  # bytes on disk, Part 10 header included
    sha256: str  # of the data set's bytes, without the Part 10 header
    picture: PictureState
    thumbnail: str  # path relative to the files' folder; "" when there is none
    received_at: datetime
    title: str = ""  # what kind of picture or document it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A stored series and its instances in the order they came."""

    id: SeriesId
    series_uid: Uid
    modality: str
    number: str
    description: str
    instances: tuple[Instance, ...]
    facts: SeriesFacts = SeriesFacts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A stored study, whole."""

    id: StudyId
    study_uid: Uid
    order_id: OrderId | None  # None: no order is known for it
    state: StudyState
    accession: str
    patient_id: str
    issuer: str
    patient_name: str
    birth_date: str
    sex: str
    study_id: str
    started: datetime | None  # aware UTC; None when the header has no date, or only a day (see study_date)
    study_date: str  # YYYYMMDD as the header said
    description: str
    calling_ae: str
    doubt: str  # why a person should look at the link to its order; "" when there is no doubt
    first_at: datetime
    last_at: datetime
    completed_at: datetime | None
    series: tuple[Series, ...]
    measurements: tuple[Measurement, ...]
    facts: StudyFacts = StudyFacts()

    @property
    def instance_count(self) -> int:
        """How many instances it holds."""
        return sum(len(series.instances) for series in self.series)
