from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gateway.flow import release
from gateway.flow.announce import announce
from gateway.flow.ports import Ports
from gateway.model.delivery import Change, Outgoing
from gateway.model.errors import Conflict
from gateway.model.lifecycle import State
from gateway.model.order import Order
from gateway.store import outbox

if TYPE_CHECKING:
    from tests.flow.conftest import Feed

Make = Callable[..., Order]


class Heard:
    """Who wants to hear of everything, and what was heard."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    def __call__(self, change: Change) -> tuple[Outgoing, ...]:
        self.changes.append(change)
        key = f"order:{change.order.id}"
        return (
            Outgoing(
                destination="ris", kind="T", key=key, order_id=change.order.id, payload=b"", in_turn=True
            ),
        )


def test_the_news_of_a_step_is_owed_when_the_step_is_stored(ports: Ports, order_factory: Make) -> None:
    heard = Heard()
    order = order_factory(state=State.SENT)
    release.cancel(replace(ports, announce=heard), order.id, actor="user:anna")
    (change,) = heard.changes
    assert (change.action, change.evidence, change.order.state) == (
        "order.cancel",
        "by hand",
        State.CANCELLED,
    )
    with ports.database.read() as tx:
        assert [owed.order_id for owed in outbox.newest(tx)] == [order.id]


def test_a_step_that_was_not_taken_is_no_news(ports: Ports, order_factory: Make) -> None:
    heard = Heard()
    order = order_factory(state=State.COMPLETED)
    with pytest.raises(Conflict):
        release.cancel(replace(ports, announce=heard), order.id, actor="user:anna")
    assert heard.changes == []


def test_news_that_cannot_be_written_takes_the_step_back(ports: Ports, order_factory: Make) -> None:
    def fail(_: Change) -> tuple[Outgoing, ...]:
        raise Conflict("no")

    order = order_factory(state=State.SENT)
    with pytest.raises(Conflict):
        release.cancel(replace(ports, announce=fail), order.id, actor="user:anna")
    release.recall(ports, order.id, actor="user:anna")  # it is still sent
    with ports.database.read() as tx:
        assert outbox.newest(tx) == ()


def test_the_messages_of_an_order_are_at_hand(ports: Ports, order_factory: Make) -> None:
    found: list[bytes] = []

    def read(change: Change) -> tuple[Outgoing, ...]:
        found.extend(message.raw for message in change.messages())
        return ()

    order = order_factory()
    with ports.database.write() as tx:
        announce(tx, replace(ports, announce=read), order, "order.start", "study:1", ports.clock())
    assert found == [b"MSH|"]


def test_who_was_told_of_a_study_hears_that_its_order_has_another_uid(feed: "Feed", ports: Ports) -> None:
    heard = Heard()
    numbers = ("ORC|NW|P1|F1", "OBR|1|P1|F1|US^Abdomen^L||||||||||||||ACC1||||||US|||^^^20261123103000")
    pid = "PID|1||MRN1||DOE^JANE||19800214|F"
    feed.send("ORM^O01", pid, *numbers)
    (order,) = feed.orders()
    release.send(ports, order.id, actor="user:anna", station="US1")
    feed.ports = replace(ports, announce=heard)
    for _ in range(2):
        feed.send("ORM^O01", pid, "ORC|XO|P1|F1", numbers[1], "ZDS|1.2.99^^Application^DICOM")
    assert [(change.action, change.order.study_uid) for change in heard.changes] == [
        ("study.withdraw", order.study_uid),
        ("study.expect", "1.2.99"),
    ]
