from collections.abc import Callable

from gateway.flow.expire import expire_stale
from gateway.flow.ports import Ports
from gateway.model.lifecycle import State
from gateway.model.order import Order
from gateway.store import orders


def test_orders_leave_the_list_when_their_day_is_long_past(
    ports: Ports, order_factory: Callable[..., Order]
) -> None:
    old = order_factory(accession="old", start="2026-11-19T10:00:00+00:00")
    recent = order_factory(accession="recent", start="2026-11-20T10:00:00+00:00")
    running = order_factory(accession="running", start="2026-11-01", state=State.STARTED)
    dayless = order_factory(accession="dayless", start="")
    assert expire_stale(ports) == 1
    with ports.database.read() as tx:
        states = [orders.show(tx, order.id).state for order in (old, recent, running, dayless)]
    assert states == [State.EXPIRED, State.SENT, State.STARTED, State.SENT]
    ports.clock.advance(seconds=3 * 86_400 + 60)  # type: ignore[attr-defined]
    assert expire_stale(ports) == 2
