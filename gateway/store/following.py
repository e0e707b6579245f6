"""How far each record system is followed: one row a source, and one for each subscription that counts its events."""

from dataclasses import fields
from typing import Any

from sqlalchemy import ColumnElement, and_, insert, select, update

from gateway.model.following import Following
from gateway.store.database import Tx
from gateway.store.fhir_tables import followed, heard

_LONGEST_NAME = 255
_FIELDS = tuple(field.name for field in fields(Following))


def of(tx: Tx, source: str) -> Following:
    """What is known of the source."""
    row = tx.connection.execute(select(followed).where(followed.c.source == source)).one_or_none()
    return _read(row) if row is not None else Following(source=source)


def to_change(tx: Tx, source: str) -> Following:
    """What is known of the source, which nobody else changes until the transaction ends."""
    tx.lock(f"followed {source}")
    return of(tx, source)


def save(tx: Tx, following: Following) -> None:
    """This is what is known of the source now."""
    values: dict[str, Any] = {name: getattr(following, name) for name in _FIELDS}
    mine = followed.c.source == following.source
    if tx.connection.execute(update(followed).where(mine).values(**values)).rowcount == 0:
        tx.connection.execute(insert(followed).values(**values))


def event_number(tx: Tx, source: str, subscription: str) -> int | None:
    """Of the subscription's newest notification; None when there was none with a number."""
    query = select(heard.c.event_number).where(_of(source, subscription))
    return tx.connection.execute(query).scalar_one_or_none()


def save_event_number(tx: Tx, source: str, subscription: str, number: int) -> None:
    """This is the number of the subscription's newest notification."""
    values = {"source": source, "subscription": subscription[:_LONGEST_NAME], "event_number": number}
    mine = _of(source, subscription)
    if tx.connection.execute(update(heard).where(mine).values(event_number=number)).rowcount == 0:
        tx.connection.execute(insert(heard).values(**values))


def _of(source: str, subscription: str) -> ColumnElement[bool]:
    return and_(heard.c.source == source, heard.c.subscription == subscription[:_LONGEST_NAME])


def _read(row: Any) -> Following:
    return Following(**{name: getattr(row, name) for name in _FIELDS})
