"""How far each record system is followed: one row a source."""

from dataclasses import fields
from typing import Any

from sqlalchemy import insert, select, update

from gateway.model.following import Following
from gateway.store.database import Tx
from gateway.store.fhir_tables import followed

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


def _read(row: Any) -> Following:
    return Following(**{name: getattr(row, name) for name in _FIELDS})
