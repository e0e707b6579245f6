"""What a machine finds: the query's keys as SQL over indexed columns."""

from collections.abc import Iterable, Iterator

from sqlalchemy import Column, ColumnElement, and_, func, or_

from gateway.model.lifecycle import State
from gateway.model.order import Order
from gateway.model.worklist import Match, Range, WorklistQuery
from gateway.store.database import Tx
from gateway.store.orders import joined, read_order
from gateway.store.tables import orders, patients


def find(tx: Tx, query: WorklistQuery, states: Iterable[State]) -> Iterator[Order]:
    """The orders in one of `states` that match, by start. Keys in `query.others` are the caller's to match.

    An order without a value matches no single value or wildcard, except that one which names no machine is on
    every machine's list. Source: DICOM PS3.4 C.2.2.2, K.6.1.2.2.
    """
    conditions = [orders.c.state.in_(list(states)), *_conditions(query)]
    statement = joined().where(*conditions).order_by(orders.c.start_date, orders.c.start_time, orders.c.id)
    for row in tx.connection.execute(statement):
        yield read_order(row)


def _conditions(query: WorklistQuery) -> Iterator[ColumnElement[bool]]:
    texts: tuple[tuple[Match | None, Column[str]], ...] = (
        (query.patient_name, patients.c.name),
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
            yield _matches(match, column)
    if query.station is not None:
        yield or_(orders.c.station == "", _matches(query.station, orders.c.station))
    for span, column in ((query.date, orders.c.start_date), (query.time, orders.c.start_time)):
        if span is not None:
            yield _within(span, column)


def _matches(match: Match, column: "Column[str]") -> ColumnElement[bool]:
    if not match.is_wild and not match.ignore_case:
        return column.in_(match.values)
    if not match.is_wild:
        return func.upper(column).in_([value.upper() for value in match.values])
    return or_(*(_like(value, column, match.ignore_case) for value in match.values))


def _like(pattern: str, column: "Column[str]", ignore_case: bool) -> ColumnElement[bool]:
    escaped = pattern.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    translated = escaped.replace("*", "%").replace("?", "_")
    if ignore_case:
        return func.upper(column).like(translated.upper(), escape="!")
    return column.like(translated, escape="!")


def _within(span: Range, column: "Column[str]") -> ColumnElement[bool]:
    bounds = [column != ""]
    if span.first:
        bounds.append(column >= span.first)
    if span.last:
        bounds.append(column <= span.last)
    return and_(*bounds)
