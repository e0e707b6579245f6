"""News owed to another system: a row of the outbox."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.model.ids import DeliveryId, OrderId
from gateway.model.message import Message
from gateway.model.order import Order
from gateway.model.study import Study


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"  # to be sent at `next_at`; also what a lease that ran out becomes
    SENDING = "sending"  # a worker holds the lease
    DELIVERED = "delivered"
    DEAD = "dead"  # the other side will never take it as it is; a person must look
    SUPERSEDED = "superseded"  # a newer state of the same thing was queued before this one left


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """What is to be delivered about the thing that `key` names.

    It is the thing's newest state and takes the place of an older one that has not left; or, with `in_turn`, one
    event of many: each leaves, in the order they were queued, and none while an older one is still owed.
    """

    destination: str  # its name in the configuration
    kind: str  # "ImagingStudy", "ORM^O01 IP"
    key: str  # the Study Instance UID, "order:12"
    order_id: OrderId | None
    payload: bytes
    in_turn: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What is stored around a change."""

    study: Study | None = None  # None: no image of the order came
    orders: tuple[Order, ...] = ()  # every order of the same study
    told: frozenset[tuple[str, str]] = frozenset()  # destination and kind of what was ever owed of the study


def nothing() -> Around:
    """Nothing is stored around the change."""
    return Around()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What happened to an order, as other systems may want to hear of it."""

    order: Order
    action: str  # as in the audit trail: "order.start", "study.complete"
    evidence: str  # what it rests on: "message:7", "study:3", "by hand"
    at: datetime
    messages: Callable[[], tuple[Message, ...]]  # about its orders, newest first
    study: Study | None = None  # the study that is complete, and every order it is for
    orders: tuple[Order, ...] = ()
    around: Callable[[], Around] = nothing  # read only when asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A stored delivery."""

    id: DeliveryId
    destination: str
    kind: str
    key: str
    order_id: OrderId | None
    payload: bytes
    in_turn: bool  # see Outgoing
    state: DeliveryState
    attempts: int
    next_at: datetime
    error: str  # what the other side said last; "" when nothing was wrong
    created_at: datetime
    delivered_at: datetime | None
