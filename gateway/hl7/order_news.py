"""What becomes of an order, told as ORM^O01 or OMG^O19: order control SC with the new order status.

Source: HL7 v2.5.1 4.4 (ORM, OMG), 4.5.1 (ORC), tables 0038 and 0119; IHE RAD TF-2 4.2 (ZDS).
"""

from collections.abc import Iterator

from gateway.hl7.destination import Destination, Event, StudyUid
from gateway.hl7.origin import Origin
from gateway.hl7.outbound import header, instant, message, patient, segment, text
from gateway.model.delivery import Change, Outgoing

EVENTS = {
    "order.send": Event.SENT,
    "order.arrive": Event.ARRIVED,
    "order.start": Event.STARTED,
    "order.complete": Event.COMPLETED,
    "order.cancel": Event.CANCELLED,
    "order.discontinue": Event.DISCONTINUED,
}
"""The actions of the audit trail that are told."""

STATUS_CHANGED = "SC"
"""Source: HL7 table 0119."""

STUDY_UID_CODE = "113014^DICOM Study^DCM"
"""Source: IHE RAD TF-2 4.7, order status update."""

_STATUSES = {
    Event.SENT: "SC",  # in process, scheduled
    Event.ARRIVED: "AR",  # none of the table: what dcm4chee and its like say for a patient who is here
    Event.STARTED: "IP",
    Event.COMPLETED: "CM",
    Event.CANCELLED: "CA",
    Event.DISCONTINUED: "DC",
}  # Source: HL7 table 0038


def order_status(
    change: Change, event: Event, destination: Destination, origin: Origin, *, control_id: str
) -> Outgoing:
    """The news of the event for the destination."""
    kind = destination.order_message
    return Outgoing(
        destination=destination.name,
        kind=f"{kind} {_STATUSES[event]}",
        key=f"order:{change.order.id}",
        order_id=change.order.id,
        payload=message(_segments(change, event, destination, origin, control_id)),
        in_turn=True,
    )


def study_uid(study_uid: str, version: str, set_id: int = 1) -> str:
    """The OBX that carries the Study Instance UID. It is an order's detail, no result: OBX-11 is O."""
    fields = {1: str(set_id), 2: "ST", 3: STUDY_UID_CODE, 4: "1", 5: text(study_uid), 11: "O"}
    return segment("OBX", version, fields)


def _segments(
    change: Change, event: Event, destination: Destination, origin: Origin, control_id: str
) -> Iterator[str]:
    order, version, kind = change.order, destination.version, destination.order_message
    yield header(destination, kind, kind.replace("^", "_"), control_id=control_id, at=change.at)
    yield patient(order.patient, origin.patient_id, version)
    status = {1: STATUS_CHANGED, 5: _STATUSES[event], 9: instant(change.at, destination)}
    yield segment("ORC", version, origin.orc | status)
    yield segment("OBR", version, {1: "1"} | origin.obr)
    if _is_in_obx(destination):
        yield study_uid(order.study_uid, version)
    else:
        yield segment("ZDS", version, {1: f"{text(order.study_uid)}^^Application^DICOM"})


def _is_in_obx(destination: Destination) -> bool:
    chosen = destination.study_uid
    return destination.order_message != "ORM^O01" if chosen is StudyUid.AUTO else chosen is StudyUid.OBX
