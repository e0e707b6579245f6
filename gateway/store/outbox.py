"""The outbox: news owed to other systems, claimed under a lease and delivered at least once."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, insert, or_, select, update

from gateway.model.delivery import Delivery, DeliveryState, Outgoing
from gateway.model.errors import Conflict, NotFound
from gateway.model.ids import DeliveryId, OrderId
from gateway.store import changes
from gateway.store.database import Tx
from gateway.store.ready import Ready
from gateway.store.tables import deliveries


def _due() -> Select[Any]:
    """What is due at :now, the longest first, at most :most."""
    now = bindparam("now", type_=deliveries.c.next_at.type)
    other = deliveries.alias("other")
    is_ahead = (
        (other.c.destination == deliveries.c.destination)
        & (other.c.key == deliveries.c.key)
        & (other.c.id < deliveries.c.id)
    )
    is_sending = (other.c.state == DeliveryState.SENDING) & (other.c.lease_until > now)
    is_owed = other.c.state.in_([DeliveryState.PENDING, DeliveryState.SENDING])
    both_in_turn = (deliveries.c.in_turn == 1) & (other.c.in_turn == 1)
    must_wait = (
        select(other.c.id)
        .where(is_ahead, ((other.c.kind == deliveries.c.kind) & is_sending) | (both_in_turn & is_owed))
        .exists()
    )
    due = or_(
        (deliveries.c.state == DeliveryState.PENDING) & (deliveries.c.next_at <= now),
        (deliveries.c.state == DeliveryState.SENDING) & (deliveries.c.lease_until <= now),
    )
    query = select(deliveries).where(due, ~must_wait).order_by(deliveries.c.next_at, deliveries.c.id)
    return query.limit(bindparam("most")).with_for_update(skip_locked=True)


_DUE_TO = _due().where(deliveries.c.destination == bindparam("to"))
_DUE_BUT = _due().where(deliveries.c.destination.not_in(bindparam("apart", expanding=True)))
_CLAIM = Ready(
    update(deliveries)
    .where(deliveries.c.id == bindparam("row"))
    .values(state=DeliveryState.SENDING, lease_until=bindparam("until"), attempts=bindparam("attempt"))
)
_SETTLE = Ready(
    update(deliveries)
    .where(
        deliveries.c.id == bindparam("row"),
        deliveries.c.state == DeliveryState.SENDING,
        deliveries.c.attempts == bindparam("attempt"),
    )
    .values(
        state=bindparam("to_state"),
        lease_until=None,
        next_at=bindparam("due_at"),
        error=bindparam("said"),
        delivered_at=bindparam("there_at"),
    )
)
_NEWER = Ready(
    select(deliveries.c.id)
    .where(
        deliveries.c.destination == bindparam("to"),
        deliveries.c.kind == bindparam("of_kind"),
        deliveries.c.key == bindparam("of_key"),
        deliveries.c.id > bindparam("row"),
    )
    .limit(1)
)


def add(tx: Tx, outgoing: Outgoing, at: datetime) -> DeliveryId:
    """The news is owed from `at` on. An older state of the same thing that has not left yet never will."""
    if not outgoing.in_turn:
        _supersede(tx, outgoing)
    row = tx.connection.execute(
        insert(deliveries)
        .values(
            destination=outgoing.destination,
            kind=outgoing.kind,
            key=outgoing.key,
            order_id=outgoing.order_id,
            payload=outgoing.payload,
            in_turn=int(outgoing.in_turn),
            state=DeliveryState.PENDING,
            attempts=0,
            next_at=at,
            created_at=at,
        )
        .returning(deliveries.c.id)
    )
    delivery_id = DeliveryId(row.scalar_one())
    changes.note(tx, "delivery", delivery_id, at)
    return delivery_id


def claim(
    tx: Tx,
    now: datetime,
    lease: timedelta,
    *,
    to: str | None = None,
    apart_from: Collection[str] = (),
    limit: int = 1,
) -> tuple[Delivery, ...]:
    """The deliveries that are due longest, at most `limit`, held until the lease runs out; none when none is due.

    `to` is the only destination looked at (None: every one), `apart_from` are those passed over.
    A lease that ran out is due again: its worker died. News of one thing to one destination leaves in the order it
    was queued: nothing is claimed while an older state of the same thing is being sent, and nothing in turn while
    anything older in turn is owed.
    """
    tx.lock("outbox")
    query = _DUE_TO if to is not None else _DUE_BUT
    asked = {"now": now, "to": to} if to is not None else {"now": now, "apart": list(apart_from)}
    rows = tx.connection.execute(query, {**asked, "most": limit}).all()
    firsts: dict[tuple[str, str, str], Any] = {}
    for row in sorted(rows, key=lambda row: row.id):
        firsts.setdefault((row.destination, row.key, row.kind), row)
    claimed = [row for row in rows if firsts[row.destination, row.key, row.kind] is row]
    for row in claimed:
        values = {"row": row.id, "until": now + lease, "attempt": row.attempts + 1}
        _CLAIM.run(tx, values)
    return tuple(
        replace(_read(row), state=DeliveryState.SENDING, attempts=row.attempts + 1) for row in claimed
    )


def settle(
    tx: Tx,
    claimed: Delivery,
    state: DeliveryState,
    *,
    at: datetime,
    next_at: datetime | None = None,
    error: str = "",
) -> None:
    """What came of a claimed delivery: DELIVERED, DEAD, or PENDING again from `next_at` on.

    Nothing changes when the lease was lost to another worker meanwhile. A delivery that failed while a newer state
    of the same thing was queued is superseded instead of tried again.
    """
    if state is DeliveryState.PENDING and not claimed.in_turn and _newer(tx, claimed):
        state = DeliveryState.SUPERSEDED
    values = {
        "row": claimed.id,
        "attempt": claimed.attempts,
        "to_state": state,
        "due_at": next_at or at,
        "said": error,
        "there_at": at if state is DeliveryState.DELIVERED else None,
    }
    _SETTLE.run(tx, values)
    changes.note(tx, "delivery", claimed.id, at)


def requeue(tx: Tx, delivery_id: DeliveryId, at: datetime) -> None:
    """The delivery is due now, whatever became of it before.

    Raises NotFound, and Conflict while it is being sent, and when a newer state of the same thing counts: one that
    was queued or, of events that leave in turn, one that the other side has or is being sent.
    """
    tx.lock("outbox")
    delivery = show(tx, delivery_id)
    if _is_held(tx, deliveries.c.id == delivery_id, at):
        raise Conflict(f"delivery {delivery_id}: it is being sent at this moment")
    if not delivery.in_turn and _newer(tx, delivery):
        raise Conflict(f"delivery {delivery_id}: newer news of the same was queued; try that one again")
    if delivery.in_turn and _is_passed(tx, delivery, at):
        raise Conflict(f"delivery {delivery_id}: newer news of the same was sent already and would be undone")
    values = {"state": DeliveryState.PENDING, "next_at": at, "lease_until": None}
    tx.connection.execute(update(deliveries).where(deliveries.c.id == delivery_id).values(values))
    changes.note(tx, "delivery", delivery_id, at)


def show(tx: Tx, delivery_id: DeliveryId) -> Delivery:
    """The delivery. Raises NotFound."""
    row = tx.connection.execute(select(deliveries).where(deliveries.c.id == delivery_id)).one_or_none()
    if row is None:
        raise NotFound(f"delivery {delivery_id}: there is none with that number")
    return _read(row)


def newest(tx: Tx, *, state: DeliveryState | None = None, limit: int = 200) -> tuple[Delivery, ...]:
    """The newest deliveries first."""
    query = select(deliveries).order_by(deliveries.c.id.desc()).limit(limit)
    if state is not None:
        query = query.where(deliveries.c.state == state)
    return tuple(_read(row) for row in tx.connection.execute(query))


def of_orders(tx: Tx, order_ids: list[OrderId]) -> tuple[Delivery, ...]:
    """The deliveries about one of the orders, oldest first."""
    query = select(deliveries).where(deliveries.c.order_id.in_(order_ids)).order_by(deliveries.c.id)
    return tuple(_read(row) for row in tx.connection.execute(query))


def is_owed(tx: Tx, destination: str, kind: str, key: str) -> bool:
    """Whether news of that kind about the thing has yet to reach the destination."""
    query = select(deliveries.c.id).where(
        deliveries.c.destination == destination,
        deliveries.c.key == key,
        deliveries.c.kind == kind,
        deliveries.c.state.in_([DeliveryState.PENDING, DeliveryState.SENDING]),
    )
    return tx.connection.execute(query.limit(1)).one_or_none() is not None


def told(tx: Tx, key: str) -> frozenset[tuple[str, str]]:
    """To whom news about the thing was ever owed: destination and kind."""
    query = select(deliveries.c.destination, deliveries.c.kind).where(deliveries.c.key == key).distinct()
    return frozenset((row.destination, row.kind) for row in tx.connection.execute(query))


def _supersede(tx: Tx, outgoing: Outgoing) -> None:
    older = update(deliveries).where(
        deliveries.c.destination == outgoing.destination,
        deliveries.c.kind == outgoing.kind,
        deliveries.c.key == outgoing.key,
        deliveries.c.state == DeliveryState.PENDING,
    )
    tx.connection.execute(older.values(state=DeliveryState.SUPERSEDED))


def _newer(tx: Tx, delivery: Delivery) -> bool:
    values = {
        "to": delivery.destination,
        "of_kind": delivery.kind,
        "of_key": delivery.key,
        "row": delivery.id,
    }
    return _NEWER.row(tx, values) is not None


def _is_passed(tx: Tx, delivery: Delivery, now: datetime) -> bool:
    """Whether the other side has a newer message of HL7 v2 of the same type about the same thing, or soon will.

    News for FHIR servers may come late: what is further on there already is left as it is.
    """
    message_type = delivery.kind.partition(" ")[0]
    newer = (
        (deliveries.c.destination == delivery.destination)
        & (deliveries.c.key == delivery.key)
        & (deliveries.c.id > delivery.id)
        & or_(deliveries.c.kind == message_type, deliveries.c.kind.startswith(f"{message_type} "))
    )
    is_there = deliveries.c.state == DeliveryState.DELIVERED
    found = tx.connection.execute(select(deliveries.c.id).where(newer, is_there).limit(1)).one_or_none()
    return "^" in message_type and (found is not None or _is_held(tx, newer, now))


def _is_held(tx: Tx, which: ColumnElement[bool], now: datetime) -> bool:
    """Whether a worker is sending one of them."""
    is_sending = (deliveries.c.state == DeliveryState.SENDING) & (deliveries.c.lease_until > now)
    return (
        tx.connection.execute(select(deliveries.c.id).where(which, is_sending).limit(1)).one_or_none()
        is not None
    )


def _read(row: Any) -> Delivery:
    return Delivery(
        id=DeliveryId(row.id),
        destination=row.destination,
        kind=row.kind,
        key=row.key,
        order_id=OrderId(row.order_id) if row.order_id is not None else None,
        payload=row.payload,
        in_turn=bool(row.in_turn),
        state=DeliveryState(row.state),
        attempts=row.attempts,
        next_at=row.next_at,
        error=row.error,
        created_at=row.created_at,
        delivered_at=row.delivered_at,
    )
