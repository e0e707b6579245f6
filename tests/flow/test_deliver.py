import threading
from typing import Any

import pytest

from gateway.flow.deliver import LEASE, deliver_due, retry, wait_s
from gateway.flow.ports import Ports
from gateway.model.delivery import Delivery, DeliveryState, Outgoing
from gateway.model.errors import Refused, Unavailable
from gateway.model.ids import DeliveryId
from gateway.store import outbox


def _owe(ports: Ports) -> DeliveryId:
    with ports.database.write() as tx:
        out = Outgoing(destination="ehr", kind="ImagingStudy", key="1.2", order_id=None, payload=b"{}")
        return outbox.add(tx, out, ports.clock())


def _show(ports: Ports, delivery_id: DeliveryId) -> Delivery:
    with ports.database.read() as tx:
        return outbox.show(tx, delivery_id)


def _away(_: Delivery) -> None:
    raise Unavailable("connection refused")


def _refuse(_: Delivery) -> None:
    raise Refused("422: subject: required")


def test_what_the_other_side_took_is_delivered_once(ports: Ports) -> None:
    owed, sent = _owe(ports), list[Delivery]()
    assert deliver_due(ports, sent.append) == 1
    assert deliver_due(ports, sent.append) == 0
    assert [delivery.id for delivery in sent] == [owed]
    assert _show(ports, owed).delivered_at == ports.clock()


def test_an_absent_system_is_tried_again_later_and_longer_each_time(ports: Ports) -> None:
    owed = _owe(ports)
    waits = []
    for _ in range(3):
        deliver_due(ports, _away)
        delivery = _show(ports, owed)
        assert (delivery.state, delivery.error) == (DeliveryState.PENDING, "connection refused")
        waits.append((delivery.next_at - ports.clock()).total_seconds())
        ports.clock.advance(seconds=waits[-1])  # type: ignore[attr-defined]
    assert waits == sorted(waits)
    assert 4 <= waits[0] <= 5
    assert 16 <= waits[2] <= 20
    sent: list[Delivery] = []
    deliver_due(ports, sent.append)
    assert [delivery.attempts for delivery in sent] == [4]


def test_what_will_never_be_taken_waits_for_a_person(ports: Ports) -> None:
    owed = _owe(ports)
    deliver_due(ports, _refuse)
    assert (_show(ports, owed).state, _show(ports, owed).error) == (
        DeliveryState.DEAD,
        "422: subject: required",
    )
    retry(ports, owed, actor="user:anna")
    sent: list[Delivery] = []
    deliver_due(ports, sent.append)
    assert [delivery.id for delivery in sent] == [owed]


@pytest.mark.parametrize(
    ("attempts", "asked_s", "least", "most"),
    [(1, None, 4, 5), (30, None, 720, 900), (1, 60, 60, 60), (9000, None, 720, 900)],
)
def test_the_wait_grows_to_a_quarter_of_an_hour_and_heeds_the_peer(
    attempts: int, asked_s: float | None, least: float, most: float
) -> None:
    for spread in (0.0, 0.5, 1.0):
        assert least <= wait_s(attempts, asked_s=asked_s, spread=spread) <= most


def _status(ports: Ports, key: str = "order:1", destination: str = "ris") -> DeliveryId:
    with ports.database.write() as tx:
        out = Outgoing(
            destination=destination, kind="ORM^O01 IP", key=key, order_id=None, payload=b"MSH", in_turn=True
        )
        return outbox.add(tx, out, ports.clock())


def test_news_in_turn_leaves_in_its_order_even_when_one_fails(ports: Ports) -> None:
    first, second = _status(ports), _status(ports)
    other = _status(ports, "order:2")
    tried: list[DeliveryId] = []

    def send(delivery: Delivery) -> None:
        tried.append(delivery.id)
        if delivery.id == first and tried.count(first) == 1:
            raise Unavailable("away")

    deliver_due(ports, send)
    assert tried == [first, other]
    ports.clock.advance(seconds=10)  # type: ignore[attr-defined]
    deliver_due(ports, send)
    assert tried == [first, other, first, second]
    assert [_show(ports, one).state for one in (first, second)] == [DeliveryState.DELIVERED] * 2


def test_a_dead_one_lets_the_next_in_turn_go(ports: Ports) -> None:
    first, second = _status(ports), _status(ports)

    def send(delivery: Delivery) -> None:
        if delivery.id == first:
            raise Refused("AR")

    deliver_due(ports, send)
    assert [_show(ports, one).state for one in (first, second)] == [
        DeliveryState.DEAD,
        DeliveryState.DELIVERED,
    ]


def test_what_was_being_sent_when_we_died_is_sent_again_as_it_was_before_what_follows(ports: Ports) -> None:
    first, second = _status(ports), _status(ports)
    with ports.database.write() as tx:
        taken = next(iter(outbox.claim(tx, ports.clock(), LEASE)), None)  # and then the power fails
    sent: list[Delivery] = []
    assert deliver_due(ports, sent.append) == 0
    ports.clock.advance(seconds=LEASE.total_seconds())  # type: ignore[attr-defined]
    deliver_due(ports, sent.append)
    assert taken is not None
    assert [one.id for one in sent] == [first, second]
    assert sent[0].payload == taken.payload


def test_each_worker_serves_its_own_destination(ports: Ports) -> None:
    ehr, ris, gone = _owe(ports), _status(ports), _status(ports, destination="gone")
    sent: list[Delivery] = []
    deliver_due(ports, sent.append, to="ris")
    assert [one.id for one in sent] == [ris]
    deliver_due(ports, sent.append, apart_from=("ris", "ehr"))
    assert [one.id for one in sent] == [ris, gone]
    deliver_due(ports, sent.append)
    assert [one.id for one in sent] == [ris, gone, ehr]


def test_a_worker_that_is_told_to_stop_takes_nothing_more(ports: Ports) -> None:
    _owe(ports)
    assert deliver_due(ports, lambda _: None, is_stopping=lambda: True) == 0


def test_several_are_on_their_way_at_once(ports: Ports) -> None:
    together = threading.Barrier(3, timeout=10)
    with ports.database.write() as tx:
        for key in ("1", "2", "3", "4", "5", "6"):
            out = Outgoing(destination="ehr", kind="ImagingStudy", key=key, order_id=None, payload=b"{}")
            outbox.add(tx, out, ports.clock())

    def meet(_: Delivery) -> None:
        together.wait()

    assert deliver_due(ports, meet, to="ehr", at_once=3) == 6


def test_a_fault_of_ours_is_tried_again_later_and_keeps_no_other_from_its_end(
    ports: Ports, clock: Any
) -> None:
    faulty = _status(ports)
    healthy = [_status(ports, key) for key in ("order:2", "order:3")]
    sent: list[DeliveryId] = []

    def send(delivery: Delivery) -> None:
        sent.append(delivery.id)
        if delivery.id == faulty and sent.count(faulty) == 1:
            raise ZeroDivisionError

    assert deliver_due(ports, send, at_once=3) == 3
    assert [_show(ports, one).state for one in healthy] == [DeliveryState.DELIVERED] * 2
    left = _show(ports, faulty)
    assert (left.state, left.error) == (
        DeliveryState.PENDING,
        "the gateway failed at sending it; its log says why",
    )
    assert left.next_at > ports.clock()
    clock.advance(seconds=10)
    assert deliver_due(ports, send, at_once=3) == 1
    assert _show(ports, faulty).state is DeliveryState.DELIVERED
    assert sorted(sent) == [faulty, faulty, *healthy]
