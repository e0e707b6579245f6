from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from gateway.flow import seen
from gateway.flow.ports import Ports
from gateway.flow.why import Answer, explain, explain_all
from gateway.model.errors import NotFound
from gateway.model.ids import OrderId
from gateway.model.lifecycle import State
from gateway.model.order import Order
from gateway.model.receipt import Asker, Cause, Ending, LeftOut, Receipt
from gateway.model.worklist import Match, Range, WorklistQuery

if TYPE_CHECKING:
    from tests.conftest import FakeClock

Make = Callable[..., Order]
Ask = Callable[..., None]


@pytest.fixture
def ask(ports: Ports) -> Ask:
    """A station asks now, and is answered so."""

    def record(station: str = "US1", query: WorklistQuery | None = None, **changed: object) -> None:
        asker = Asker(
            calling_ae=station,
            called_ae="STORESCP",
            address="",
            implementation_uid="",
            implementation_version="",
        )
        plain = Receipt(
            asker=asker, at=ports.clock(), ending=Ending.ANSWERED, keys=(), query=query or WorklistQuery()
        )
        seen.record(ports, [replace(plain, **changed)])  # type: ignore[arg-type]

    return record


def texts(answer: Answer) -> str:
    return " | ".join(f"{one.text} {one.advice}" for one in answer.findings)


def test_an_order_that_a_machine_got_is_on_its_list(ports: Ports, order_factory: Make, ask: Ask) -> None:
    order = order_factory()
    ask(sent=(order.id,))
    answer = explain(ports, order.id, "US1")
    assert answer.is_listed
    assert texts(answer).startswith("It is on the list: Ultrasound 1 (US1) got it at 09:00.")


def test_a_machine_that_never_asked_is_told_how_to(ports: Ports, order_factory: Make) -> None:
    answer = explain(ports, order_factory().id, "US1")
    assert not answer.is_listed
    assert "has never asked for its worklist. Check on the machine" in texts(answer)


def test_a_machine_that_has_not_asked_since_is_to_be_refreshed(
    ports: Ports, order_factory: Make, ask: Ask, clock: "FakeClock"
) -> None:
    ask()
    clock.advance(seconds=600)
    answer = explain(ports, order_factory().id, "US1")
    assert not answer.is_listed
    assert "has not asked for its list since the order was sent at 09:10; it last asked at 09:00." in texts(
        answer
    )
    assert "Refresh the worklist" in texts(answer)


def test_an_order_sent_again_must_be_seen_again(
    ports: Ports, order_factory: Make, ask: Ask, clock: "FakeClock"
) -> None:
    from gateway.flow.release import recall, send

    order = order_factory()
    ask(sent=(order.id,))
    clock.advance(seconds=60)
    recall(ports, order.id, actor="user:anna")
    assert "not been sent" in texts(explain(ports, order.id, "US1"))
    send(ports, order.id, actor="user:anna", station="US1")
    assert not explain(ports, order.id, "US1").is_listed


def test_an_order_for_another_machine_says_which(ports: Ports, order_factory: Make, ask: Ask) -> None:
    order = order_factory(station="US2")
    never = texts(explain(ports, order.id, "US1"))
    assert "It was sent to Ultrasound 2 (US2), not to Ultrasound 1 (US1)." in never
    ask(query=WorklistQuery(station=Match(values=("US1",))))
    assert texts(explain(ports, order.id, "US1")) == (
        "It was sent to Ultrasound 2 (US2), not to Ultrasound 1 (US1). Recall it and send it to Ultrasound 1 (US1)."
    )


def test_a_machine_that_asks_for_a_wrong_title_says_so(ports: Ports, order_factory: Make, ask: Ask) -> None:
    ask(query=WorklistQuery(station=Match(values=("OLDNAME",))))
    answer = explain(ports, order_factory().id, "US1")
    assert "asks for orders of OLDNAME; this one is for US1." in texts(answer)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        (
            WorklistQuery(date=Range(first="20261124", last="20261124")),
            "asks for orders of 24 Nov 2026; this one is on 23 Nov 2026, 10:30.",
        ),
        (
            WorklistQuery(
                date=Range(first="20261123", last="20261123"), time=Range(first="120000", last="180000")
            ),
            "asks for orders of 23 Nov 2026 between 12:00 and 18:00; this one is on 23 Nov 2026, 10:30.",
        ),
        (WorklistQuery(time=Range(first="120000")), "asks for orders of any day between 12:00 and 24:00"),
        (WorklistQuery(modality=Match(values=("CT",))), "asks for the modality CT; this order's is US."),
        (WorklistQuery(patient_id=Match(values=("SECRET",))), "asks with the key Patient ID, which"),
        (
            WorklistQuery(patient_name=Match(values=("SECRET*",), is_wild=True, ignore_case=True)),
            "asks with the key Patient's Name, which",
        ),
        (WorklistQuery(study_uid=Match(values=("1.2",))), "asks with the key Study Instance UID"),
    ],
)
def test_a_key_that_excludes_the_order_is_named_without_a_patients_values(
    ports: Ports, order_factory: Make, ask: Ask, query: WorklistQuery, sentence: str
) -> None:
    ask(query=query)
    found = texts(explain(ports, order_factory().id, "US1"))
    assert sentence in found
    assert "SECRET" not in found
    assert "Nothing stands in the way" not in found


@pytest.mark.parametrize(
    ("cause", "detail", "sentence"),
    [
        (Cause.PROFILE, "PatientName: too long", "could not take it: PatientName: too long."),
        (Cause.LIMIT, "", "more orders matched than Ultrasound 1 (US1) can take at once."),
        (Cause.FAULT, "", "a fault of the gateway."),
        (Cause.KEY, "PatientSex", "with the key PatientSex, which this order does not match."),
    ],
)
def test_an_order_that_was_kept_back_says_why(
    ports: Ports, order_factory: Make, ask: Ask, cause: Cause, detail: str, sentence: str
) -> None:
    order = order_factory()
    ask(left_out=(LeftOut(order_id=order.id, cause=cause, detail=detail),), profile="narrow")
    answer = explain(ports, order.id, "US1")
    assert not answer.is_listed
    assert sentence in texts(answer)


def test_a_refused_and_a_failed_question_are_reasons(ports: Ports, order_factory: Make, ask: Ask) -> None:
    order = order_factory()
    ask(ending=Ending.REFUSED, reason="PatientBirthDate (0010,0030): cannot be read")
    assert "could not be read: PatientBirthDate" in texts(explain(ports, order.id, "US1"))
    ask(ending=Ending.FAILED, reason="the worklist could not be read")
    assert "could not be answered" in texts(explain(ports, order.id, "US1"))


def test_a_narrower_question_later_takes_nothing_off_the_list(
    ports: Ports, order_factory: Make, ask: Ask, clock: "FakeClock"
) -> None:
    order = order_factory()
    ask(sent=(order.id,))
    clock.advance(seconds=60)
    ask(query=WorklistQuery(patient_id=Match(values=("X",))))
    answer = explain(ports, order.id, "US1")
    assert answer.is_listed
    assert "It asked for less at 09:01." in texts(answer)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (State.HELD, "held"),
        (State.SCHEDULED, "not been sent"),
        (State.STARTED, "has begun"),
        (State.COMPLETED, "is done"),
        (State.DISCONTINUED, "given up"),
        (State.CANCELLED, "cancelled"),
        (State.EXPIRED, "expired"),
    ],
)
def test_an_order_that_is_not_listed_at_all_says_its_state(
    ports: Ports, order_factory: Make, state: State, sentence: str
) -> None:
    answer = explain(ports, order_factory(state=state).id, "US1")
    assert not answer.is_listed
    assert sentence in texts(answer)
    assert all(one.advice for one in answer.findings)


def test_every_machine_that_could_have_it_is_answered_for(
    ports: Ports, order_factory: Make, ask: Ask
) -> None:
    order = order_factory(station="US2")
    ask("STRANGER", sent=(order.id,))
    found = explain_all(ports, order.id)
    assert [(one.station, one.is_listed) for one in found] == [
        ("US2", False),
        ("US1", False),
        ("STRANGER", True),
    ]


def test_an_unknown_order_is_not_found(ports: Ports) -> None:
    with pytest.raises(NotFound):
        explain(ports, OrderId(99), "US1")


def test_receipts_are_kept_as_long_as_the_site_wants(
    ports: Ports, order_factory: Make, ask: Ask, clock: "FakeClock"
) -> None:
    order_factory()
    ask()
    clock.advance(seconds=86400 * 31)
    assert seen.forget(ports, timedelta(days=40)) == 0
    assert seen.forget(ports, timedelta(days=30)) == 1
