from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.flow.ports import Ports, Release
from gateway.flow.receive import REUSED, Answered, receive
from gateway.flow.release import send
from gateway.model.lifecycle import State
from gateway.model.message import Inbound, Interpretation, Keys, MessageState, Protocol, Receipt
from gateway.model.order import Action, Fault, Mapped, ModuleRef, Order, OrderRequest, Severity, Value
from gateway.model.worklist import Range, WorklistQuery
from gateway.store import audit, inbox, orders, worklist

MODULE = ModuleRef(name="orders-hl7", version="abc")
COMPLETE: dict[str, Value] = {
    "PatientID": "MRN1",
    "PatientName": "Doe^Jane",
    "PatientBirthDate": "19800214",
    "PatientSex": "F",
    "AccessionNumber": "A1",
    "FillerOrderNumberImagingServiceRequest": "F1",
    "PlacerOrderNumberImagingServiceRequest": "P1",
    "Modality": "US",
    "RequestedProcedureDescription": "Abdomen",
    "ScheduledProcedureStepStartDateTime": "2026-11-23T10:30:00+00:00",
}
HOLD = Fault(
    severity=Severity.HOLD, keyword="AccessionNumber", place=None, code="101", text="absent", at="m.yaml:3"
)


def _request(action: Action = Action.SCHEDULE, *faults: Fault, **changed: Value | None) -> OrderRequest:
    values = {k: v for k, v in {**COMPLETE, **changed}.items() if v is not None}
    return OrderRequest(action=action, attributes=values, provenance=(), faults=faults, module=MODULE)


def _receive(
    ports: Ports, *requests: OrderRequest, control_id: str = "M1", raw: bytes | None = None
) -> Answered:
    mapped = Mapped(requests=requests, skipped=(), module=MODULE)
    keys = Keys(control_id=control_id, sender="RIS|H", message_type="ORM^O01")
    inbound = Inbound(protocol=Protocol.HL7V2, source="ris", peer="10.0.0.1", raw=raw or control_id.encode())
    return receive(ports, inbound, lambda _: Interpretation(keys=keys, mapped=mapped), _answer)


def _answer(receipt: Receipt) -> bytes:
    return f"{receipt.state} {receipt.message_id}".encode()


def _orders(ports: Ports) -> tuple[Order, ...]:
    with ports.database.read() as tx:
        return tuple(reversed(orders.newest(tx)))


def test_an_order_is_stored_with_its_message_and_the_answer_given(ports: Ports) -> None:
    answered = _receive(ports, _request())
    (order,) = _orders(ports)
    assert (order.state, order.accession, order.patient.name) == (State.SCHEDULED, "A1", "Doe^Jane")
    assert order.start is not None
    assert (order.start.isoformat(), order.has_time) == ("2026-11-23T10:30:00+00:00", True)
    with ports.database.read() as tx:
        message = inbox.show(tx, answered.message_id)
        trail = audit.of_subject(tx, f"order:{order.id}")
    assert (message.raw, message.answer, message.state) == (b"M1", answered.answer, MessageState.MAPPED)
    assert (message.accession, message.filler) == ("A1", "F1")
    assert [(event.actor, event.action, event.detail) for event in trail] == [
        ("hl7v2:ris", "order.scheduled", f"message:{message.id}")
    ]


def test_the_same_bytes_again_get_the_same_answer_and_change_nothing(ports: Ports) -> None:
    first = _receive(ports, _request())
    again = _receive(ports, _request())
    assert (again.answer, again.is_repeat) == (first.answer, True)
    assert len(_orders(ports)) == 1


def test_the_same_control_id_with_other_bytes_is_another_message(ports: Ports) -> None:
    _receive(ports, _request())
    answered = _receive(ports, _request(RequestedProcedureDescription="Liver"), raw=b"other")
    assert not answered.is_repeat
    assert [order.description for order in _orders(ports)] == ["Liver"]
    with ports.database.read() as tx:
        assert inbox.show(tx, answered.message_id).warnings == (REUSED,)
    again = _receive(ports, _request(RequestedProcedureDescription="Liver"), raw=b"other")
    assert (again.is_repeat, again.answer) == (True, answered.answer)


def test_a_message_that_failed_is_tried_again_when_it_is_sent_again(ports: Ports) -> None:
    reject = replace(HOLD, severity=Severity.REJECT)
    assert _receive(ports, _request(Action.SCHEDULE, reject)).state is MessageState.FAILED
    assert _orders(ports) == ()
    assert _receive(ports, _request()).state is MessageState.MAPPED
    assert len(_orders(ports)) == 1


def test_a_message_that_was_taken_at_last_is_not_taken_once_more(ports: Ports) -> None:
    reject = replace(HOLD, severity=Severity.REJECT)
    _receive(ports, _request(Action.SCHEDULE, reject))
    taken = _receive(ports, _request())
    _receive(ports, _request(Action.UPDATE, RequestedProcedureDescription="Liver"), control_id="M2")
    again = _receive(ports, _request())
    assert (again.message_id, again.answer, again.is_repeat) == (taken.message_id, taken.answer, True)
    assert [order.description for order in _orders(ports)] == ["Liver"]


def test_a_message_no_module_is_meant_for_is_kept_and_refused(ports: Ports) -> None:
    keys = Keys(control_id="M9", sender="X", message_type="ORU^R01")
    inbound = Inbound(protocol=Protocol.HL7V2, source="ris", peer="", raw=b"x")
    nothing = Mapped(requests=(), skipped=(), module=None)
    answered = receive(ports, inbound, lambda _: Interpretation(keys=keys, mapped=nothing), _answer)
    assert answered.state is MessageState.FAILED
    with ports.database.read() as tx:
        assert "no mapping module" in inbox.show(tx, answered.message_id).reason


def test_an_update_keeps_what_it_does_not_mention_and_deletes_what_it_empties(ports: Ports) -> None:
    _receive(ports, _request())
    update = _request(
        Action.UPDATE, PatientBirthDate=None, PatientSex="", RequestedProcedureDescription="Liver"
    )
    _receive(ports, update, control_id="M2")
    (order,) = _orders(ports)
    assert (order.patient.birth_date, order.patient.sex, order.description) == ("19800214", "", "Liver")


def test_the_study_uid_is_made_once_and_stays(ports: Ports) -> None:
    _receive(ports, _request())
    (before,) = _orders(ports)
    _receive(ports, _request(Action.UPDATE), control_id="M2")
    assert [order.study_uid for order in _orders(ports)] == [before.study_uid]
    assert before.study_uid.startswith("2.25.")


def test_the_senders_own_study_uid_is_used(ports: Ports) -> None:
    _receive(ports, _request(StudyInstanceUID="1.2.3.4"))
    assert [order.study_uid for order in _orders(ports)] == ["1.2.3.4"]


def test_two_steps_of_one_procedure_are_two_entries_of_one_study(ports: Ports) -> None:
    one, two = (_request(ScheduledProcedureStepID=f"S{n}", RequestedProcedureID="RP1") for n in (1, 2))
    _receive(ports, one, two)
    first, second = _orders(ports)
    assert first.study_uid == second.study_uid
    _receive(ports, replace(two, action=Action.CANCEL), control_id="M2")
    assert [order.state for order in _orders(ports)] == [State.SCHEDULED, State.CANCELLED]


def test_two_orders_of_one_message_without_step_ids_stay_two(ports: Ports) -> None:
    one = _request()
    two = _request(FillerOrderNumberImagingServiceRequest="F2", PlacerOrderNumberImagingServiceRequest="P2")
    _receive(ports, one, two)
    _receive(ports, one, two, control_id="M2")
    assert len(_orders(ports)) == 2


def test_a_doubtful_order_is_held_with_its_reason_until_the_sender_mends_it(ports: Ports) -> None:
    answered = _receive(ports, _request(Action.SCHEDULE, HOLD, AccessionNumber=None))
    (order,) = _orders(ports)
    assert (answered.state, order.state) == (MessageState.HELD, State.HELD)
    with ports.database.read() as tx:
        assert inbox.show(tx, answered.message_id).reason == "m.yaml:3: absent"
    _receive(ports, _request(Action.UPDATE), control_id="M2")
    assert [(o.state, o.accession) for o in _orders(ports)] == [(State.SCHEDULED, "A1")]


def test_a_change_that_leaves_a_required_value_out_is_no_doubt_when_the_order_has_it(ports: Ports) -> None:
    _receive(ports, _request())
    answered = _receive(ports, _request(Action.UPDATE, HOLD, AccessionNumber=None), control_id="M2")
    assert answered.state is MessageState.MAPPED
    assert [(o.state, o.accession) for o in _orders(ports)] == [(State.SCHEDULED, "A1")]


def test_a_change_that_brings_a_doubt_takes_a_sent_order_off_the_machine(ports: Ports) -> None:
    _receive(ports, _request())
    send(ports, _orders(ports)[0].id, actor="user:anna", station="US1")
    wrong_date = replace(HOLD, keyword="ScheduledProcedureStepStartDateTime", code="102")
    _receive(ports, _request(Action.UPDATE, wrong_date), control_id="M2")
    assert [order.state for order in _orders(ports)] == [State.HELD]


def test_a_change_leaves_a_sent_order_without_a_day_on_the_machines_list_of_today(ports: Ports) -> None:
    _receive(ports, _request(ScheduledProcedureStepStartDateTime=None))
    send(ports, _orders(ports)[0].id, actor="user:anna", station="US1")
    _receive(ports, _request(Action.UPDATE, ScheduledProcedureStepStartDateTime=None), control_id="M2")
    today = WorklistQuery(date=Range(first="20261123", last="20261123"))
    with ports.database.read() as tx:
        assert [order.accession for order in worklist.find(tx, today, ports.listed)] == ["A1"]


def test_an_order_never_changes_its_patient_by_message(ports: Ports) -> None:
    _receive(ports, _request())
    answered = _receive(
        ports, _request(Action.UPDATE, PatientID="MRN2", PatientName="Roe^Max"), control_id="M2"
    )
    (order,) = _orders(ports)
    assert (order.patient.patient_id, order.patient.name, order.state) == ("MRN1", "Doe^Jane", State.HELD)
    assert answered.state is MessageState.HELD


def test_new_demographics_reach_every_order_of_the_patient(ports: Ports) -> None:
    _receive(ports, _request())
    other = _request(
        AccessionNumber="A2", FillerOrderNumberImagingServiceRequest="F2",
        PlacerOrderNumberImagingServiceRequest="P2", PatientName="Smith^Jane",
    )  # fmt: skip
    _receive(ports, other, control_id="M2")
    assert [order.patient.name for order in _orders(ports)] == ["Smith^Jane", "Smith^Jane"]


def test_a_cancel_ends_the_order_and_a_second_one_is_no_doubt(ports: Ports) -> None:
    _receive(ports, _request())
    assert _receive(ports, _request(Action.CANCEL), control_id="M2").state is MessageState.MAPPED
    assert _receive(ports, _request(Action.CANCEL), control_id="M3").state is MessageState.MAPPED
    assert [order.state for order in _orders(ports)] == [State.CANCELLED]


def test_a_cancel_that_overtakes_its_order_keeps_it_off_the_machine(ports: Ports) -> None:
    assert _receive(ports, _request(Action.CANCEL)).state is MessageState.HELD
    assert _receive(ports, _request(), control_id="M2").state is MessageState.HELD
    assert [order.state for order in _orders(ports)] == [State.CANCELLED]


def test_a_cancel_of_a_running_exam_is_a_doubt_and_changes_nothing(
    ports: Ports, order_factory: Callable[..., Order]
) -> None:
    order_factory(accession="A1", state=State.STARTED)
    numbers = dict.fromkeys(
        ("FillerOrderNumberImagingServiceRequest", "PlacerOrderNumberImagingServiceRequest")
    )
    answered = _receive(ports, _request(Action.CANCEL, **numbers))
    assert answered.state is MessageState.HELD
    assert [order.state for order in _orders(ports)] == [State.STARTED]


def test_an_order_goes_to_its_only_machine_at_once_where_the_site_wants_that(ports: Ports) -> None:
    at_once = replace(ports, release=Release.ON_RECEIPT, stations=ports.stations[:1])
    _receive(at_once, _request())
    assert [(order.state, order.station) for order in _orders(ports)] == [(State.SENT, "US1")]


def test_an_order_that_fits_two_machines_waits_for_a_person_all_the_same(ports: Ports) -> None:
    _receive(replace(ports, release=Release.ON_RECEIPT), _request())
    assert [order.state for order in _orders(ports)] == [State.SCHEDULED]


@pytest.mark.parametrize(
    ("action", "state"), [(Action.START, State.STARTED), (Action.COMPLETE, State.COMPLETED)]
)
def test_the_senders_status_moves_the_order(ports: Ports, action: Action, state: State) -> None:
    _receive(ports, _request())
    _receive(ports, _request(action), control_id="M2")
    assert [order.state for order in _orders(ports)] == [state]


def test_what_the_sender_only_mentions_is_skipped(ports: Ports) -> None:
    assert _receive(ports, _request(Action.IGNORE)).state is MessageState.SKIPPED
    assert _orders(ports) == ()
