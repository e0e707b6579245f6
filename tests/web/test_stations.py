"""What machines asked and told, as the receptionist sees it."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import httpx
import pytest

from gateway.flow import perform, seen
from gateway.flow.ports import Ports
from gateway.model.ids import Uid
from gateway.model.lifecycle import State
from gateway.model.order import Order
from gateway.model.performed import Begun, Letter, PerformedState, Scheduled, Told
from gateway.model.receipt import Asker, Cause, Ending, LeftOut, Receipt
from gateway.model.user import Role
from gateway.model.worklist import WorklistQuery

pytestmark = pytest.mark.anyio

Make = Callable[..., Order]
Visitor = Callable[..., httpx.AsyncClient]
Page = Callable[[str], Awaitable[str]]


def receipt(ports: Ports, station: str = "US1", **changed: object) -> Receipt:
    asker = Asker(
        calling_ae=station, called_ae="STORESCP", address="10.0.0.7", implementation_uid="1.2.840.1",
        implementation_version="LOGIQ_1",
    )  # fmt: skip
    plain = Receipt(
        asker=asker, at=ports.clock(), ending=Ending.ANSWERED, query=WorklistQuery(),
        keys=(
            ("ScheduledProcedureStepSequence.Modality", "US"),
            ("ScheduledProcedureStepSequence.ScheduledProcedureStepStartDate", "20261123"),
            ("PatientName", "SECRET*"),
        ),
    )  # fmt: skip
    return replace(plain, **changed)  # type: ignore[arg-type]


def exam(order: Order | None = None, uid: str = "1.2.5") -> Begun:
    study_uid = order.study_uid if order else Uid("1.2.9")
    return Begun(
        sop_uid=Uid(uid), calling_ae="US1", station="US1", modality="US", step_id="P", description="Abdomen",
        patient_id=order.patient.patient_id if order else "TEMP", issuer="", patient_name="Walk^In",
        birth_date="19700102", sex="F", steps=(Scheduled(study_uid=study_uid),),
    )  # fmt: skip


@pytest.fixture
def page(visitor: Visitor) -> Page:
    """The text of a page, as the receptionist gets it."""
    browser = visitor(Role.RECEPTION)

    async def read(path: str) -> str:
        answer = await browser.get(path)
        assert answer.status_code == 200
        return answer.text

    return read


async def test_the_row_says_which_machine_has_seen_it_and_when(
    ports: Ports, page: Page, order_factory: Make
) -> None:
    order = order_factory()
    assert "not fetched by a machine yet" in await page("/")
    seen.record(ports, [receipt(ports, sent=(order.id,))])
    text = await page("/")
    assert "seen by US1 09:00" in text
    assert "not fetched" not in text


async def test_an_order_that_a_machine_cannot_take_is_a_problem_on_its_row(
    ports: Ports, page: Page, order_factory: Make
) -> None:
    order = order_factory()
    left = LeftOut(order_id=order.id, cause=Cause.PROFILE, detail="PatientName: too long")
    seen.record(ports, [receipt(ports, left_out=(left,))])
    assert "US1 cannot take it" in await page("/")
    assert "could not take it: PatientName: too long." in await page(f"/orders/{order.id}")


async def test_the_orders_page_says_why_a_machine_does_not_have_it(
    ports: Ports, page: Page, order_factory: Make
) -> None:
    order = order_factory()
    text = await page(f"/orders/{order.id}")
    assert "Ultrasound 1 (US1): why it is not there" in text
    assert "Ultrasound 1 (US1) has never asked for its worklist." in text
    assert "It was sent to Ultrasound 1 (US1), not to Ultrasound 2 (US2)." in text


async def test_an_order_that_is_over_has_no_such_section(page: Page, order_factory: Make) -> None:
    order = order_factory(state=State.COMPLETED)
    assert "why it is not there" not in await page(f"/orders/{order.id}")


async def test_the_machines_page_tells_who_asked_what_without_a_patients_values(
    ports: Ports, page: Page, order_factory: Make
) -> None:
    order = order_factory()
    seen.record(ports, [receipt(ports, sent=(order.id,), profile="ge-logiq"), receipt(ports, "STRANGER")])
    text = await page("/stations")
    for words in (
        "Ultrasound 1",
        "1 order",
        "Modality US, Scheduled Procedure Step Start Date 23 Nov 2026, Patient Name",
        "ge-logiq",
        "exam status (MPPS): sometimes",
        "LOGIQ_1",
        "10.0.0.7",
    ):
        assert words in text
    assert "not among the configured machines" in text
    assert "It has never asked." in text  # Ultrasound 2
    assert "SECRET" not in text


async def test_a_question_that_was_refused_says_why(ports: Ports, page: Page) -> None:
    refused = receipt(ports, ending=Ending.REFUSED, reason="PatientBirthDate (0010,0030): cannot be read")
    seen.record(ports, [refused])
    assert "refused: PatientBirthDate (0010,0030): cannot be read" in await page("/stations")


async def test_the_orders_page_says_what_the_machine_told(
    ports: Ports, page: Page, order_factory: Make
) -> None:
    order = order_factory()
    letter = Letter(verb="N-CREATE", transfer_syntax="", content=b"")
    perform.begin(ports, exam(order), Told(dose=(("TotalNumberOfExposures", "7"),)), letter)
    assert "Ultrasound 1: in progress" in await page(f"/orders/{order.id}")
    told = Told(state=PerformedState.DISCONTINUED, discontinued_because="Patient refused")
    perform.change(ports, Uid("1.2.5"), told, letter, calling_ae="US1")
    text = await page(f"/orders/{order.id}")
    for words in ("Ultrasound 1: given up", "Patient refused", "Total Number Of Exposures 7"):
        assert words in text


async def test_an_exam_that_nobody_ordered_waits_for_a_look(ports: Ports, page: Page) -> None:
    perform.begin(ports, exam(), Told(), Letter(verb="N-CREATE", transfer_syntax="", content=b""))
    text = await page("/")
    assert "Exams that need a look" in text
    assert "Walk, In" in text
    assert "No order is known for it." in text
