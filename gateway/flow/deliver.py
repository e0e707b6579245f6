"""Deliver: what the outbox owes is sent, under a lease, until the other side has it."""

import logging
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from gateway.flow.ports import Ports
from gateway.model.audit import AuditEvent
from gateway.model.delivery import Delivery, DeliveryState
from gateway.model.errors import Refused, Unavailable
from gateway.model.ids import DeliveryId
from gateway.store import audit, outbox

log = logging.getLogger(__name__)

LEASE = timedelta(minutes=2)
FIRST_WAIT_S = 5.0
LONGEST_WAIT_S = 900.0


def deliver_due(
    ports: Ports,
    send: Callable[[Delivery], None],
    *,
    to: str | None = None,
    apart_from: Collection[str] = (),
    lease: timedelta = LEASE,
    is_stopping: Callable[[], bool] = lambda: False,
) -> int:
    """How many deliveries were tried; 0 when nothing was due.

    `send` raises Unavailable when trying again may help and Refused when it never will. `to` is the only destination
    served (None: every one), `apart_from` are those that are not; `lease` is longer than one `send` takes.
    """
    tried = 0
    while not is_stopping() and (delivery := _claim(ports, lease, to, apart_from)) is not None:
        tried += 1
        _deliver(ports, delivery, send)
    return tried


def retry(ports: Ports, delivery_id: DeliveryId, *, actor: str) -> None:
    """The delivery is due now. Raises NotFound."""
    with ports.database.write() as tx:
        at = ports.clock()
        outbox.requeue(tx, delivery_id, at)
        subject = f"delivery:{delivery_id}"
        audit.record(tx, AuditEvent(at=at, actor=actor, action="delivery.retry", subject=subject, detail=""))


def wait_s(attempts: int, *, asked_s: float | None, spread: float) -> float:
    """Seconds until the next try: doubling from 5 s to 15 min, spread by up to a fifth; never before the peer asks.

    `spread` is from 0 to 1.
    """
    backoff = min(FIRST_WAIT_S * 2.0 ** min(attempts - 1, 20), LONGEST_WAIT_S)
    return max(asked_s or 0.0, float(backoff * (0.8 + 0.2 * spread)))


def _claim(ports: Ports, lease: timedelta, to: str | None, apart_from: Collection[str]) -> Delivery | None:
    with ports.database.write() as tx:
        return outbox.claim(tx, ports.clock(), lease, to=to, apart_from=apart_from)


def _deliver(ports: Ports, delivery: Delivery, send: Callable[[Delivery], None]) -> None:
    try:
        send(delivery)
    except Unavailable as error:
        again = ports.clock() + _wait(delivery, error)
        _settle(ports, delivery, DeliveryState.PENDING, str(error), again)
    except Refused as error:
        _settle(ports, delivery, DeliveryState.DEAD, str(error))
    else:
        _settle(ports, delivery, DeliveryState.DELIVERED)


def _wait(delivery: Delivery, error: Unavailable) -> timedelta:
    spread = delivery.id * 37 % 100 / 100  # many that failed together do not come back together
    return timedelta(seconds=wait_s(delivery.attempts, asked_s=error.retry_after_s, spread=spread))


def _settle(
    ports: Ports, delivery: Delivery, state: DeliveryState, error: str = "", next_at: datetime | None = None
) -> None:
    extra = {"delivery": delivery.id, "destination": delivery.destination, "attempts": delivery.attempts}
    log.log(logging.WARNING if error else logging.INFO, f"delivery.{state}", extra=extra)
    with ports.database.write() as tx:
        outbox.settle(tx, delivery, state, at=ports.clock(), next_at=next_at, error=error)
    ports.tally.count("deliveries", delivery.destination, state)
