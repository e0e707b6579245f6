"""Who is told about orders and studies by HL7 v2, and how they want to hear it."""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from zoneinfo import ZoneInfo


class Event(StrEnum):
    """What a destination may want to hear of."""

    SENT = "sent"  # the order is on a machine's worklist
    ARRIVED = "arrived"  # the patient is here
    STARTED = "started"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    DISCONTINUED = "discontinued"
    RESULTS = "results"  # the study is complete: its UID, its number of images, its measurements


class StudyUid(StrEnum):
    """The segment of an order's status that carries the Study Instance UID."""

    AUTO = "auto"  # ZDS in ORM^O01, as IHE's Scheduled Workflow has it; OBX in OMG^O19, which has no place for ZDS
    ZDS = "zds"
    OBX = "obx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How the connection is secured. The files are read at every connection, so that new ones count."""

    ca: Path | None  # who vouches for the server; None: the computer's own authorities
    certificate: Path | None  # our own, where the server asks for one
    key: Path | None  # None: it stands in the file of the certificate
    name: str  # the server's name in its certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A receiving system, as configured."""

    name: str
    host: str
    port: int
    sources: frozenset[str]  # whose orders it is told about
    zone: ZoneInfo
    tls: Tls | None = None
    sender: tuple[str, str] = ("GATEWAY", "")  # MSH-3 and MSH-4
    receiver: tuple[str, str] = ("", "")  # MSH-5 and MSH-6
    processing: str = "P"  # MSH-11
    version: str = "2.5.1"  # MSH-12
    charset: str = "UNICODE UTF-8"  # MSH-18
    events: frozenset[Event] = field(default_factory=frozenset)
    order_message: str = "ORM^O01"  # or OMG^O19
    study_uid: StudyUid = StudyUid.AUTO
    result_status: str = "F"  # OBX-11 of measurements of verified reports: F or P; of others it is P
    echo: bool = False  # whether it hears of changes that messages of its own `sources` asked for
    ack_timeout: timedelta = timedelta(seconds=30)
    max_errors: int = 5  # an AE is tried again until it was answered this often

    @property
    def longest_send(self) -> timedelta:
        """The longest that one delivery takes: it may connect and wait twice."""
        return 4 * self.ack_timeout + timedelta(seconds=30)
