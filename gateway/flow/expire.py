"""Expire: orders nobody came for leave the machines' lists on their own."""

from gateway.flow import step
from gateway.flow.ports import Ports
from gateway.model.lifecycle import State, Step
from gateway.store import changes, orders


def expire_stale(ports: Ports) -> int:
    """How many orders expired: their day is longer past than the site waits, or, dayless, their arrival here."""
    at = ports.clock()
    oldest = (at - ports.expire_after).astimezone(ports.zone)
    with ports.database.write() as tx:
        changes.forget(tx, at)
        stale = orders.before(tx, (State.SCHEDULED, State.SENT), f"{oldest:%Y%m%d}", oldest)
        for order in stale:
            step.take(tx, order, Step.EXPIRE, actor="gateway", evidence="its day is past", at=at, ports=ports)
    return len(stale)
