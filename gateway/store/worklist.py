"""What a machine finds: the query's keys as SQL over indexed columns.

SQL narrows; Python decides the wildcards and the case of letters, because databases differ in both.
"""

from collections.abc import Iterable, Iterator

from sqlalchemy import Column, ColumnElement, and_, or_, select

from gateway.model.lifecycle import State
from gateway.model.names import is_alike
from gateway.model.order import Order
from gateway.model.worklist import Match, Range, WorklistQuery
from gateway.store.database import Tx
from gateway.store.matching import accepts, matches
from gateway.store.orders import joined, read_order
from gateway.store.tables import orders, patients


def find(tx: Tx, query: WorklistQuery, states: Iterable[State]) -> Iterator[Order]:
    """The orders in one of `states` that match, by start. Keys in `query.others` are the caller's to match.

    An order without a value matches no single value or wildcard, except that one which names no machine is on
    every machine's list, and one whose hour is open matches every time. A range of dates and a range of times
    together are one span, from the first day's first hour to the last day's last.
    Source: DICOM PS3.4 C.2.2.2, table K.6-1 (Scheduled Procedure Step Start Time).
    """
    conditions = [orders.c.state.in_(list(states)), *_conditions(query)]
    if query.is_fuzzy and query.patient_name is not None:
        conditions.append(orders.c.id.in_(_alike(tx, query.patient_name, conditions)))
    statement = joined().where(*conditions).order_by(orders.c.start_date, orders.c.start_time, orders.c.id)
    for row in tx.connection.execute(statement):
        order = read_order(row)
        if _agrees(order, query):
            yield order


def _alike(tx: Tx, wanted: Match, conditions: list[ColumnElement[bool]]) -> list[int]:
    """The orders whose patient's name is more or less one of those wanted."""
    names = select(orders.c.id, patients.c.name).join(patients, patients.c.id == orders.c.patient_row)
    rows = tx.connection.execute(names.where(*conditions))
    return [row.id for row in rows if any(is_alike(value, row.name) for value in wanted.values)]


def _agrees(order: Order, query: WorklistQuery) -> bool:
    pairs = (
        (None if query.is_fuzzy else query.patient_name, order.patient.name),
        (query.patient_id, order.patient.patient_id),
        (query.issuer, order.patient.issuer),
        (query.accession, order.accession),
        (query.procedure_id, order.procedure_id),
        (query.study_uid, order.study_uid),
        (query.modality, order.modality),
        (query.step_id, order.step_id),
    )
    return _is_for(order.station, query.station) and all(
        match is None or accepts(match, text) for match, text in pairs
    )


def _is_for(station: str, wanted: Match | None) -> bool:
    """Whether one of the order's machines is meant; an order may name several, or none and so all."""
    return wanted is None or not station or any(accepts(wanted, part.strip()) for part in station.split("\\"))


def _conditions(query: WorklistQuery) -> Iterator[ColumnElement[bool]]:
    texts: tuple[tuple[Match | None, Column[str]], ...] = (
        (None if query.is_fuzzy else query.patient_name, patients.c.name),
        (query.patient_id, patients.c.patient_id),
        (query.issuer, patients.c.issuer),
        (query.accession, orders.c.accession),
        (query.procedure_id, orders.c.procedure_id),
        (query.study_uid, orders.c.study_uid),
        (query.modality, orders.c.modality),
        (query.step_id, orders.c.step_id),
    )
    for match, column in texts:
        if match is not None:
            yield matches(match, column)
    if query.station is not None:
        several = orders.c.station.like("%\\%", escape="!")
        yield or_(orders.c.station == "", several, matches(query.station, orders.c.station))
    if query.date is not None:
        yield _within(query.date, orders.c.start_date)
    if query.time is not None:
        yield or_(orders.c.start_time == "", _at(query.date, query.time))


def _at(days: Range | None, times: Range) -> ColumnElement[bool]:
    """The hours asked: of every day, or of the first and the last day of a range of days."""
    if days is None or days.first == days.last or times.first == times.last:
        return _within(times, orders.c.start_time)
    bounds = [orders.c.start_time != ""]
    if days.first and times.first:
        bounds.append(or_(orders.c.start_date > days.first, orders.c.start_time >= times.first))
    if days.last and times.last:
        bounds.append(or_(orders.c.start_date < days.last, orders.c.start_time <= times.last))
    return and_(*bounds)


def _within(span: Range, column: "Column[str]") -> ColumnElement[bool]:
    """A range of times whose end comes before its beginning goes over midnight."""
    if span.first and span.last and column is orders.c.start_time and span.last < span.first:
        return and_(column != "", or_(column >= span.first, column <= span.last))
    bounds = [column != ""]
    if span.first:
        bounds.append(column >= span.first)
    if span.last:
        bounds.append(column <= span.last)
    return and_(*bounds)
