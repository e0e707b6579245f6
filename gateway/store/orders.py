"""Orders: one row for each scheduled procedure step."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, insert, or_, select, update

from gateway.model.errors import Conflict, NotFound
from gateway.model.ids import MessageId, OrderId, PatientRow, Uid
from gateway.model.lifecycle import FINAL, State
from gateway.model.order import ModuleRef, Order, Provenance
from gateway.store import changes
from gateway.store.database import Tx
from gateway.store.patients import read_patient
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


def joined() -> "Select[Any]":
    """Every order with its patient: the columns that `read_order` needs."""
    return select(*_COLUMNS, *_PATIENT).join(patients, patients.c.id == orders.c.patient_row)


def add(tx: Tx, order: Order, local: tuple[str, str], provenance: Iterable[Provenance]) -> Order:
    """The order is stored, with the id it got. `local` is its start as the site's clock says: YYYYMMDD, HHMMSS.

    An order that came without a step id gets one made of its id: machines need one.
    """
    values = {
        **_values(order, local),
        "provenance": write_provenance(provenance),
        "created_at": order.created_at,
    }
    row = tx.connection.execute(insert(orders).values(values).returning(orders.c.id))
    order_id = OrderId(row.scalar_one())
    if not order.step_id:
        tx.connection.execute(update(orders).where(orders.c.id == order_id).values(step_id=f"SPS{order_id}"))
    changes.note(tx, "order", order_id, order.created_at)
    return show(tx, order_id)


def save(
    tx: Tx, order: Order, local: tuple[str, str] | None = None, provenance: Iterable[Provenance] | None = None
) -> Order:
    """The order is stored as it now is; `local` and `provenance` only when they change.

    Raises Conflict when someone else changed it since it was read.
    """
    values = _values(order, local)
    if provenance is not None:
        values["provenance"] = write_provenance(provenance)
    statement = update(orders).where(orders.c.id == order.id, orders.c.version == order.version)
    if tx.connection.execute(statement.values({**values, "version": order.version + 1})).rowcount != 1:
        raise Conflict(f"order {order.id} was changed by someone else in the meantime: look at it again")
    changes.note(tx, "order", order.id, order.updated_at)
    return show(tx, order.id)


def show(tx: Tx, order_id: OrderId) -> Order:
    """The order. Raises NotFound."""
    row = tx.connection.execute(joined().where(orders.c.id == order_id)).one_or_none()
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
    return _all(tx, orders.c.study_uid == study_uid)


def of_message(tx: Tx, message_id: MessageId) -> tuple[Order, ...]:
    """Every order that the message made or changed last, oldest first."""
    return _all(tx, orders.c.message_id == message_id)


def known_as(tx: Tx, source: str, *, filler: str, placer: str, accession: str) -> tuple[Order, ...]:
    """Every order of that source that carries one of the sender's own numbers, oldest first; empty ones match none."""
    numbers = (orders.c.filler, filler), (orders.c.placer, placer), (orders.c.accession, accession)
    conditions = [column == number for column, number in numbers if number]
    return _all(tx, orders.c.source == source, or_(*conditions)) if conditions else ()


def of_request(tx: Tx, source: str, service_request: str) -> tuple[Order, ...]:
    """Every order of that source that was asked for by that ServiceRequest, oldest first; "" matches none."""
    if not service_request:
        return ()
    return _all(tx, orders.c.source == source, orders.c.service_request == service_request)


def of_patient(tx: Tx, patient_row: PatientRow) -> tuple[Order, ...]:
    """Every order of that patient, oldest first."""
    return _all(tx, orders.c.patient_row == patient_row)


def of_days(tx: Tx, first: str, last: str) -> tuple[Order, ...]:
    """The orders that start on a day from `first` to `last` (YYYYMMDD, the site's days), by time.

    Orders without a day are among them as long as something may still happen to them.
    """
    is_open = orders.c.state.not_in([*FINAL, State.EXPIRED])
    dayless = (orders.c.start_date == "") & is_open
    query = joined().where(orders.c.start_date.between(first, last) | dayless)
    query = query.order_by(orders.c.start_date, orders.c.start_time, orders.c.id)
    return tuple(read_order(row) for row in tx.connection.execute(query))


def before(tx: Tx, states: Iterable[State], day: str, created: datetime) -> tuple[Order, ...]:
    """The orders in one of `states` whose day is before `day` (YYYYMMDD); dayless ones made before `created` too."""
    past = (orders.c.start_date != "") & (orders.c.start_date < day)
    forgotten = (orders.c.start_date == "") & (orders.c.created_at < created)
    return _all(tx, orders.c.state.in_(list(states)), past | forgotten)


def newest(tx: Tx, *, state: State | None = None, limit: int = 500) -> tuple[Order, ...]:
    """The newest orders first."""
    query = joined().order_by(orders.c.id.desc()).limit(limit)
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
        module=ModuleRef(name=row.module, version=row.module_version),
        message_id=MessageId(row.message_id),
        arrived_at=row.arrived_at,
        sent_at=row.sent_at,
        sent_by=row.sent_by,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )


_SAME_NAME = (
    "source", "patient_row", "accession", "placer", "filler", "procedure_id", "step_id", "study_uid", "state",
    "modality", "station", "start", "description", "priority", "referring", "service_request", "subject",
    "message_id", "arrived_at", "sent_at", "sent_by", "updated_at", "version",
)  # fmt: skip


def _values(order: Order, local: tuple[str, str] | None) -> dict[str, Any]:
    values = {name: getattr(order, name) for name in _SAME_NAME}
    values["attributes"] = write_attributes(order.attributes)
    values["faults"] = write_faults(order.faults)
    values["module"], values["module_version"] = order.module.name, order.module.version
    if local is not None:
        values["start_date"], values["start_time"] = local
    return values


def _all(tx: Tx, *conditions: ColumnElement[bool]) -> tuple[Order, ...]:
    query = joined().where(*conditions).order_by(orders.c.id)
    return tuple(read_order(row) for row in tx.connection.execute(query))
