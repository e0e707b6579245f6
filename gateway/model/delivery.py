"""News owed to another system: a row of the outbox."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.model.ids import DeliveryId, OrderId


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"  # to be sent at `next_at`; also what a lease that ran out becomes
    SENDING = "sending"  # a worker holds the lease
    DELIVERED = "delivered"
    DEAD = "dead"  # the other side will never take it as it is; a person must look
    SUPERSEDED = "superseded"  # a newer state of the same thing was queued before this one left


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """What is to be delivered: the newest state of the thing that `key` names."""

    destination: str  # its name in the configuration
    kind: str  # "ImagingStudy"
    key: str  # the Study Instance UID
    order_id: OrderId | None
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A stored delivery."""

    id: DeliveryId
    destination: str
    kind: str
    key: str
    order_id: OrderId | None
    payload: bytes
    state: DeliveryState
    attempts: int
    next_at: datetime
    error: str  # what the other side said last; "" when nothing was wrong
    created_at: datetime
    delivered_at: datetime | None
