"""Messages that are answered before they are mapped."""

from dataclasses import replace

import pytest

from gateway.flow.ports import Ports
from gateway.flow.receive import Answered, receive
from gateway.flow.settle import settle_received
from gateway.model.errors import Unavailable
from gateway.model.ids import MessageId
from gateway.model.message import (
    Inbound,
    Interpretation,
    Keys,
    Message,
    MessageState,
    Protocol,
    Receipt,
)
from gateway.model.order import Action, Mapped, ModuleRef, Order, OrderRequest
from gateway.store import inbox, orders

MODULE = ModuleRef(name="orders-hl7", version="abc")


def _keys(raw: bytes) -> Interpretation:
    return Interpretation(keys=Keys(control_id=raw.decode(), sender="RIS|H"), mapped=None)


def _map(message: Message) -> Interpretation:
    """Messages read "NW A1", "CA A1": an order control and an accession number."""
    control, _, accession = message.raw.decode().partition(" ")
    request = OrderRequest(
        action=Action.CANCEL if control == "CA" else Action.SCHEDULE,
        attributes={"AccessionNumber": accession, "PatientID": "7", "PatientName": "Doe^Jane"},
        provenance=(),
        faults=(),
        module=MODULE,
    )
    return Interpretation(
        keys=message.keys, mapped=Mapped(requests=(request,), skipped=(), module=MODULE), warnings=("odd",)
    )


def _accept(ports: Ports, raw: bytes, source: str = "ris") -> Answered:
    inbound = Inbound(protocol=Protocol.HL7V2, source=source, peer="10.0.0.1", raw=raw)
    return receive(ports, inbound, _keys, _answer, is_deferred=True)


def _answer(receipt: Receipt) -> bytes:
    return f"{receipt.state} {receipt.message_id}".encode()


def _message(ports: Ports, message_id: MessageId) -> Message:
    with ports.database.read() as tx:
        return inbox.show(tx, message_id)


def _orders(ports: Ports) -> tuple[Order, ...]:
    with ports.database.read() as tx:
        return tuple(reversed(orders.newest(tx)))


def test_a_message_is_answered_when_it_is_kept_and_mapped_afterwards(ports: Ports) -> None:
    answered = _accept(ports, b"NW A1")
    assert (answered.state, answered.answer) == (MessageState.RECEIVED, b"received 1")
    assert _orders(ports) == ()
    assert settle_received(ports, _map) == 1
    kept = _message(ports, answered.message_id)
    assert (kept.state, kept.answer, kept.module) == (MessageState.MAPPED, b"received 1", "orders-hl7@abc")
    assert (kept.accession, kept.warnings) == ("A1", ("odd",))
    assert [order.accession for order in _orders(ports)] == ["A1"]
    assert settle_received(ports, _map) == 0


def test_the_same_bytes_again_are_one_message_whether_it_is_mapped_yet_or_not(ports: Ports) -> None:
    first = _accept(ports, b"NW A1")
    assert _accept(ports, b"NW A1") == replace(first, is_repeat=True)
    settle_received(ports, _map)
    again = _accept(ports, b"NW A1")
    assert (again.is_repeat, again.answer) == (True, first.answer)
    assert settle_received(ports, _map) == 0
    assert len(_orders(ports)) == 1


def test_a_message_that_cannot_be_read_is_settled_at_once(ports: Ports) -> None:
    def unreadable(_: bytes) -> Interpretation:
        return Interpretation(keys=Keys(), mapped=None, failure="MSH: absent", failure_code="100")

    inbound = Inbound(protocol=Protocol.HL7V2, source="ris", peer="", raw=b"x")
    answered = receive(ports, inbound, unreadable, _answer, is_deferred=True)
    assert answered.state is MessageState.FAILED
    assert _message(ports, answered.message_id).reason == "MSH: absent"


def test_messages_are_mapped_in_the_order_they_came(ports: Ports) -> None:
    for raw in (b"NW A1", b"NW A2", b"CA A1"):
        _accept(ports, raw)
    seen: list[bytes] = []

    def note(message: Message) -> Interpretation:
        seen.append(message.raw)
        return _map(message)

    assert settle_received(ports, note) == 3
    assert seen == [b"NW A1", b"NW A2", b"CA A1"]
    assert [(o.accession, o.state) for o in _orders(ports)] == [("A1", "cancelled"), ("A2", "scheduled")]


def test_a_later_message_waits_while_an_earlier_one_of_its_source_cannot_be_mapped(ports: Ports) -> None:
    first, second = _accept(ports, b"NW A1"), _accept(ports, b"CA A1")

    def away(message: Message) -> Interpretation:
        if message.id == first.message_id:
            raise Unavailable("the database does not answer")
        return _map(message)

    with pytest.raises(Unavailable):
        settle_received(ports, away)
    assert _message(ports, second.message_id).state is MessageState.RECEIVED
    assert settle_received(ports, _map) == 2
    assert [order.state for order in _orders(ports)] == ["cancelled"]


def test_a_message_we_fail_at_holds_up_nobody(ports: Ports) -> None:
    bad, good = _accept(ports, b"NW A1"), _accept(ports, b"NW A2")

    def wrong(message: Message) -> Interpretation:
        if message.id == bad.message_id:
            raise RuntimeError("a fault of our own")
        return _map(message)

    assert settle_received(ports, wrong) == 2
    assert _message(ports, bad.message_id).state is MessageState.FAILED
    assert _message(ports, good.message_id).state is MessageState.MAPPED


def test_what_another_process_settled_meanwhile_is_left_alone(ports: Ports) -> None:
    _accept(ports, b"NW A1")
    asked = 0

    def late(message: Message) -> Interpretation:
        nonlocal asked
        asked += 1
        if asked == 1:
            assert settle_received(ports, _map) == 1
        return _map(message)

    assert settle_received(ports, late) == 0
    assert [order.version for order in _orders(ports)] == [1]
