"""Orders: one row for each scheduled procedure step.

The statements that every message needs are built once: building one takes longer than running it.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, insert, select, union_all, update

from gateway.model.errors import Conflict, NotFound
from gateway.model.ids import MessageId, OrderId, PatientRow, Uid
from gateway.model.lifecycle import FINAL, State
from gateway.model.order import ModuleRef, Order, Provenance
from gateway.store import changes
from gateway.store.database import Tx
from gateway.store.patients import read_patient
from gateway.store.ready import Ready
from gateway.store.rows import (
    Json,
    read_attributes,
    read_faults,
    read_provenance,
    write_attributes,
    write_faults,
    write_provenance,
)
from gateway.store.tables import orders, patients

_PATIENT = [patients.c[name].label(name) for name in ("patient_id", "issuer", "name", "birth_date", "sex")]
_COLUMNS = [column for column in orders.c if column.name != "provenance"]

_JOINED: "Select[Any]" = select(*_COLUMNS, *_PATIENT).join(patients, patients.c.id == orders.c.patient_row)
_ADD = Ready(insert(orders).returning(orders.c.id))
_NAME_STEP = Ready(update(orders).where(orders.c.id == bindparam("of_id")))
_SAVE = Ready(
    update(orders).where(orders.c.id == bindparam("of_id"), orders.c.version == bindparam("of_version"))
)
_SHOW = Ready(_JOINED.where(orders.c.id == bindparam("of_id")))
_OF_STUDY = Ready(_JOINED.where(orders.c.study_uid == bindparam("of_uid")).order_by(orders.c.id))


def joined() -> "Select[Any]":
    """Every order with its patient: the columns that `read_order` needs."""
    return _JOINED


def add(tx: Tx, order: Order, local: tuple[str, str], provenance: Iterable[Provenance]) -> Order:
    """The order is stored, with the id it got. `local` is its start as the site's clock says: YYYYMMDD, HHMMSS.

    An order that came without a step id gets one made of its id: machines need one.
    """
    values = {
        **_values(order, local),
        "provenance": write_provenance(provenance),
        "created_at": order.created_at,
    }
    order_id = OrderId(_ADD.value(tx, values))
    step_id = order.step_id or f"SPS{order_id}"
    if not order.step_id:
        _NAME_STEP.run(tx, {"of_id": order_id, "step_id": step_id})
    changes.note(tx, "order", order_id, order.created_at)
    return replace(order, id=order_id, step_id=step_id)


def save(
    tx: Tx, order: Order, local: tuple[str, str] | None = None, provenance: Iterable[Provenance] | None = None
) -> Order:
    """The order is stored as it now is; `local` and `provenance` only when they change.

    Raises Conflict when someone else changed it since it was read.
    """
    values = _values(order, local)
    if provenance is not None:
        values["provenance"] = write_provenance(provenance)
    values |= {"version": order.version + 1, "of_id": order.id, "of_version": order.version}
    if _SAVE.run(tx, values) != 1:
        raise Conflict(f"order {order.id} was changed by someone else in the meantime: look at it again")
    changes.note(tx, "order", order.id, order.updated_at)
    return show(tx, order.id)


def show(tx: Tx, order_id: OrderId) -> Order:
    """The order. Raises NotFound."""
    row = _SHOW.row(tx, {"of_id": order_id})
    if row is None:
        raise NotFound(f"order {order_id}: there is none with that number")
    return read_order(row)


def provenance(tx: Tx, order_id: OrderId) -> tuple[Provenance, ...]:
    """Where each value of the order came from. Raises NotFound."""
    json: Json = tx.connection.execute(
        select(orders.c.provenance).where(orders.c.id == order_id)
    ).scalar_one_or_none()
    if json is None:
        raise NotFound(f"order {order_id}: there is none with that number")
    return read_provenance(json)


def of_accession(tx: Tx, accession: str) -> tuple[Order, ...]:
    """Every order with that accession number, oldest first."""
    return _all(tx, orders.c.accession == accession)


def of_study(tx: Tx, study_uid: Uid) -> tuple[Order, ...]:
    """Every order whose images belong to that study, oldest first."""
    return tuple(read_order(row) for row in _OF_STUDY.rows(tx, {"of_uid": study_uid}))


def of_message(tx: Tx, message_id: MessageId) -> tuple[Order, ...]:
    """Every order that the message made or changed last, oldest first."""
    return _all(tx, orders.c.message_id == message_id)


def known_as(
    tx: Tx, source: str, *, filler: str, placer: str, accession: str, will_change: bool = False
) -> tuple[Order, ...]:
    """Every order of that source that carries one of the sender's own numbers, oldest first; empty ones match none.

    With `will_change` nobody else changes them until this transaction ends.
    """
    given = {"filler": filler, "placer": placer, "accession": accession}
    numbers = {name: number for name, number in given.items() if number}
    if not numbers:
        return ()
    query = _known_as(tuple(numbers), will_change=will_change)
    return tuple(read_order(row) for row in query.rows(tx, {"source": source, **numbers}))


def of_request(tx: Tx, source: str, service_request: str, *, will_change: bool = False) -> tuple[Order, ...]:
    """Every order of that source that was asked for by that ServiceRequest, oldest first; "" matches none.

    `will_change` as for `known_as`.
    """
    if not service_request:
        return ()
    query = _of_request(will_change=will_change)
    asked = {"of_source": source, "of_request": service_request}
    return tuple(read_order(row) for row in query.rows(tx, asked))


def of_patient(tx: Tx, patient_row: PatientRow, *, will_change: bool = False) -> tuple[Order, ...]:
    """Every order of that patient, oldest first. `will_change` as for `known_as`."""
    return _all(tx, orders.c.patient_row == patient_row, will_change=will_change)


def of_days(tx: Tx, first: str, last: str) -> tuple[Order, ...]:
    """The orders that start on a day from `first` to `last` (YYYYMMDD, the site's days), by time.

    Orders without a day are among them as long as something may still happen to them.
    """
    is_open = orders.c.state.not_in([*FINAL, State.EXPIRED])
    dayless = (orders.c.start_date == "") & is_open
    query = _JOINED.where(orders.c.start_date.between(first, last) | dayless)
    query = query.order_by(orders.c.start_date, orders.c.start_time, orders.c.id)
    return tuple(read_order(row) for row in tx.connection.execute(query))


def before(tx: Tx, states: Iterable[State], day: str, created: datetime) -> tuple[Order, ...]:
    """The orders in one of `states` whose day is before `day` (YYYYMMDD); dayless ones made before `created` too."""
    past = (orders.c.start_date != "") & (orders.c.start_date < day)
    forgotten = (orders.c.start_date == "") & (orders.c.created_at < created)
    return _all(tx, orders.c.state.in_(list(states)), past | forgotten)


def newest(tx: Tx, *, state: State | None = None, limit: int = 500) -> tuple[Order, ...]:
    """The newest orders first."""
    query = _JOINED.order_by(orders.c.id.desc()).limit(limit)
    if state is not None:
        query = query.where(orders.c.state == state)
    return tuple(read_order(row) for row in tx.connection.execute(query))


def read_order(row: Any) -> Order:
    """The order in a row of `joined`."""
    return Order(
        id=OrderId(row.id),
        source=row.source,
        patient_row=PatientRow(row.patient_row),
        patient=read_patient(row),
        accession=row.accession,
        placer=row.placer,
        filler=row.filler,
        procedure_id=row.procedure_id,
        step_id=row.step_id,
        study_uid=Uid(row.study_uid),
        state=State(row.state),
        modality=row.modality,
        station=row.station,
        start=row.start,
        has_time=bool(row.start_time),
        description=row.description,
        priority=row.priority,
        referring=row.referring,
        attributes=read_attributes(row.attributes),
        faults=read_faults(row.faults),
        service_request=row.service_request,
        subject=row.subject,
        encounter=row.encounter,
        appointment=row.appointment,
        module=ModuleRef(name=row.module, version=row.module_version),
        message_id=MessageId(row.message_id),
        arrived_at=row.arrived_at,
        sent_at=row.sent_at,
        sent_by=row.sent_by,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
        told_at=row.told_at,
    )


_SAME_NAME = (
    "source", "patient_row", "accession", "placer", "filler", "procedure_id", "step_id", "study_uid", "state",
    "modality", "station", "start", "description", "priority", "referring", "service_request", "subject",
    "encounter", "appointment",
    "message_id", "arrived_at", "sent_at", "sent_by", "updated_at", "version", "told_at",
)  # fmt: skip


def _values(order: Order, local: tuple[str, str] | None) -> dict[str, Any]:
    values = {name: getattr(order, name) for name in _SAME_NAME}
    values["attributes"] = write_attributes(order.attributes)
    values["faults"] = write_faults(order.faults)
    values["module"], values["module_version"] = order.module.name, order.module.version
    if local is not None:
        values["start_date"], values["start_time"] = local
    return values


@cache
def _known_as(names: tuple[str, ...], *, will_change: bool) -> Ready:
    """The orders of a source that carry one of the numbers with those names.

    Each number is looked up by itself: given them all at once, SQLite reads every order of the source.
    """
    source = orders.c.source == bindparam("source")
    each = (select(orders.c.id).where(source, orders.c[name] == bindparam(name)) for name in names)
    return Ready(_in_order(_JOINED.where(orders.c.id.in_(union_all(*each))), will_change=will_change))


@cache
def _of_request(*, will_change: bool) -> Ready:
    asked_for = orders.c.service_request == bindparam("of_request")
    query = _JOINED.where(orders.c.source == bindparam("of_source"), asked_for)
    return Ready(_in_order(query, will_change=will_change))


def _in_order(query: "Select[Any]", *, will_change: bool) -> "Select[Any]":
    oldest_first = query.order_by(orders.c.id)
    # SQLite has one writer and knows no such lock
    return oldest_first.with_for_update(of=orders) if will_change else oldest_first


def _all(tx: Tx, *conditions: ColumnElement[bool], will_change: bool = False) -> tuple[Order, ...]:
    query = _in_order(_JOINED.where(*conditions), will_change=will_change)
    return tuple(read_order(row) for row in tx.connection.execute(query))
