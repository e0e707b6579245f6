"""Patients: one row for each identifier and issuer, and which of them was merged into which."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, literal_column, select, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway.model.ids import PatientRow
from gateway.model.patient import Patient
from gateway.store.database import Tx
from gateway.store.ready import Ready
from gateway.store.tables import patients

# Built once: building a statement takes longer than running it.
# The index holds those with an identifier; SQLite takes it only where the statement itself leaves out the others.
_IDENTIFIED = patients.c.patient_id != literal_column("''")
_OF_ID = (
    select(patients).where(patients.c.patient_id == bindparam("named"), _IDENTIFIED).order_by(patients.c.id)
)
_NAMED = Ready(_OF_ID)
_OF_IDENTITY = Ready(_OF_ID.where(patients.c.issuer == bindparam("of_issuer")))
_OF_ROW = Ready(select(patients).where(patients.c.id == bindparam("of_row")))
_WRITE = Ready(update(patients).where(patients.c.id == bindparam("of_row")))
# Two transactions may find nobody at once; the second then waits for, and takes, the first one's row.
_ADD = {
    dialect: Ready(insert(patients).on_conflict_do_nothing().returning(patients.c.id))
    for dialect, insert in (("postgresql", postgresql.insert), ("sqlite", sqlite.insert))
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A patient's row."""

    row: PatientRow
    patient: Patient
    merged_into: PatientRow | None  # None: stands for himself
    told_at: datetime | None  # when the newest message about him was sent; None: not known


def find(tx: Tx, patient_id: str, issuer: str) -> tuple[PatientRow, Patient] | None:
    """The patient with that identifier and issuer, None when unknown."""
    known = of_identity(tx, patient_id, issuer)
    return (known.row, known.patient) if known is not None else None


def of_identity(tx: Tx, patient_id: str, issuer: str) -> Known | None:
    """The row of that identifier and issuer, merged or not; None when unknown, or without an identifier."""
    if not patient_id:
        return None
    row = _OF_IDENTITY.row(tx, {"named": patient_id, "of_issuer": issuer})
    return _known(row) if row is not None else None


def named(tx: Tx, patient_id: str) -> tuple[Known, ...]:
    """The rows of that identifier, whoever issued it, oldest first."""
    if not patient_id:
        return ()
    return tuple(_known(row) for row in _NAMED.rows(tx, {"named": patient_id}))


def survivor(tx: Tx, known: Known) -> Known:
    """Who the patient is now: the end of the chain of merges, himself where there is none."""
    seen = {known.row}
    while known.merged_into is not None and known.merged_into not in seen:
        known = of_row(tx, known.merged_into)
        seen.add(known.row)
    return known


def of_row(tx: Tx, patient_row: PatientRow) -> Known:
    """The patient of a row that is there."""
    return _known(_OF_ROW.row(tx, {"of_row": patient_row}))


def save(tx: Tx, patient: Patient, at: datetime, told_at: datetime | None = None) -> PatientRow:
    """The row of that identifier and issuer, with the name, birth date and sex given.

    A patient without an identifier is nobody we could recognise again: each gets a row of its own.
    `told_at` is when this was said; None leaves what is known of that.
    """
    known = of_identity(tx, patient.patient_id, patient.issuer)
    if known is None:
        return add(tx, patient, at, told_at)
    return write(tx, known, patient, at, told_at)


def add(tx: Tx, patient: Patient, at: datetime, told_at: datetime | None = None) -> PatientRow:
    """The row of a patient who was not known; that of another transaction which found him unknown at the same time."""
    values = {**_columns(patient), "told_at": told_at, "created_at": at, "updated_at": at}
    added = _ADD[tx.connection.dialect.name].value(tx, values)
    if added is not None:
        return PatientRow(added)
    known = of_identity(tx, patient.patient_id, patient.issuer)
    assert known is not None
    return known.row


def write(
    tx: Tx, known: Known, patient: Patient, at: datetime, told_at: datetime | None = None
) -> PatientRow:
    """The row, with the patient as given; `told_at` as for `save`."""
    newest = max((it for it in (known.told_at, told_at) if it is not None), default=None)
    if known.patient != patient or known.told_at != newest:
        values = {**_columns(patient), "told_at": newest, "updated_at": at}
        _WRITE.run(tx, {"of_row": known.row, **values})
    return known.row


def merge_into(tx: Tx, patient_row: PatientRow, into: PatientRow | None, at: datetime) -> None:
    """The patient is from now on the one of row `into`; None: stands for himself again."""
    _WRITE.run(tx, {"of_row": patient_row, "merged_into": into, "updated_at": at})


def read_patient(row: Any) -> Patient:
    """The patient in a row that has the table's columns."""
    return Patient(
        patient_id=row.patient_id, issuer=row.issuer, name=row.name, birth_date=row.birth_date, sex=row.sex
    )


def _known(row: Any) -> Known:
    return Known(
        row=PatientRow(row.id),
        patient=read_patient(row),
        merged_into=PatientRow(row.merged_into) if row.merged_into is not None else None,
        told_at=row.told_at,
    )


def _columns(patient: Patient) -> dict[str, str]:
    return {
        "patient_id": patient.patient_id,
        "issuer": patient.issuer,
        "name": patient.name,
        "birth_date": patient.birth_date,
        "sex": patient.sex,
    }
