"""The answer to a worklist query: an order as the data set that the machine asked for. Source: DICOM PS3.4 K.6.1.2.2.

- Every key asked comes back, empty where the order has no value, unless the machine's profile leaves it out. Private
  and unknown keys do not.
- The Scheduled Procedure Step Sequence has one item. An empty key item asks for the whole item.
- An order that names no machine is said to be for the one that asks; one whose hour is open starts at 00:00, and one
  without a day starts on the day it was sent: these keys must have a value, and some machines drop their whole list
  over one entry without.
- Specific Character Set: see `charset.choose`. It is sent only where it is needed, asked for or not.
- Timezone Offset From UTC is sent only when asked for. Asked with a value, it is the zone of every date and time in
  the question and in the answer. Source: DICOM PS3.4 C.4.1.1.3.1.
"""

from dataclasses import dataclass
from datetime import datetime, tzinfo

from gateway.dicom.elements import Syntax
from gateway.dicom.encoding import Field, encode
from gateway.dicom.fitting import Fitting
from gateway.dicom.keys import STEP_KEYS, Asked
from gateway.dicom.profiles import Profile
from gateway.model.ids import OrderId
from gateway.model.lifecycle import State
from gateway.model.order import Attributes, Order, Value

_INTERNAL = (
    "ScheduledProcedureStepStartDateTime"  # how orders keep it; machines ask for the date and the time
)


_PLAIN = Profile()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is said of one order, and the Specific Character Set that holds it."""

    fields: tuple[Field, ...]
    terms: tuple[str, ...]

    def encoded(self, syntax: Syntax) -> bytes:
        """The identifier in the association's transfer syntax."""
        return encode(self.fields, self.terms, syntax)


def attributes_of(
    order: Order, *, station: str, zone: tzinfo, site: tzinfo | None = None
) -> dict[str, Value]:
    """What the order says, flat, by DICOM keyword; only keywords with a value.

    `station` is the machine that an order which names none is for. Instants are said in `zone`; days whose hour is
    open are the site's, whatever the zone.
    """
    start = order.start or order.sent_at
    clock = zone if order.has_time or site is None else site
    columns: dict[str, Value] = {
        "PatientName": order.patient.name,
        "PatientID": order.patient.patient_id,
        "IssuerOfPatientID": order.patient.issuer,
        "PatientBirthDate": order.patient.birth_date,
        "PatientSex": order.patient.sex,
        "AccessionNumber": order.accession,
        "StudyInstanceUID": order.study_uid,
        "Modality": order.modality,
        "ScheduledStationAETitle": order.station or station,
        "ScheduledProcedureStepID": order.step_id,
        "ScheduledProcedureStepStatus": _status(order),
        "ScheduledProcedureStepStartDate": _local(start, clock, "%Y%m%d"),
        "ScheduledProcedureStepStartTime": _local(order.start, clock, "%H%M%S")
        if order.has_time
        else "000000",
        "TimezoneOffsetFromUTC": _local(start, zone, "%z"),
        "RequestedProcedureID": order.procedure_id or order.accession or order.step_id,
    }
    defaults: dict[str, Value] = {
        "RequestedProcedureDescription": order.description,
        "ScheduledProcedureStepDescription": order.description,
        "RequestedProcedurePriority": order.priority,
        "ReferringPhysicianName": order.referring,
        "PlacerOrderNumberImagingServiceRequest": order.placer,
        "FillerOrderNumberImagingServiceRequest": order.filler,
    }
    known = {name: value for name, value in order.attributes.items() if value and name != _INTERNAL}
    return {name: value for name, value in {**defaults, **known, **columns}.items() if value}


def answer(attributes: Attributes, asked: Asked, order_id: OrderId, profile: Profile = _PLAIN) -> Answer:
    """What answers `asked`. A value that its VR cannot hold is left empty, and logged.

    Raises KeptBack when the machine could not take it.
    """
    fields, terms = Fitting(profile, STEP_KEYS, order_id).fit(attributes, asked.keys, asked.charset)
    return Answer(fields=fields, terms=terms)


def _status(order: Order) -> str:
    """Source: DICOM PS3.3 C.4.10, Scheduled Procedure Step Status."""
    if order.state is State.STARTED:
        return "STARTED"
    return "ARRIVED" if order.arrived_at else "SCHEDULED"


def _local(instant: datetime | None, zone: tzinfo, form: str) -> str:
    return instant.astimezone(zone).strftime(form) if instant else ""
