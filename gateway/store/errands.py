"""The errands: what is owed to be read from record systems, claimed under a lease and done at least once."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert, or_, select, update

from gateway.model.errand import Errand, ErrandKind, ErrandState, Wanted
from gateway.model.ids import MessageId
from gateway.store.database import Tx
from gateway.store.fhir_tables import errands


def add(tx: Tx, source: str, wanted: Wanted, at: datetime, *, message_id: MessageId | None = None) -> int:
    """The errand's number; it is due from `at` on.

    A poll that is open already does for another; so does the same reading for the same message.
    """
    tx.lock(f"errands {source}")
    same = select(errands.c.id).where(
        errands.c.source == source,
        errands.c.state == ErrandState.OPEN,
        errands.c.kind == wanted.kind,
        errands.c.target == wanted.target,
    )
    if wanted.kind is ErrandKind.POLL:
        same = same.where(errands.c.attempts == 0)  # one that runs may have passed the change already
    else:
        same = same.where(errands.c.message_id == message_id)
    known = tx.connection.execute(same.limit(1)).scalar_one_or_none()
    if known is not None:
        return int(known)
    values = {
        "source": source,
        "kind": wanted.kind,
        "target": wanted.target,
        "field": wanted.field,
        "message_id": message_id,
        "state": ErrandState.OPEN,
        "attempts": 0,
        "next_at": at,
        "created_at": at,
    }
    row = tx.connection.execute(insert(errands).values(**values).returning(errands.c.id))
    return int(row.scalar_one())


def claim(tx: Tx, source: str, now: datetime, lease: timedelta, *, limit: int = 1) -> tuple[Errand, ...]:
    """The source's errands that are due longest, held until the lease runs out; none when none is due.

    A lease that ran out is due again: its worker died. Two polls of one source never run side by side.
    """
    tx.lock(f"errands {source}")
    free = or_(errands.c.lease_until.is_(None), errands.c.lease_until <= now)
    query = select(errands).where(
        errands.c.source == source, errands.c.state == ErrandState.OPEN, errands.c.next_at <= now, free
    )
    if _polls(tx, source, now):
        query = query.where(errands.c.kind != ErrandKind.POLL)
    rows = tx.connection.execute(query.order_by(errands.c.next_at, errands.c.id).limit(limit)).all()
    taken = _one_poll([_read(row) for row in rows])
    for errand in taken:
        values = {"lease_until": now + lease, "attempts": errand.attempts + 1}
        tx.connection.execute(update(errands).where(errands.c.id == errand.id).values(**values))
    return tuple(replace(errand, attempts=errand.attempts + 1) for errand in taken)


def finish(tx: Tx, claimed: Errand, at: datetime) -> None:
    """The errand is done."""
    _settle(tx, claimed, state=ErrandState.DONE, error="", next_at=at)


def postpone(tx: Tx, claimed: Errand, next_at: datetime, error: str) -> None:
    """The errand is due again from `next_at` on."""
    _settle(tx, claimed, state=ErrandState.OPEN, error=error, next_at=next_at)


def give_up(tx: Tx, claimed: Errand, at: datetime, error: str) -> None:
    """The errand is not tried again."""
    _settle(tx, claimed, state=ErrandState.FAILED, error=error, next_at=at)


def of_message(tx: Tx, message_id: MessageId) -> tuple[Errand, ...]:
    """Every errand done for the message, oldest first."""
    query = select(errands).where(errands.c.message_id == message_id).order_by(errands.c.id)
    return tuple(_read(row) for row in tx.connection.execute(query))


def is_waited_for(tx: Tx, message_id: MessageId) -> bool:
    """Whether something the message waits for has yet to be read."""
    query = select(errands.c.id).where(
        errands.c.message_id == message_id,
        errands.c.state == ErrandState.OPEN,
        errands.c.kind == ErrandKind.READ,
    )
    return tx.connection.execute(query.limit(1)).scalar_one_or_none() is not None


def is_open(tx: Tx, source: str, kind: ErrandKind) -> bool:
    """Whether an errand of that kind is owed, or somebody is at it."""
    query = select(errands.c.id).where(
        errands.c.source == source, errands.c.kind == kind, errands.c.state == ErrandState.OPEN
    )
    return tx.connection.execute(query.limit(1)).scalar_one_or_none() is not None


def forget_done(tx: Tx, before: datetime) -> int:
    """How many errands were forgotten: those that ended before that moment."""
    ended = errands.c.state.in_([ErrandState.DONE, ErrandState.FAILED]) & (errands.c.next_at < before)
    return tx.connection.execute(delete(errands).where(ended)).rowcount


def forget_asked(tx: Tx, message_id: MessageId) -> None:
    """What was read for the message, or could not be, was never asked for."""
    asked = (errands.c.message_id == message_id) & (errands.c.state != ErrandState.OPEN)
    tx.connection.execute(delete(errands).where(asked))


def _polls(tx: Tx, source: str, now: datetime) -> bool:
    query = select(errands.c.id).where(
        errands.c.source == source,
        errands.c.kind == ErrandKind.POLL,
        errands.c.state == ErrandState.OPEN,
        errands.c.lease_until > now,
    )
    return tx.connection.execute(query.limit(1)).scalar_one_or_none() is not None


def _one_poll(found: list[Errand]) -> list[Errand]:
    first = next((errand.id for errand in found if errand.kind is ErrandKind.POLL), None)
    return [errand for errand in found if errand.kind is not ErrandKind.POLL or errand.id == first]


def _settle(tx: Tx, claimed: Errand, *, state: ErrandState, error: str, next_at: datetime) -> None:
    """Nothing changes when the lease was lost to another worker meanwhile."""
    mine = (errands.c.id == claimed.id) & (errands.c.attempts == claimed.attempts)
    values = {"state": state, "error": error, "next_at": next_at, "lease_until": None}
    tx.connection.execute(update(errands).where(mine).values(**values))


def _read(row: Any) -> Errand:
    return Errand(
        id=row.id,
        source=row.source,
        kind=ErrandKind(row.kind),
        target=row.target,
        message_id=MessageId(row.message_id) if row.message_id is not None else None,
        field=row.field,
        state=ErrandState(row.state),
        attempts=row.attempts,
        next_at=row.next_at,
        error=row.error,
        created_at=row.created_at,
    )
