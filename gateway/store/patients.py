"""Patients: one row for each identifier and issuer."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway.model.ids import PatientRow
from gateway.model.patient import Patient
from gateway.store.database import Tx
from gateway.store.tables import patients


def find(tx: Tx, patient_id: str, issuer: str) -> tuple[PatientRow, Patient] | None:
    """The patient with that identifier and issuer, None when unknown."""
    query = select(patients).where(patients.c.patient_id == patient_id, patients.c.issuer == issuer)
    row = tx.connection.execute(query).one_or_none()
    return (PatientRow(row.id), read_patient(row)) if row is not None else None


def save(tx: Tx, patient: Patient, at: datetime) -> PatientRow:
    """The row of that identifier and issuer, with the name, birth date and sex given.

    A patient without an identifier is nobody we could recognise again: each gets a row of its own.
    """
    known = find(tx, patient.patient_id, patient.issuer) if patient.patient_id else None
    if known is None:
        return _add(tx, patient, at)
    if known[1] != patient:
        tx.connection.execute(
            update(patients).where(patients.c.id == known[0]).values(**asdict(patient), updated_at=at)
        )
    return known[0]


def read_patient(row: Any) -> Patient:
    """The patient in a row that has the table's columns."""
    return Patient(
        patient_id=row.patient_id, issuer=row.issuer, name=row.name, birth_date=row.birth_date, sex=row.sex
    )


def _add(tx: Tx, patient: Patient, at: datetime) -> PatientRow:
    # Two transactions may find nobody at once; the second then waits for, and takes, the first one's row.
    insert = postgresql.insert if tx.connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(patients).values(**asdict(patient), created_at=at, updated_at=at)
    added = tx.connection.execute(
        statement.on_conflict_do_nothing().returning(patients.c.id)
    ).scalar_one_or_none()
    if added is not None:
        return PatientRow(added)
    known = find(tx, patient.patient_id, patient.issuer)
    assert known is not None
    return known[0]
