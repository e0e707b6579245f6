"""A held or failed message tried again, tried with an edited copy, put away."""

from collections.abc import Callable

import pytest

from gateway.flow.ports import Ports
from gateway.flow.receive import receive
from gateway.flow.release import send
from gateway.flow.replay import Rework, discard, replay, retry_edited
from gateway.model.errors import Conflict, Invalid, NotFound
from gateway.model.ids import MessageId
from gateway.model.lifecycle import State
from gateway.model.message import Inbound, Interpretation, Keys, Message, MessageState, Protocol
from gateway.model.order import Action, Fault, Mapped, ModuleRef, Order, OrderRequest, Severity
from gateway.store import audit, inbox, orders, search
from gateway.store.search import Wanted

HOLD = Fault(
    severity=Severity.HOLD, keyword="AccessionNumber", place=None, code="101", text="absent", at="m.yaml:3"
)

Interpret = Callable[[Message | Inbound], Interpretation]


def _mapping(version: str, *fields: str) -> Interpret:
    """A mapping that reads "MRN1,A1,F1 MRN2,A2,F2": an order a word, its values in the order of `fields`."""

    def interpret(message: Message | Inbound) -> Interpretation:
        module = ModuleRef(name="orders", version=version)
        keys = Keys(control_id="M1", sender="RIS|H", message_type="ORM^O01")
        requests = tuple(_request(word, fields, module) for word in message.raw.decode().split())
        if not requests:
            return Interpretation(keys=keys, mapped=None, failure="unreadable", failure_code="100")
        return Interpretation(keys=keys, mapped=Mapped(requests=requests, skipped=(), module=module))

    return interpret


def _request(word: str, fields: tuple[str, ...], module: ModuleRef) -> OrderRequest:
    found = dict(zip(fields, word.split(","), strict=False))
    values = {keyword: value for keyword, value in found.items() if value}
    faults = () if "AccessionNumber" in values else (HOLD,)
    return OrderRequest(
        action=Action.SCHEDULE,
        attributes={"PatientName": "Doe^Jane", **values},
        provenance=(),
        faults=faults,
        module=module,
    )


BLIND = _mapping("1", "PatientID")
SEEING = _mapping("2", "PatientID", "AccessionNumber", "FillerOrderNumberImagingServiceRequest")


def _rework(interpret: Interpret) -> Rework:
    return Rework(
        interpret=interpret,
        text=lambda message: message.raw.decode(),
        encode=lambda message, text: text.encode(),
    )


def _receive(ports: Ports, raw: bytes, interpret: Interpret = BLIND) -> MessageId:
    inbound = Inbound(protocol=Protocol.HL7V2, source="ris", peer="10.0.0.1", raw=raw)
    answered = receive(ports, inbound, lambda _: interpret(inbound), lambda receipt: receipt.state.encode())
    return answered.message_id


def _message(ports: Ports, message_id: MessageId) -> Message:
    with ports.database.read() as tx:
        return inbox.show(tx, message_id)


def _orders(ports: Ports) -> tuple[Order, ...]:
    with ports.database.read() as tx:
        return tuple(reversed(orders.newest(tx)))


def _history(ports: Ports, message_id: MessageId) -> list[tuple[str, str, str]]:
    with ports.database.read() as tx:
        trail = audit.of_subject(tx, f"message:{message_id}")
    return [(event.actor, event.action, event.detail) for event in trail]


def test_a_held_message_is_mapped_anew_and_its_order_is_changed_not_doubled(ports: Ports) -> None:
    held = _receive(ports, b"MRN1,A1,F1")
    (before,) = _orders(ports)
    assert (before.state, before.accession) == (State.HELD, "")
    verdict = replay(ports, held, _rework(SEEING), actor="user:anna")
    (after,) = _orders(ports)
    assert verdict.state is MessageState.MAPPED
    assert (after.id, after.state, after.accession) == (before.id, State.SCHEDULED, "A1")
    assert after.study_uid == before.study_uid
    kept = _message(ports, held)
    assert (kept.state, kept.reason, kept.module, kept.answer) == ("mapped", "", "orders@2", b"held")
    assert _history(ports, held) == [
        ("user:anna", "message.replay", "held, by orders@1: m.yaml:3: absent -> mapped")
    ]


def test_a_message_is_found_by_what_the_later_mapping_read(ports: Ports) -> None:
    held = _receive(ports, b"MRN1,A1,F1 MRN1,A2,F2")
    replay(ports, held, _rework(SEEING), actor="cli")
    with ports.database.read() as tx:
        for term in ("A1", "A2", "F2", "doe"):
            assert [message.id for message in search.find(tx, Wanted(term=term))] == [held]


def test_trying_again_twice_changes_nothing_more(ports: Ports) -> None:
    held = _receive(ports, b"MRN1,A1,F1 MRN1,A2,F2")
    assert len(_orders(ports)) == 2
    for _ in range(2):
        assert replay(ports, held, _rework(SEEING), actor="cli").state is MessageState.MAPPED
        assert [(order.accession, order.state) for order in _orders(ports)] == [
            ("A1", State.SCHEDULED),
            ("A2", State.SCHEDULED),
        ]


def test_numbers_that_a_changed_mapping_reads_elsewhere_still_lead_to_the_same_order(ports: Ports) -> None:
    swapped = _mapping("1", "PatientID", "FillerOrderNumberImagingServiceRequest", "AccessionNumber")
    wrong = _receive(ports, b"MRN1,A1,F1", swapped)
    assert [(o.accession, o.filler) for o in _orders(ports)] == [("F1", "A1")]
    replay(ports, wrong, _rework(SEEING), actor="cli")
    assert [(o.accession, o.filler, o.state) for o in _orders(ports)] == [("A1", "F1", State.SCHEDULED)]


def test_an_order_that_nothing_in_the_message_is_for_any_longer_is_a_doubt(ports: Ports) -> None:
    made = _receive(ports, b"MRN1,A1,F1 MRN1,A2,F2", SEEING)
    first_alone = _mapping("3", "PatientID", "AccessionNumber", "FillerOrderNumberImagingServiceRequest")

    def only_first(message: Message | Inbound) -> Interpretation:
        inbound = Inbound(protocol=Protocol.HL7V2, source="ris", peer="", raw=message.raw.split()[0])
        return first_alone(inbound)

    verdict = replay(ports, made, _rework(only_first), actor="cli")
    assert verdict.state is MessageState.HELD
    assert "nothing in it is for that order now" in verdict.reason
    assert len(_orders(ports)) == 2


def test_a_sent_order_stays_sent_when_its_message_is_tried_again(ports: Ports) -> None:
    made = _receive(ports, b"MRN1,A1,F1", SEEING)
    send(ports, _orders(ports)[0].id, actor="user:anna", station="US1")
    assert replay(ports, made, _rework(SEEING), actor="cli").state is MessageState.MAPPED
    assert [order.state for order in _orders(ports)] == [State.SENT]


def test_a_failed_message_is_taken_when_it_can_be_read_at_last(ports: Ports) -> None:
    failed = _receive(ports, b" ")
    assert _message(ports, failed).state is MessageState.FAILED

    def mended(message: Message | Inbound) -> Interpretation:
        return SEEING(Inbound(protocol=Protocol.HL7V2, source="ris", peer="", raw=b"MRN1,A1,F1"))

    replay(ports, failed, _rework(mended), actor="cli")
    assert [order.accession for order in _orders(ports)] == ["A1"]


def test_an_edited_copy_is_mapped_and_the_original_kept_byte_for_byte(ports: Ports) -> None:
    original = _receive(ports, b"MRN1,,F1", SEEING)
    (before,) = _orders(ports)
    copy = retry_edited(
        ports, original, "MRN1,A1,F1", _rework(SEEING), reason="asked the ward", actor="user:anna"
    )
    old, new = _message(ports, original), _message(ports, copy)
    assert (old.raw, old.state, old.answer) == (b"MRN1,,F1", MessageState.SUPERSEDED, b"held")
    assert old.reason == f"edited as message {copy}: asked the ward"
    assert (new.raw, new.state, new.edited_from) == (b"MRN1,A1,F1", MessageState.MAPPED, original)
    assert (new.protocol, new.source, new.answer) == (old.protocol, old.source, b"")
    assert [(o.id, o.accession, o.state) for o in _orders(ports)] == [(before.id, "A1", State.SCHEDULED)]
    (actor, action, detail) = _history(ports, original)[0]
    assert (actor, action) == ("user:anna", "message.edit")
    assert detail == f"message:{copy}: asked the ward; held, by orders@2: m.yaml:3: absent"
    assert _history(ports, copy) == [
        ("user:anna", "message.edited", f"message:{original}: asked the ward -> mapped")
    ]
    with ports.database.read() as tx:
        assert inbox.copies(tx, original) == (copy,)


def test_an_edited_copy_can_give_its_own_order_another_patient(ports: Ports) -> None:
    original = _receive(ports, b"MRN1,,F1", SEEING)
    retry_edited(ports, original, "MRN2,A1,F1", _rework(SEEING), reason="typed wrongly", actor="cli")
    assert [(o.patient.patient_id, o.state) for o in _orders(ports)] == [("MRN2", State.SCHEDULED)]


def test_what_the_sender_itself_corrects_is_a_message_and_is_answered_though_a_copy_says_the_same(
    ports: Ports,
) -> None:
    original = _receive(ports, b"MRN1,,F1", SEEING)
    copy = retry_edited(ports, original, "MRN1,A1,F1", _rework(SEEING), reason="guessed", actor="cli")
    corrected = _receive(ports, b"MRN1,A1,F1", SEEING)
    assert corrected not in (original, copy)
    kept = _message(ports, corrected)
    assert (kept.state, kept.answer, kept.edited_from) == (MessageState.MAPPED, b"mapped", None)
    assert [(o.accession, o.state, o.message_id) for o in _orders(ports)] == [
        ("A1", State.SCHEDULED, corrected)
    ]
    assert _receive(ports, b"MRN1,,F1", SEEING) == original
    assert _receive(ports, b"MRN1,A1,F1", SEEING) == corrected


def test_a_copy_is_edited_again_without_doubling_the_order(ports: Ports) -> None:
    first = _receive(ports, b"MRN1", SEEING)
    second = retry_edited(ports, first, "MRN2", _rework(SEEING), reason="one", actor="cli")
    assert _message(ports, second).state is MessageState.HELD
    retry_edited(ports, second, "MRN2,A1,F1", _rework(SEEING), reason="two", actor="cli")
    assert [(o.patient.patient_id, o.accession) for o in _orders(ports)] == [("MRN2", "A1")]


def test_a_message_is_put_away_with_a_reason_and_its_orders_stay(ports: Ports) -> None:
    held = _receive(ports, b"MRN1,A1,F1")
    discard(ports, held, reason=" a  test of the sender ", actor="user:anna")
    kept = _message(ports, held)
    assert (kept.state, kept.raw) == (MessageState.DISCARDED, b"MRN1,A1,F1")
    assert kept.reason == "a test of the sender (was held, by orders@1: m.yaml:3: absent)"
    assert [order.state for order in _orders(ports)] == [State.HELD]
    assert [entry[:2] for entry in _history(ports, held)] == [("user:anna", "message.discard")]
    assert replay(ports, held, _rework(SEEING), actor="cli").state is MessageState.MAPPED


def test_what_cannot_be_done_is_refused_and_changes_nothing(ports: Ports) -> None:
    mapped = _receive(ports, b"MRN1,A1,F1", SEEING)
    with pytest.raises(Conflict):
        discard(ports, mapped, reason="why not", actor="cli")
    held = _receive(ports, b"MRN1")
    for reason in ("", "  "):
        with pytest.raises(Invalid, match="reason"):
            discard(ports, held, reason=reason, actor="cli")
    with pytest.raises(Invalid, match="nothing was changed"):
        retry_edited(ports, held, "MRN1", _rework(SEEING), reason="why", actor="cli")
    retry_edited(ports, held, "MRN1,A2,F2", _rework(SEEING), reason="why", actor="cli")
    for act in (
        lambda: replay(ports, held, _rework(SEEING), actor="cli"),
        lambda: retry_edited(ports, held, "MRN1,A3,F3", _rework(SEEING), reason="why", actor="cli"),
        lambda: discard(ports, held, reason="why", actor="cli"),
    ):
        with pytest.raises(Conflict):
            act()
    with pytest.raises(NotFound):
        replay(ports, MessageId(99), _rework(SEEING), actor="cli")
    assert len(_orders(ports)) == 2
