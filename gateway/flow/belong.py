"""Belong: whose an order is, after patients were merged. Part of the caller's transaction."""

from dataclasses import replace
from datetime import datetime

from gateway.model.audit import AuditEvent
from gateway.model.ids import PatientRow
from gateway.model.order import Attributes, Order, Value
from gateway.model.patient import Patient
from gateway.store import audit, merges, orders, patients
from gateway.store.database import Tx

VAGUE = "an identifier that is known here with another issuer or without one: a person must settle it"


def vaguely_named(tx: Tx, patient_id: str, issuer: str) -> tuple[patients.Known, ...]:
    """Those who may or may not be the patient meant, because one side leaves the issuer out; () beyond doubt."""
    found = patients.named(tx, patient_id)
    meant = [known for known in found if known.patient.issuer == issuer]
    others = tuple(
        known for known in found if known not in meant and (not issuer or not known.patient.issuer)
    )
    return others if not meant or not issuer else ()


def is_same_person(tx: Tx, patient_row: PatientRow, patient_id: str, issuer: str) -> bool:
    """Whether that identifier names the patient of the row, merges followed on both sides.

    An issuer that one side leaves out can be any.
    """
    known = patients.of_row(tx, patient_row)
    if known.patient.patient_id == patient_id and _agree(known.patient.issuer, issuer):
        return True
    person = patients.survivor(tx, known)
    found = (it for it in patients.named(tx, patient_id) if _agree(it.patient.issuer, issuer))
    return any(patients.survivor(tx, it).row == person.row for it in found)


def identified(attributes: Attributes, patient: Patient) -> Attributes:
    """The attributes with the patient as given."""
    values: dict[str, Value] = {
        "PatientID": patient.patient_id,
        "IssuerOfPatientID": patient.issuer,
        "PatientName": patient.name,
        "PatientBirthDate": patient.birth_date,
        "PatientSex": patient.sex,
    }
    named: dict[str, Value] = {**attributes, **values}
    return {keyword: value for keyword, value in named.items() if value != ""}


def move(tx: Tx, order: Order, to: patients.Known, at: datetime) -> Order:
    """The order, now that patient's. Its images stay as they are.

    The address on the EHR is that of the person who was given up: another one is known by his identifier alone.
    """
    return orders.save(
        tx,
        replace(
            order,
            patient_row=to.row,
            patient=to.patient,
            attributes=identified(order.attributes, to.patient),
            subject=order.subject if to.row == order.patient_row else "",
            updated_at=at,
        ),
    )


def move_after_exam(tx: Tx, order: Order, actor: str, at: datetime) -> Order:
    """The order whose exam is over: if its patient was merged meanwhile, it goes where the others went."""
    known = patients.of_row(tx, order.patient_row)
    person = patients.survivor(tx, known)
    if person.row == known.row:
        return order
    moved = move(tx, order, person, at)
    names = []
    while known.merged_into is not None and known.row != person.row:
        merge = merges.standing(tx, known.row)
        if merge is not None:
            waiting = tuple(it for it in merge.moved.waiting if it != order.id)
            now = replace(merge.moved, orders=(*merge.moved.orders, order.id), waiting=waiting)
            merges.write_moved(tx, merge.id, now)
            names.append(f"merge:{merge.id}")
        known = patients.of_row(tx, known.merged_into)
    event = AuditEvent(
        at=at, actor=actor, action="order.merge", subject=f"order:{order.id}", detail=" ".join(names)
    )
    audit.record(tx, event)
    return moved


def _agree(one: str, other: str) -> bool:
    return not one or not other or one == other
