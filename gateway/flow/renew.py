"""Renew: what a message says of a patient reaches the orders of that patient. Part of the receiving transaction."""

from dataclasses import replace

from gateway.flow import step
from gateway.flow.occasion import Occasion
from gateway.model.ids import PatientRow
from gateway.model.lifecycle import FINAL
from gateway.model.order import Order, OrderRequest, Severity, Value
from gateway.model.patient import Patient
from gateway.store import orders, patients

UNKNOWN = "no order here has that patient"
MERGE = "a merge of two patients: a person must settle it until merges are carried out"

_OWN = frozenset({"PatientID", "IssuerOfPatientID", "PriorPatientID", "PriorIssuerOfPatientID"})


def update_patient(occasion: Occasion, request: OrderRequest) -> tuple[Order, ...]:
    """Every order of the patient, each with the new name, birth date and sex.

    What the message leaves out stays; "" deletes it. Orders that are over keep the rest of what they were made with.
    """
    if _is_in_doubt(occasion, request):
        return ()
    known = patients.find(occasion.tx, request.text("PatientID"), request.text("IssuerOfPatientID"))
    found = orders.of_patient(occasion.tx, known[0]) if known else ()
    if known is None or not found:
        occasion.passed.append(UNKNOWN)
        return ()
    _save(occasion, request, known[1])
    return tuple(_renewed(occasion, request, order, known[0]) for order in found)


def merge(occasion: Occasion, request: OrderRequest) -> None:
    """A merge that concerns an order here waits for a person; any other is passed over."""
    if _is_in_doubt(occasion, request):
        return
    prior, issuer = request.text("PriorPatientID"), request.text("PriorIssuerOfPatientID")
    now, now_issuer = request.text("PatientID"), request.text("IssuerOfPatientID")
    if (prior, issuer or now_issuer) == (now, now_issuer):
        occasion.passed.append("both identifiers of the merge are the same")
    # A sender may leave the issuer out on one side: then it can still be meant.
    elif any(patients.find(occasion.tx, prior, of) for of in {issuer, now_issuer, ""}):
        occasion.doubts.append(MERGE)
    else:
        occasion.passed.append(UNKNOWN)


def _is_in_doubt(occasion: Occasion, request: OrderRequest) -> bool:
    doubts = [str(fault) for fault in request.faults if fault.severity is not Severity.WARN]
    occasion.doubts.extend(doubts)
    return bool(doubts)


def _save(occasion: Occasion, request: OrderRequest, known: Patient) -> None:
    def now(keyword: str, was: str) -> str:
        return request.text(keyword) if keyword in request.attributes else was

    renewed = replace(
        known,
        name=now("PatientName", known.name),
        birth_date=now("PatientBirthDate", known.birth_date),
        sex=now("PatientSex", known.sex),
    )
    patients.save(occasion.tx, renewed, occasion.at)


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
