"""Merges of patients: what each moved, and which still stand."""

from datetime import datetime
from typing import Any

from sqlalchemy import Select, insert, select, update

from gateway.model.errors import NotFound
from gateway.model.ids import MergeId, MessageId, OrderId, PatientRow, StudyId
from gateway.model.merge import Merge, Moved, Relinked
from gateway.model.patient import Patient
from gateway.store.database import Tx
from gateway.store.tables import merges, patients

_prior, _survivor = patients.alias("prior"), patients.alias("survivor")
_PATIENT = ("patient_id", "issuer", "name", "birth_date", "sex")


def add(
    tx: Tx,
    *,
    at: datetime,
    message_id: MessageId,
    prior: PatientRow,
    survivor: PatientRow,
    freed_from: PatientRow | None,
) -> MergeId:
    """The merge is recorded; what it moves follows with `write_moved`."""
    statement = insert(merges).values(
        at=at,
        message_id=message_id,
        prior_row=prior,
        survivor_row=survivor,
        freed_from=freed_from,
        moved=_write(Moved()),
    )
    return MergeId(tx.connection.execute(statement.returning(merges.c.id)).scalar_one())


def write_moved(tx: Tx, merge_id: MergeId, moved: Moved) -> None:
    """What the merge moved is stored."""
    tx.connection.execute(update(merges).where(merges.c.id == merge_id).values(moved=_write(moved)))


def undone(tx: Tx, merge_id: MergeId, *, actor: str, at: datetime) -> None:
    """The merge stands no more."""
    tx.connection.execute(update(merges).where(merges.c.id == merge_id).values(undone_at=at, undone_by=actor))


def show(tx: Tx, merge_id: MergeId) -> Merge:
    """The merge. Raises NotFound."""
    row = tx.connection.execute(_joined().where(merges.c.id == merge_id)).one_or_none()
    if row is None:
        raise NotFound(f"merge {merge_id}: there is none with that number")
    return _read(row)


def newest(tx: Tx, *, limit: int = 200) -> tuple[Merge, ...]:
    """The newest merges first."""
    query = _joined().order_by(merges.c.id.desc()).limit(limit)
    return tuple(_read(row) for row in tx.connection.execute(query))


def standing(tx: Tx, prior: PatientRow) -> Merge | None:
    """The merge by which that patient was given up and still is; None when there is none."""
    query = _joined().where(merges.c.prior_row == prior, merges.c.undone_at.is_(None))
    row = tx.connection.execute(query.order_by(merges.c.id.desc()).limit(1)).one_or_none()
    return _read(row) if row is not None else None


def _joined() -> "Select[Any]":
    sides = [side.c[name].label(f"{side.name}_{name}") for side in (_prior, _survivor) for name in _PATIENT]
    return (
        select(merges, *sides)
        .join(_prior, _prior.c.id == merges.c.prior_row)
        .join(_survivor, _survivor.c.id == merges.c.survivor_row)
    )


def _read(row: Any) -> Merge:
    def patient(side: str) -> Patient:
        return Patient(**{name: getattr(row, f"{side}_{name}") for name in _PATIENT})

    return Merge(
        id=MergeId(row.id),
        at=row.at,
        message_id=MessageId(row.message_id),
        prior_row=PatientRow(row.prior_row),
        prior=patient("prior"),
        survivor_row=PatientRow(row.survivor_row),
        survivor=patient("survivor"),
        freed_from=PatientRow(row.freed_from) if row.freed_from is not None else None,
        moved=_read_moved(row.moved),
        undone_at=row.undone_at,
        undone_by=row.undone_by,
    )


def _write(moved: Moved) -> Any:
    return {
        "orders": list(moved.orders),
        "waiting": list(moved.waiting),
        "studies": [{"study": it.study, "order": it.order, "doubt": it.doubt} for it in moved.studies],
    }


def _read_moved(json: Any) -> Moved:
    return Moved(
        orders=tuple(OrderId(number) for number in json["orders"]),
        waiting=tuple(OrderId(number) for number in json["waiting"]),
        studies=tuple(
            Relinked(study=StudyId(it["study"]), order=OrderId(it["order"]), doubt=it["doubt"])
            for it in json["studies"]
        ),
    )
