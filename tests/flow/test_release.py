from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.flow.ports import Ports
from gateway.flow.release import cancel, recall, send
from gateway.model.errors import Conflict, Invalid, NotFound
from gateway.model.lifecycle import State
from gateway.model.order import Order
from gateway.model.station import Station
from gateway.model.worklist import Range, WorklistQuery
from gateway.store import audit, worklist

Make = Callable[..., Order]


def test_a_sent_order_says_where_when_and_by_whom(ports: Ports, order_factory: Make) -> None:
    order = order_factory(state=State.SCHEDULED, station="")
    sent = send(ports, order.id, actor="user:anna", station="US2", version=order.version)
    assert (sent.state, sent.station, sent.sent_by, sent.sent_at) == (
        State.SENT, "US2", "user:anna", ports.clock(),
    )  # fmt: skip
    with ports.database.read() as tx:
        last = audit.of_subject(tx, f"order:{order.id}")[-1]
    assert (last.actor, last.action, last.detail) == ("user:anna", "order.send", "station:US2")


def test_among_several_machines_somebody_must_choose(ports: Ports, order_factory: Make) -> None:
    order = order_factory(state=State.SCHEDULED, station="")
    with pytest.raises(Invalid, match="choose one of US1, US2"):
        send(ports, order.id, actor="user:anna")


def test_the_only_machine_of_the_modality_needs_no_choice(ports: Ports, order_factory: Make) -> None:
    order = order_factory(state=State.SCHEDULED, station="", modality="CT")
    with_ct = replace(ports, stations=(*ports.stations, Station(ae_title="CT1", name="CT", modality="CT")))
    assert send(with_ct, order.id, actor="user:anna").station == "CT1"


def test_a_machine_that_only_the_sender_knows_is_not_taken_for_granted(
    ports: Ports, order_factory: Make
) -> None:
    order = order_factory(state=State.SCHEDULED, station="ELSEWHERE")
    with pytest.raises(Invalid, match="choose one of US1, US2"):
        send(ports, order.id, actor="user:anna")


def test_without_configured_machines_an_order_is_for_any(ports: Ports, order_factory: Make) -> None:
    order = order_factory(state=State.SCHEDULED, station="")
    assert send(replace(ports, stations=()), order.id, actor="user:anna").station == ""


def test_a_machine_that_is_not_configured_is_refused(ports: Ports, order_factory: Make) -> None:
    order = order_factory(state=State.SCHEDULED)
    with pytest.raises(NotFound, match="US9"):
        send(ports, order.id, actor="user:anna", station="US9")


def test_an_order_without_a_day_is_found_under_the_day_it_is_sent(ports: Ports, order_factory: Make) -> None:
    order = order_factory(state=State.SCHEDULED, start="")
    today = WorklistQuery(date=Range(first="20261123", last="20261123"))

    def found() -> list[int]:
        with ports.database.read() as tx:
            return [entry.id for entry in worklist.find(tx, today, ports.listed)]

    send(ports, order.id, actor="user:anna")
    assert found() == [order.id]
    recall(ports, order.id, actor="user:anna")
    assert found() == []


def test_recall_takes_it_back_and_send_puts_it_on_again(ports: Ports, order_factory: Make) -> None:
    order = order_factory(state=State.SENT)
    assert recall(ports, order.id, actor="user:anna").state is State.SCHEDULED
    assert send(ports, order.id, actor="user:anna").state is State.SENT


def test_two_people_cannot_act_on_one_sight_of_an_order(ports: Ports, order_factory: Make) -> None:
    order = order_factory(state=State.SCHEDULED)
    send(ports, order.id, actor="user:anna", version=order.version)
    with pytest.raises(Conflict, match="someone else"):
        send(ports, order.id, actor="user:bert", version=order.version)


@pytest.mark.parametrize("state", [State.HELD, State.COMPLETED, State.CANCELLED, State.STARTED])
def test_only_a_scheduled_order_can_be_sent(ports: Ports, order_factory: Make, state: State) -> None:
    order = order_factory(state=state)
    with pytest.raises(Conflict):
        send(ports, order.id, actor="user:anna")


def test_a_running_exam_cannot_be_cancelled_by_hand(ports: Ports, order_factory: Make) -> None:
    order = order_factory(state=State.STARTED)
    with pytest.raises(Conflict):
        cancel(ports, order.id, actor="user:anna")
