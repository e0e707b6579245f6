"""Person: whose order a message speaks of, and what is known of that patient now. Part of the receiving transaction."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from gateway.flow.belong import identified
from gateway.flow.occasion import Occasion, text_of
from gateway.flow.order_of_news import newest
from gateway.model.ids import PatientRow
from gateway.model.lifecycle import State
from gateway.model.order import Attributes, Order, OrderRequest
from gateway.model.patient import Patient
from gateway.store import patients
from gateway.store.database import Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """The patient of an order, and the order's attributes as they name him."""

    row: PatientRow
    patient: Patient
    attributes: Attributes
    is_merged: bool = False  # the message names an identifier that was given up


def lock_patients(tx: Tx, requests: Iterable[OrderRequest]) -> None:
    """Nobody else works on the patients that the requests name until the transaction ends.

    Every transaction takes them in the same order, so that none waits for another in a circle.
    """
    if tx.is_alone:
        return
    named = {request.text(keyword) for request in requests for keyword in ("PatientID", "PriorPatientID")}
    found = [known for patient_id in sorted(named) for known in patients.named(tx, patient_id)]
    now = {
        patients.survivor(tx, known).patient.patient_id for known in found if known.merged_into is not None
    }
    for patient_id in sorted((named | now) - {""}):
        tx.lock(f"patient {patient_id}")


def person_of(
    occasion: Occasion, request: OrderRequest, attributes: Attributes, order: Order | None
) -> Person:
    """The patient that `attributes` name, saved as the message tells; `order` is the one that changes.

    What the message leaves out is taken from what is known of the same identifier. A patient who was merged is the
    one who survived. What was sent before the newest word on the patient changes nothing about him.
    """
    tx, sent = occasion.tx, occasion.sent_of(request)
    patient_id, issuer = text_of(attributes, "PatientID"), text_of(attributes, "IssuerOfPatientID")
    known = patients.of_identity(tx, patient_id, issuer)
    row = patients.survivor(tx, known).row if known is not None else None
    if order is not None and order.state is State.STARTED and patient_id and row != order.patient_row:
        # the same person under another identifier: the machine has the one it began with
        return Person(
            row=order.patient_row, patient=order.patient, attributes=identified(attributes, order.patient)
        )
    if known is None:
        patient = _now(attributes, request.attributes, None)
        return Person(row=_saved(occasion, patient, request, order), patient=patient, attributes=attributes)
    now = patients.survivor(tx, known)
    is_merged = now.row != known.row
    if is_merged or (sent is not None and sent.is_older(now.told_at)):
        patient = _filled(now.patient, _now(attributes, request.attributes, now.patient))
        attributes = identified(attributes, patient)
        patients.write(tx, now, patient, occasion.at)
    else:
        patient = _now(attributes, request.attributes, now.patient)
        patients.write(tx, now, patient, occasion.at, newest(None, sent))
    return Person(row=now.row, patient=patient, attributes=attributes, is_merged=is_merged)


def _saved(occasion: Occasion, patient: Patient, request: OrderRequest, order: Order | None) -> PatientRow:
    """The row of a patient who was not known; an order's nobody stays in his own row."""
    if order is not None and not patient.patient_id and not order.patient.patient_id:
        return patients.write(
            occasion.tx, patients.of_row(occasion.tx, order.patient_row), patient, occasion.at
        )
    return patients.add(occasion.tx, patient, occasion.at, newest(None, occasion.sent_of(request)))


def _now(attributes: Attributes, valued: Attributes, before: Patient | None) -> Patient:
    def now(keyword: str, was: str) -> str:
        return text_of(attributes, keyword) if keyword in valued or not was else was

    return Patient(
        patient_id=text_of(attributes, "PatientID"),
        issuer=text_of(attributes, "IssuerOfPatientID"),
        name=now("PatientName", before.name if before else ""),
        birth_date=now("PatientBirthDate", before.birth_date if before else ""),
        sex=now("PatientSex", before.sex if before else ""),
    )


def _filled(known: Patient, told: Patient) -> Patient:
    """The patient as known, with what was not known yet."""
    return replace(
        known,
        name=known.name or told.name,
        birth_date=known.birth_date or told.birth_date,
        sex=known.sex or told.sex,
    )
