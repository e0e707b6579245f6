"""Performed procedure steps: what machines say they do, the orders they do it for, the objects they made."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, func, insert, or_, select, update

from gateway.model.ids import OrderId, StudyId, Uid
from gateway.model.performed import (
    FINISHED,
    Begun,
    Letter,
    LinkedStep,
    MadeObject,
    Performed,
    PerformedId,
    PerformedState,
    Scheduled,
    Told,
)
from gateway.model.study import PictureState, StudyState
from gateway.store import changes
from gateway.store.database import Tx
from gateway.store.machine_tables import performed, performed_letters, performed_objects, performed_steps
from gateway.store.tables import instances, series, studies

_SAME_NAME = (
    "sop_uid", "calling_ae", "station", "modality", "step_id", "description", "patient_id", "issuer", "patient_name",
    "birth_date", "sex",
)  # fmt: skip


def add(
    tx: Tx, begun: Begun, told: Told, links: Iterable[LinkedStep], doubt: str, letter: Letter, at: datetime
) -> PerformedId:
    """The step is stored with its letter; it is in progress."""
    values = {name: getattr(begun, name) for name in _SAME_NAME}
    row = insert(performed).values(
        **values, state=PerformedState.IN_PROGRESS, dose={}, doubt=doubt, created_at=at, updated_at=at
    )
    performed_id = PerformedId(tx.connection.execute(row.returning(performed.c.id)).scalar_one())
    steps = [_step_row(performed_id, link) for link in links]
    tx.connection.execute(insert(performed_steps), steps)
    change(tx, performed_id, told, letter, at)
    return performed_id


def change(tx: Tx, performed_id: PerformedId, told: Told, letter: Letter, at: datetime) -> None:
    """The step is as it was last told, and the letter is kept."""
    tx.connection.execute(
        insert(performed_letters).values(
            performed_row=performed_id,
            at=at,
            verb=letter.verb,
            transfer_syntax=letter.transfer_syntax,
            content=letter.content,
        )
    )
    said = {
        "state": told.state,
        "begun": told.begun,
        "ended": told.ended,
        "dose": dict(told.dose) or None,
        "discontinued_because": told.discontinued_because or None,
    }
    values = {name: value for name, value in said.items() if value is not None}
    row = update(performed).where(performed.c.id == performed_id)
    tx.connection.execute(row.values(values | {"updated_at": at}))
    if told.objects is not None:
        _replace_objects(tx, performed_id, told.objects)
    changes.note(tx, "study", performed_id, at)


def of_uid(tx: Tx, sop_uid: Uid) -> Performed | None:
    """The step with that UID, None when there is none."""
    found = _read(tx, performed.c.sop_uid == sop_uid)
    return found[0] if found else None


def of_orders(tx: Tx, order_ids: Iterable[OrderId]) -> tuple[Performed, ...]:
    """The steps done for one of the orders, oldest first."""
    linked = select(performed_steps.c.performed_row).where(performed_steps.c.order_id.in_(list(order_ids)))
    return _read(tx, performed.c.id.in_(linked))


def unscheduled(tx: Tx, since: datetime, limit: int = 50) -> tuple[Performed, ...]:
    """The steps since then that a person should look at: without any order, or in doubt.

    A step whose study came is not among them, unless in doubt: the study's own line says it.
    """
    mine = performed_steps.c.performed_row == performed.c.id
    has_order = exists().where(mine, performed_steps.c.order_id.is_not(None))
    has_study = exists().where(mine, studies.c.study_uid == performed_steps.c.study_uid)
    lonely = ~has_order & ~has_study
    return _read(tx, performed.c.updated_at >= since, or_(lonely, performed.c.doubt != ""))[-limit:]


def letters(tx: Tx, performed_id: PerformedId) -> tuple[Letter, ...]:
    """The messages of the step as they came, oldest first."""
    query = select(performed_letters).where(performed_letters.c.performed_row == performed_id)
    rows = tx.connection.execute(query.order_by(performed_letters.c.id))
    return tuple(
        Letter(verb=row.verb, transfer_syntax=row.transfer_syntax, content=row.content) for row in rows
    )


def objects(tx: Tx, performed_id: PerformedId) -> tuple[MadeObject, ...]:
    """What the machine says it made."""
    query = select(performed_objects).where(performed_objects.c.performed_row == performed_id)
    rows = tx.connection.execute(query.order_by(performed_objects.c.id))
    return tuple(
        MadeObject(
            sop_uid=Uid(row.sop_uid),
            sop_class=row.sop_class,
            series_uid=row.series_uid,
            is_image=bool(row.is_image),
        )
        for row in rows
    )


def is_told_of(tx: Tx, study_uid: Uid) -> bool:
    """Whether a machine says that it examined under that Study Instance UID."""
    query = select(performed_steps.c.id).where(performed_steps.c.study_uid == study_uid).limit(1)
    return tx.connection.execute(query).one_or_none() is not None


def busy_studies(tx: Tx, since: datetime) -> frozenset[StudyId]:
    """The studies that still receive while their machine is at it, and that it touched after `since`."""
    mine = or_(
        performed_steps.c.study_uid == studies.c.study_uid, performed_steps.c.order_id == studies.c.order_id
    )
    goes_on = exists().where(
        mine,
        performed.c.id == performed_steps.c.performed_row,
        performed.c.state == PerformedState.IN_PROGRESS,
        or_(performed.c.updated_at > since, studies.c.last_at > since),
    )
    query = select(studies.c.id).where(studies.c.state == StudyState.RECEIVING, goes_on)
    return frozenset(StudyId(one) for one in tx.connection.execute(query).scalars())


def whole_studies(tx: Tx) -> tuple[StudyId, ...]:
    """The studies never completed of which the machine says it is done, and all it made is here and examined."""
    query = (
        select(studies.c.id, performed.c.id.label("performed_row"), performed.c.state)
        .join(performed_steps, performed_steps.c.study_uid == studies.c.study_uid)
        .join(performed, performed.c.id == performed_steps.c.performed_row)
        .where(studies.c.state == StudyState.RECEIVING, studies.c.completed_at.is_(None))
        .order_by(studies.c.id)
    )
    found: dict[StudyId, list[tuple[int, bool]]] = {}
    for row in tx.connection.execute(query):
        found.setdefault(StudyId(row.id), []).append((row.performed_row, row.state in FINISHED))
    return tuple(
        study_id
        for study_id, steps in found.items()
        if all(is_done for _, is_done in steps) and _is_here(tx, study_id, {row for row, _ in steps})
    )


def _is_here(tx: Tx, study_id: StudyId, rows: Iterable[int]) -> bool:
    made = (
        select(func.count(), func.count(instances.c.id))
        .select_from(performed_objects)
        .outerjoin(instances, instances.c.sop_uid == performed_objects.c.sop_uid)
        .where(performed_objects.c.performed_row.in_(list(rows)))
    )
    told, here = tx.connection.execute(made).one()
    pending = (
        select(instances.c.id)
        .join(series, series.c.id == instances.c.series_row)
        .where(series.c.study_row == study_id, instances.c.picture == PictureState.PENDING)
        .limit(1)
    )
    return bool(told) and told == here and tx.connection.execute(pending).one_or_none() is None


def _step_row(performed_id: PerformedId, link: LinkedStep) -> dict[str, Any]:
    step = link.step
    return {
        "performed_row": performed_id,
        "study_uid": step.study_uid,
        "accession": step.accession,
        "step_id": step.step_id,
        "procedure_id": step.procedure_id,
        "order_id": link.order_id,
    }


def _replace_objects(tx: Tx, performed_id: PerformedId, made: Iterable[MadeObject]) -> None:
    tx.connection.execute(delete(performed_objects).where(performed_objects.c.performed_row == performed_id))
    once = {one.sop_uid: one for one in made}
    rows = [
        {
            "performed_row": performed_id,
            "sop_uid": one.sop_uid,
            "sop_class": one.sop_class,
            "series_uid": one.series_uid,
            "is_image": int(one.is_image),
        }
        for one in once.values()
    ]
    if rows:
        tx.connection.execute(insert(performed_objects), rows)


def _read(tx: Tx, *conditions: ColumnElement[bool]) -> tuple[Performed, ...]:
    rows = tx.connection.execute(select(performed).where(*conditions).order_by(performed.c.id)).all()
    ids = [row.id for row in rows]
    steps = select(performed_steps).where(performed_steps.c.performed_row.in_(ids))
    links: dict[int, list[LinkedStep]] = {}
    for row in tx.connection.execute(steps.order_by(performed_steps.c.id)):
        links.setdefault(row.performed_row, []).append(_read_link(row))
    count = select(performed_objects.c.performed_row, func.count().label("made"))
    counted = count.where(performed_objects.c.performed_row.in_(ids)).group_by(
        performed_objects.c.performed_row
    )
    made = {row.performed_row: row.made for row in tx.connection.execute(counted)}
    return tuple(_read_performed(row, links.get(row.id, []), made.get(row.id, 0)) for row in rows)


def _read_link(row: Any) -> LinkedStep:
    step = Scheduled(
        study_uid=Uid(row.study_uid),
        accession=row.accession,
        step_id=row.step_id,
        procedure_id=row.procedure_id,
    )
    return LinkedStep(step=step, order_id=OrderId(row.order_id) if row.order_id is not None else None)


def _read_performed(row: Any, links: list[LinkedStep], object_count: int) -> Performed:
    names = {name: getattr(row, name) for name in _SAME_NAME}
    return Performed(
        id=PerformedId(row.id),
        begun_as=Begun(**names, steps=tuple(link.step for link in links)),
        state=PerformedState(row.state),
        begun=row.begun,
        ended=row.ended,
        dose=tuple(row.dose.items()),
        discontinued_because=row.discontinued_because,
        doubt=row.doubt,
        links=tuple(links),
        object_count=object_count,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
