"""What changed, in order: the page asks what came after the last change it showed."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, insert, select

from gateway.store.database import Tx
from gateway.store.ready import Ready
from gateway.store.tables import changes

KEPT = timedelta(hours=1)

_NOTE = Ready(insert(changes).inline())


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something changed: a topic ("order", "study", "message", "delivery", "station") and our id of the thing."""

    id: int
    topic: str
    ref: int


def note(tx: Tx, topic: str, ref: int, at: datetime) -> None:
    """The change is there for every page to see when the transaction commits."""
    _NOTE.run(tx, {"topic": topic, "ref": ref, "at": at})


def latest(tx: Tx) -> int:
    """The number of the newest change; 0 when there is none."""
    newest: int = tx.connection.execute(select(func.coalesce(func.max(changes.c.id), 0))).scalar_one()
    return newest


def since(tx: Tx, number: int, limit: int = 500) -> tuple[Change, ...]:
    """The changes after `number`, oldest first."""
    query = select(changes).where(changes.c.id > number).order_by(changes.c.id).limit(limit)
    return tuple(Change(id=row.id, topic=row.topic, ref=row.ref) for row in tx.connection.execute(query))


def forget(tx: Tx, now: datetime) -> None:
    """Changes older than KEPT are gone: a page away for longer reloads whole."""
    tx.connection.execute(delete(changes).where(changes.c.at < now - KEPT))
