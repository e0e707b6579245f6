"""An order: what a mapping made of a message, and what the gateway keeps of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias, Union

from gateway.model.ids import MessageId, OrderId, PatientRow, Uid
from gateway.model.lifecycle import State
from gateway.model.patient import Patient

Value: TypeAlias = Union[str, "tuple[Item, ...]"]
"""Text, multi-valued with a backslash as in DICOM, or the items of a sequence. "" asks to delete what is stored."""

Item: TypeAlias = "Mapping[str, Value]"
"""DICOM keyword to value."""

Attributes: TypeAlias = "Mapping[str, Value]"
"""The worklist attributes of one scheduled procedure step by DICOM keyword, flat: the keys of the Scheduled
Procedure Step Sequence item stand beside the others. A keyword that is absent was not valued by the sender.

Dates are `YYYYMMDD`. ScheduledProcedureStepStartDateTime is ISO 8601, `2026-03-15T10:30:00-05:00` with its zone, or
`2026-03-15` when the hour is open; at the worklist it becomes the Scheduled Procedure Step Start Date and Time.
"""


class Action(StrEnum):
    """What the sender wants done with the order."""

    SCHEDULE = "schedule"
    UPDATE = "update"
    HOLD = "hold"
    CANCEL = "cancel"
    DISCONTINUE = "discontinue"
    START = "start"
    COMPLETE = "complete"
    RESCHEDULE = "reschedule"  # another time or room for an order that is known
    UNSCHEDULE = "unschedule"  # the order stays, its appointment is gone
    ARRIVE = "arrive"  # the patient is here
    UPDATE_PATIENT = "update-patient"
    MERGE = "merge"  # two identifiers are one patient
    IGNORE = "ignore"


class Severity(StrEnum):
    """What a fault does to the order: nothing but a remark, wait for a person, or be refused."""

    WARN = "warn"
    HOLD = "hold"
    REJECT = "reject"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in a message something stood. Numbers are 1-based; 0 means "not that precise".

    For FHIR, `path` is the FHIRPath and the rest is empty.
    """

    line: int = 0
    segment: str = ""
    segment_repetition: int = 0  # which segment of that name
    field: int = 0
    repetition: int = 0
    component: int = 0
    subcomponent: int = 0
    path: str = ""  # as the module's author wrote it

    def __str__(self) -> str:
        where = self.path or (f"{self.segment}-{self.field}" if self.field else self.segment)
        return f"line {self.line} {where}" if self.line else where


@dataclass(
    slots=True, kw_only=True
)  # not frozen: some twenty are made for every order, and freezing doubles their cost
class Provenance:
    """Where a value came from and what was done to it."""

    keyword: str
    value: str  # the value as text; a sequence as JSON
    place: Place | None  # None: a default or a value made by the module itself
    raw: str  # the text as the sender wrote it
    steps: tuple[str, ...]  # "date", "table sex", "default"
    at: str  # "orders-hl7.yaml:33", the module's line
    empty: tuple[str, ...] = ()  # alternatives that had nothing, in the order they were tried


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something wrong with one attribute of an order. The text names fields, never their values."""

    severity: Severity
    keyword: str  # the DICOM keyword that suffers, "" when the whole order does
    place: Place | None
    code: str  # HL7 table 0357: "101" required field missing, "102" data type, "103" table value ...
    text: str
    at: str  # "orders-hl7.yaml:21"; "" when no module is to blame

    def __str__(self) -> str:
        return f"{self.at}: {self.text}" if self.at else self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownCode:
    """A code of the sender that no table of the module knows."""

    table: str
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleRef:
    """Which mapping made something: its name and the hash of its content, parents included."""

    name: str
    version: str


WITHDRAWN = ModuleRef(name="withdrawn", version="")
"""What stands for a mapping module where a sender took a resource back: nothing had to be mapped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
    """One scheduled procedure step as a mapping module understood it."""

    action: Action
    attributes: Attributes
    provenance: tuple[Provenance, ...]
    faults: tuple[Fault, ...]
    module: ModuleRef
    service_request: str = ""  # "ServiceRequest/9" in the sender's FHIR base; "" for HL7
    subject: str = ""  # "Patient/7" in the sender's FHIR base
    encounter: str = ""  # "Encounter/3" in the sender's FHIR base
    unknown: tuple[UnknownCode, ...] = ()
    address: str = ""  # of the FHIR resource that asks: "Task/3"; "" for HL7 and for one without an id
    version: str = ""  # its meta.versionId
    changed_at: datetime | None = None  # its meta.lastUpdated; None when it has none

    @property
    def severity(self) -> Severity | None:
        """The worst of its faults, None when there are none."""
        found = {fault.severity for fault in self.faults}
        return next((s for s in (Severity.REJECT, Severity.HOLD, Severity.WARN) if s in found), None)

    def text(self, keyword: str) -> str:
        """The text of an attribute; empty when absent or a sequence."""
        value = self.attributes.get(keyword, "")
        return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """What came of one message: the orders in it, and why parts of it were passed over."""

    requests: tuple[OrderRequest, ...]
    skipped: tuple[str, ...]  # the `because` of each order skipped
    module: ModuleRef | None  # None when no module matches the message
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A stored order: one scheduled procedure step of one requested procedure."""

    id: OrderId
    source: str  # the listener or FHIR source it came from
    patient_row: PatientRow
    patient: Patient
    accession: str
    placer: str
    filler: str
    procedure_id: str
    step_id: str
    study_uid: Uid
    state: State
    modality: str
    station: str  # AE title; "" means any machine
    start: datetime | None  # aware UTC; None when the sender gave none
    has_time: bool  # False: only the day of `start` is meant
    description: str
    priority: str
    referring: str
    attributes: Attributes
    faults: tuple[Fault, ...]
    service_request: str
    subject: str
    module: ModuleRef
    message_id: MessageId
    arrived_at: datetime | None
    sent_at: datetime | None
    sent_by: str
    created_at: datetime
    updated_at: datetime
    version: int  # grows with every change; guards against two people acting at once
    told_at: datetime | None = None  # when the newest message that changed it was sent; None: not known
    encounter: str = ""  # "Encounter/3" in the sender's FHIR base; "" when it named none
    appointment: str = ""  # "Appointment/7", which the time is from; "" when from no such


def standing(orders: Iterable[Order]) -> tuple[Order, ...]:
    """Those that nobody took back; every one when none stands."""
    found = tuple(orders)
    return tuple(order for order in found if order.state is not State.CANCELLED) or found
