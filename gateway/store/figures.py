"""How much of everything there is: the figures that are watched."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, func, select

from gateway.model.delivery import DeliveryState
from gateway.model.lifecycle import State
from gateway.model.message import MessageState
from gateway.store.database import Tx
from gateway.store.tables import deliveries, messages, orders

_OPEN = (DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.DEAD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The sizes of the queues."""

    held: int  # messages that wait for a person
    received: int  # messages that were kept and wait to be mapped
    held_orders: int
    listed: int  # orders that machines find
    deliveries: dict[DeliveryState, int]  # pending, sending and dead ones


def read_figures(tx: Tx, listed: Iterable[State]) -> Figures:
    """The figures of now; `listed` are the states that answer a machine's query."""
    return Figures(
        held=_count(tx, select(func.count()).where(messages.c.state == MessageState.HELD)),
        received=_count(tx, select(func.count()).where(messages.c.state == MessageState.RECEIVED)),
        held_orders=_count(tx, select(func.count()).where(orders.c.state == State.HELD)),
        listed=_count(tx, select(func.count()).where(orders.c.state.in_(list(listed)))),
        deliveries={
            state: _count(tx, select(func.count()).where(deliveries.c.state == state)) for state in _OPEN
        },
    )


def last_message(tx: Tx, source: str) -> datetime | None:
    """When the newest message of the source came, which no edited copy did; None when there is none."""
    query = select(messages.c.received_at).where(
        messages.c.source == source, messages.c.edited_from.is_(None)
    )
    newest = query.order_by(messages.c.received_at.desc()).limit(1)
    found: datetime | None = tx.connection.execute(newest).scalar_one_or_none()
    return found


def _count(tx: Tx, query: "Select[int]") -> int:
    found: int = tx.connection.execute(query).scalar_one()
    return found
