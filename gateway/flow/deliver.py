"""Deliver: what the outbox owes is sent, under a lease, until the other side has it."""

import logging
from collections.abc import Callable, Collection
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import timedelta

from gateway.flow.ports import Ports
from gateway.model.audit import AuditEvent
from gateway.model.delivery import Delivery, DeliveryState
from gateway.model.errors import Refused, Unavailable
from gateway.model.ids import DeliveryId
from gateway.store import audit, outbox
from gateway.store.database import Tx

log = logging.getLogger(__name__)

LEASE = timedelta(minutes=2)
FIRST_WAIT_S = 5.0
LONGEST_WAIT_S = 900.0
_OUR_FAULT = "the gateway failed at sending it; its log says why"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What came of sending a delivery."""

    delivery: Delivery
    state: DeliveryState
    error: str = ""
    retry_after_s: float | None = None


def deliver_due(
    ports: Ports,
    send: Callable[[Delivery], None],
    *,
    to: str | None = None,
    apart_from: Collection[str] = (),
    lease: timedelta = LEASE,
    at_once: int = 1,
    is_stopping: Callable[[], bool] = lambda: False,
) -> int:
    """How many deliveries were tried; 0 when nothing was due.

    `send` raises Unavailable when trying again may help and Refused when it never will. `to` is the only destination
    served (None: every one), `apart_from` are those that are not; `lease` is longer than one `send` takes. `at_once`
    deliveries are on their way at the same time, of one thing only one.
    """

    def claim(tx: Tx, limit: int) -> tuple[Delivery, ...]:
        return outbox.claim(tx, ports.clock(), lease, to=to, apart_from=apart_from, limit=limit)

    if is_stopping():
        return 0
    with ports.database.write() as tx:
        claimed = claim(tx, at_once)
    if not claimed:
        return 0
    running: set[Future[_Outcome]] = set()
    tried = 0
    with ThreadPoolExecutor(at_once, thread_name_prefix="send") as pool:
        while claimed or running:
            running |= {pool.submit(_send, delivery, send) for delivery in claimed}
            done, running = wait(running, return_when=FIRST_COMPLETED)
            outcomes = [sent.result() for sent in done]
            tried += len(outcomes)
            with ports.database.write() as tx:
                for outcome in outcomes:
                    _settle(tx, ports, outcome)
                claimed = () if is_stopping() else claim(tx, at_once - len(running))
            for outcome in outcomes:
                _tell(ports, outcome)
    return tried


def retry(ports: Ports, delivery_id: DeliveryId, *, actor: str) -> None:
    """The delivery is due now.

    Raises NotFound, and Conflict while it is being sent or when a newer one of the same thing counts.
    """
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


def _send(delivery: Delivery, send: Callable[[Delivery], None]) -> _Outcome:
    try:
        send(delivery)
    except Unavailable as error:
        after_s = error.retry_after_s
        return _Outcome(
            delivery=delivery, state=DeliveryState.PENDING, error=str(error), retry_after_s=after_s
        )
    except Refused as error:
        return _Outcome(delivery=delivery, state=DeliveryState.DEAD, error=str(error))
    except Exception:  # a thread begins here, and the other deliveries must come to their end
        log.exception("delivery.failed", extra={"delivery": delivery.id, "destination": delivery.destination})
        return _Outcome(delivery=delivery, state=DeliveryState.PENDING, error=_OUR_FAULT)
    return _Outcome(delivery=delivery, state=DeliveryState.DELIVERED)


def _settle(tx: Tx, ports: Ports, outcome: _Outcome) -> None:
    at = ports.clock()
    next_at = at + _wait(outcome) if outcome.state is DeliveryState.PENDING else None
    outbox.settle(tx, outcome.delivery, outcome.state, at=at, next_at=next_at, error=outcome.error)


def _wait(outcome: _Outcome) -> timedelta:
    delivery = outcome.delivery
    spread = delivery.id * 37 % 100 / 100  # many that failed together do not come back together
    return timedelta(seconds=wait_s(delivery.attempts, asked_s=outcome.retry_after_s, spread=spread))


def _tell(ports: Ports, outcome: _Outcome) -> None:
    delivery = outcome.delivery
    extra = {"delivery": delivery.id, "destination": delivery.destination, "attempts": delivery.attempts}
    log.log(logging.WARNING if outcome.error else logging.INFO, f"delivery.{outcome.state}", extra=extra)
    ports.tally.count("deliveries", delivery.destination, outcome.state)
