"""Appointments, arrivals and patient messages, through `receive`."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.flow.ports import Ports, Release
from gateway.flow.receive import Answered, receive
from gateway.model.lifecycle import State
from gateway.model.message import Inbound, Interpretation, Keys, MessageState, Protocol
from gateway.model.order import Action, Fault, Mapped, ModuleRef, Order, OrderRequest, Severity, Value
from gateway.store import audit, inbox, orders

MODULE = ModuleRef(name="m", version="1")
START = "ScheduledProcedureStepStartDateTime"
PLACER = "PlacerOrderNumberImagingServiceRequest"
LATER = "2026-11-24T08:00:00+00:00"
HOLD = Fault(severity=Severity.HOLD, keyword="Modality", place=None, code="101", text="absent", at="m:1")

OrderFactory = Callable[..., Order]


def _request(action: Action, *, service_request: str = "", **values: Value) -> OrderRequest:
    return OrderRequest(
        action=action, attributes=values, provenance=(), faults=(), module=MODULE, service_request=service_request
    )  # fmt: skip


def _receive(ports: Ports, *requests: OrderRequest, control_id: str = "S1") -> Answered:
    mapped = Mapped(requests=requests, skipped=(), module=MODULE)
    inbound = Inbound(protocol=Protocol.HL7V2, source="ris", peer="", raw=control_id.encode())
    interpretation = Interpretation(keys=Keys(control_id=control_id), mapped=mapped)
    return receive(ports, inbound, lambda _: interpretation, lambda receipt: str(receipt.state).encode())


def _orders(ports: Ports) -> tuple[Order, ...]:
    with ports.database.read() as tx:
        return tuple(reversed(orders.newest(tx)))


def _reason(ports: Ports, answered: Answered) -> str:
    with ports.database.read() as tx:
        return inbox.show(tx, answered.message_id).reason


def _start(ports: Ports) -> list[str]:
    return [order.start.isoformat() if order.start else "" for order in _orders(ports)]


def test_an_appointment_moves_the_order_and_leaves_the_rest(
    ports: Ports, order_factory: OrderFactory
) -> None:
    order_factory(accession="A1", state=State.SCHEDULED)
    answered = _receive(ports, _request(Action.RESCHEDULE, AccessionNumber="A1", **{START: LATER}))
    (order,) = _orders(ports)
    assert answered.state is MessageState.MAPPED
    assert (order.state, order.modality, order.patient.name) == (State.SCHEDULED, "US", "Doe^Jane")
    assert _start(ports) == [LATER]


@pytest.mark.parametrize("action", [Action.RESCHEDULE, Action.UNSCHEDULE, Action.ARRIVE])
def test_an_appointment_for_an_order_that_is_not_here_is_held_and_makes_none(
    ports: Ports, action: Action
) -> None:
    answered = _receive(ports, _request(action, AccessionNumber="A9", PatientID="MRN1", **{START: LATER}))
    assert answered.state is MessageState.HELD
    assert "not known here" in _reason(ports, answered)
    assert _orders(ports) == ()


def test_an_appointment_mends_no_doubt_that_it_says_nothing_about(
    ports: Ports, order_factory: OrderFactory
) -> None:
    held = order_factory(accession="A1", state=State.HELD)
    with ports.database.write() as tx:
        orders.save(tx, replace(held, faults=(HOLD,)))
    _receive(ports, _request(Action.RESCHEDULE, AccessionNumber="A1", **{START: LATER}))
    assert [(order.state, order.faults) for order in _orders(ports)] == [(State.HELD, (HOLD,))]


def test_an_appointment_frees_no_order_that_its_sender_holds(
    ports: Ports, order_factory: OrderFactory
) -> None:
    order_factory(accession="A1", state=State.HELD)
    _receive(ports, _request(Action.RESCHEDULE, AccessionNumber="A1", **{START: LATER}))
    assert [order.state for order in _orders(ports)] == [State.HELD]


def test_of_two_services_each_is_for_the_next_step_and_one_alone_for_all(
    ports: Ports, order_factory: OrderFactory
) -> None:
    for step in ("S1", "S2"):
        order_factory(accession="A1", state=State.SCHEDULED, ScheduledProcedureStepID=step)
    one, two = (
        _request(Action.RESCHEDULE, AccessionNumber="A1", **{START: f"2026-11-24T0{hour}:00:00+00:00"})
        for hour in (8, 9)
    )
    _receive(ports, one, two)
    assert _start(ports) == ["2026-11-24T08:00:00+00:00", "2026-11-24T09:00:00+00:00"]
    _receive(ports, one, control_id="S2")
    assert _start(ports) == ["2026-11-24T08:00:00+00:00"] * 2


def test_two_services_of_one_order_move_it_once(ports: Ports, order_factory: OrderFactory) -> None:
    order_factory(accession="A1", state=State.SCHEDULED)
    one, two = (
        _request(Action.RESCHEDULE, AccessionNumber="A1", **{START: at}) for at in (LATER, "2026-11-25")
    )
    assert _receive(ports, one, two).state is MessageState.MAPPED
    assert _start(ports) == [LATER]


def test_an_appointment_taken_back_leaves_the_order_without_a_time_and_off_the_machine(
    ports: Ports, order_factory: OrderFactory
) -> None:
    order_factory(accession="A1", state=State.SENT)
    answered = _receive(ports, _request(Action.UNSCHEDULE, AccessionNumber="A1"))
    (order,) = _orders(ports)
    assert (answered.state, order.state, order.start) == (MessageState.MAPPED, State.SCHEDULED, None)
    assert START not in order.attributes
    with ports.database.read() as tx:
        actions = [event.action for event in audit.of_subject(tx, f"order:{order.id}")]
    assert {"order.recall", "order.unschedule"} <= set(actions)


@pytest.mark.parametrize(
    ("state", "fate"),
    [(State.STARTED, MessageState.HELD), (State.COMPLETED, MessageState.HELD), (State.CANCELLED, MessageState.MAPPED)],
)  # fmt: skip
def test_an_appointment_taken_back_too_late_changes_nothing(
    ports: Ports, order_factory: OrderFactory, state: State, fate: MessageState
) -> None:
    before = order_factory(accession="A1", state=state)
    assert _receive(ports, _request(Action.UNSCHEDULE, AccessionNumber="A1")).state is fate
    assert _orders(ports) == (before,)


def test_an_order_booked_again_goes_to_its_machine_where_orders_go_at_once(
    ports: Ports, order_factory: OrderFactory
) -> None:
    at_once = replace(ports, release=Release.ON_RECEIPT)
    order_factory(accession="A1", state=State.SENT)
    _receive(at_once, _request(Action.UNSCHEDULE, AccessionNumber="A1"))
    assert [order.state for order in _orders(ports)] == [State.SCHEDULED]
    _receive(at_once, _request(Action.RESCHEDULE, AccessionNumber="A1", **{START: LATER}), control_id="S2")
    assert [order.state for order in _orders(ports)] == [State.SENT]


def test_an_arrival_is_noted_once_and_changes_no_state(ports: Ports, order_factory: OrderFactory) -> None:
    order_factory(accession="A1", state=State.SCHEDULED)
    first = ports.clock()
    _receive(ports, _request(Action.ARRIVE, AccessionNumber="A1"))
    later = replace(ports, clock=lambda: first + timedelta(minutes=5))
    _receive(later, _request(Action.ARRIVE, AccessionNumber="A1"), control_id="S2")
    assert [(order.state, order.arrived_at) for order in _orders(ports)] == [(State.SCHEDULED, first)]


@pytest.mark.parametrize(("station", "state"), [("US1", State.SENT), ("", State.SCHEDULED)])
def test_an_arrival_sends_the_order_where_the_site_wants_that_and_one_machine_fits(
    ports: Ports, order_factory: OrderFactory, station: str, state: State
) -> None:
    order_factory(accession="A1", state=State.SCHEDULED, station=station)
    on_arrival = replace(ports, release=Release.ON_ARRIVAL)
    _receive(on_arrival, _request(Action.ARRIVE, AccessionNumber="A1"))
    assert [order.state for order in _orders(ports)] == [state]


def test_an_arrival_for_an_order_that_is_over_is_a_doubt(ports: Ports, order_factory: OrderFactory) -> None:
    order_factory(accession="A1", state=State.CANCELLED)
    assert _receive(ports, _request(Action.ARRIVE, AccessionNumber="A1")).state is MessageState.HELD
    assert _orders(ports)[0].arrived_at is None


def test_an_arrival_of_a_patient_is_for_the_orders_of_today(
    ports: Ports, order_factory: OrderFactory
) -> None:
    order_factory(accession="A1", state=State.SENT)
    order_factory(accession="A2", state=State.SCHEDULED, start=LATER)
    order_factory(accession="A3", state=State.SENT, patient_id="MRN2")
    _receive(ports, _request(Action.ARRIVE, PatientID="MRN1"))
    assert [order.arrived_at is not None for order in _orders(ports)] == [True, False, False]
    nobody = _receive(ports, _request(Action.ARRIVE, PatientID="MRN9"), control_id="S2")
    assert (nobody.state, _reason(ports, nobody)) == (
        MessageState.SKIPPED, "no order of that day is for the patient who arrived",
    )  # fmt: skip


def test_an_appointment_finds_its_order_by_the_service_request_alone(
    ports: Ports, order_factory: OrderFactory
) -> None:
    order_factory(accession="A1", state=State.SCHEDULED, service_request="ServiceRequest/9")
    order_factory(accession="A2", state=State.SCHEDULED, service_request="ServiceRequest/10")
    _receive(ports, _request(Action.RESCHEDULE, service_request="ServiceRequest/9", **{START: LATER}))
    assert _start(ports)[0] == LATER
    assert _start(ports)[1] != LATER


def test_new_demographics_reach_every_order_of_the_patient_whoever_sent_it(
    ports: Ports, order_factory: OrderFactory
) -> None:
    order_factory(accession="A1", state=State.SENT)
    order_factory(accession="A2", state=State.COMPLETED, source="ehr")
    order_factory(accession="A3", patient_id="MRN2", name="Roe^Rita")
    update = _request(Action.UPDATE_PATIENT, PatientID="MRN1", PatientName="Smith^Jane", PatientSex="")
    assert _receive(ports, update).state is MessageState.MAPPED
    found = [(order.patient.name, order.patient.sex, order.patient.birth_date) for order in _orders(ports)]
    assert found == [("Smith^Jane", "", "19800214")] * 2 + [("Roe^Rita", "F", "19800214")]
    first = _orders(ports)[0]
    assert (first.state, first.attributes["PatientName"]) == (State.SENT, "Smith^Jane")
    assert "PatientSex" not in first.attributes


def test_a_patient_who_has_no_order_here_is_passed_over(ports: Ports, order_factory: OrderFactory) -> None:
    order_factory()
    update = _request(Action.UPDATE_PATIENT, PatientID="MRN9", PatientName="Roe^Rita")
    answered = _receive(ports, update)
    assert (answered.state, _reason(ports, answered)) == (
        MessageState.SKIPPED, "no order here has that patient",
    )  # fmt: skip


@pytest.mark.parametrize(("known", "told"), [("H", ""), ("", "H")])
def test_a_patient_message_that_leaves_the_issuer_out_on_one_side_is_held_for_a_person(
    ports: Ports, order_factory: OrderFactory, known: str, told: str
) -> None:
    before = order_factory(issuer=known)
    named = {"PatientID": "MRN1", "IssuerOfPatientID": told}
    for number, action in enumerate((Action.UPDATE_PATIENT, Action.ARRIVE)):
        answered = _receive(
            ports, _request(action, PatientName="Smith^Jane", **named), control_id=f"S{number}"
        )
        assert answered.state is MessageState.HELD
        assert "issuer" in _reason(ports, answered)
    assert _orders(ports) == (before,)


def test_a_patient_message_that_names_the_issuer_changes_his_orders_alone(
    ports: Ports, order_factory: OrderFactory
) -> None:
    order_factory(accession="A1", issuer="H")
    order_factory(accession="A2", issuer="")
    rename = _request(
        Action.UPDATE_PATIENT, PatientID="MRN1", IssuerOfPatientID="H", PatientName="Smith^Jane"
    )
    assert _receive(ports, rename).state is MessageState.MAPPED
    assert [order.patient.name for order in _orders(ports)] == ["Smith^Jane", "Doe^Jane"]


def test_an_arrival_without_the_issuer_is_no_doubt_where_nobody_is_expected_today(
    ports: Ports, order_factory: OrderFactory
) -> None:
    order_factory(accession="A1", state=State.SCHEDULED, start=LATER, issuer="H")
    order_factory(accession="A2", state=State.COMPLETED, issuer="H")
    answered = _receive(ports, _request(Action.ARRIVE, PatientID="MRN1"))
    assert answered.state is MessageState.SKIPPED


def test_a_patient_message_in_doubt_changes_nothing(ports: Ports, order_factory: OrderFactory) -> None:
    before = order_factory()
    fault = replace(HOLD, keyword="PatientName")
    update = replace(_request(Action.UPDATE_PATIENT, PatientID="MRN1", PatientSex="M"), faults=(fault,))
    assert _receive(ports, update).state is MessageState.HELD
    assert _orders(ports) == (before,)
