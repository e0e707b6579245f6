"""Renew: what a message says of a patient reaches the orders of that patient. Part of the receiving transaction."""

from dataclasses import replace

from gateway.flow import step
from gateway.flow.belong import VAGUE, vaguely_named
from gateway.flow.occasion import Occasion
from gateway.flow.order_of_news import STALE, newest
from gateway.model.audit import AuditEvent
from gateway.model.ids import PatientRow
from gateway.model.lifecycle import FINAL
from gateway.model.order import Order, OrderRequest, Severity, Value
from gateway.model.patient import Patient
from gateway.store import audit, orders, patients
from gateway.store.patients import Known

UNKNOWN = "no order here has that patient"
GIVEN_UP = (
    "the message names an identifier that was given up in a merge, and contradicts what is known of the patient who "
    "stayed: a person must settle it"
)

_OWN = frozenset({"PatientID", "IssuerOfPatientID", "PriorPatientID", "PriorIssuerOfPatientID"})


def update_patient(occasion: Occasion, request: OrderRequest) -> tuple[Order, ...]:
    """Every order of the patient, each with the new name, birth date and sex.

    What the message leaves out stays; "" deletes it. Orders that are over keep the rest of what they were made with.
    A patient who was merged is the one who survived: what the message says fills what is not known of him and changes
    nothing. Whether one is meant whose issuer is left out, a person decides.
    """
    if _is_in_doubt(occasion, request):
        return ()
    patient_id, issuer = request.text("PatientID"), request.text("IssuerOfPatientID")
    found = patients.of_identity(occasion.tx, patient_id, issuer)
    if found is None and vaguely_named(occasion.tx, patient_id, issuer):
        occasion.doubts.append(f"the message names {VAGUE}")
        return ()
    if found is None:
        occasion.passed.append(UNKNOWN)
        return ()
    known = patients.survivor(occasion.tx, found)
    if _is_late(occasion, known):
        return ()
    told = _told(request, known.patient)
    is_given_up = found.row != known.row
    if is_given_up and _contradicts(known.patient, told):
        occasion.doubts.append(GIVEN_UP)
        return ()
    told_at = None if is_given_up else newest(None, occasion.sent)
    patients.write(occasion.tx, known, told, occasion.at, told_at)
    theirs = orders.of_patient(occasion.tx, known.row, will_change=True)
    if not theirs:
        occasion.passed.append(UNKNOWN)
    return tuple(_renewed(occasion, request, order, known.row) for order in theirs)


def _is_late(occasion: Occasion, known: Known) -> bool:
    """Whether the message is older than what is known of the patient: then that is recorded, and all of it."""
    if occasion.sent is None or not occasion.sent.is_older(known.told_at):
        return False
    occasion.passed.append(STALE)
    subject, detail = f"patient:{known.row}", f"not applied: {occasion.evidence}"
    event = AuditEvent(
        at=occasion.at, actor=occasion.actor, action="patient.late", subject=subject, detail=detail
    )
    audit.record(occasion.tx, event)
    return True


def _is_in_doubt(occasion: Occasion, request: OrderRequest) -> bool:
    doubts = [str(fault) for fault in request.faults if fault.severity is not Severity.WARN]
    occasion.doubts.extend(doubts)
    return bool(doubts)


def _told(request: OrderRequest, was: Patient) -> Patient:
    """The patient with what the message says of him."""

    def now(keyword: str, was: str) -> str:
        return request.text(keyword) if keyword in request.attributes else was

    return replace(
        was,
        name=now("PatientName", was.name),
        birth_date=now("PatientBirthDate", was.birth_date),
        sex=now("PatientSex", was.sex),
    )


def _contradicts(was: Patient, told: Patient) -> bool:
    """Whether something that is known would be changed or deleted."""
    pairs = ((was.name, told.name), (was.birth_date, told.birth_date), (was.sex, told.sex))
    return any(ours and ours != theirs for ours, theirs in pairs)


def _renewed(occasion: Occasion, request: OrderRequest, order: Order, row: PatientRow) -> Order:
    """The order with what the message says of its patient among its attributes."""
    if order.state in FINAL:
        return order
    valued = {keyword: value for keyword, value in request.attributes.items() if keyword not in _OWN}
    merged: dict[str, Value] = {**order.attributes, **valued}
    attributes = {keyword: value for keyword, value in merged.items() if value != ""}
    if attributes == order.attributes:
        return orders.show(occasion.tx, order.id)
    saved = orders.save(
        occasion.tx, replace(order, patient_row=row, attributes=attributes, updated_at=occasion.at)
    )
    step.record(occasion.tx, saved, "order.patient", occasion.actor, occasion.evidence, occasion.at)
    return saved
