import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from gateway.flow.ports import Ports
from gateway.model.delivery import DeliveryState, Outgoing
from gateway.model.lifecycle import State
from gateway.model.measurement import Measurement
from gateway.model.message import Inbound, Keys, MessageState, Protocol
from gateway.model.order import Fault, Order, Severity
from gateway.model.search import Found
from gateway.model.user import Role
from gateway.store import inbox, orders, outbox

if TYPE_CHECKING:
    from tests.web.conftest import Machine, Trouble

pytestmark = pytest.mark.anyio

Visitor = Callable[..., httpx.AsyncClient]
Orders = Callable[..., Order]


def row(page: str, order: Order) -> str:
    """The order's row as text with its mark-up taken out."""
    found = re.search(rf'<tr role="row" id="order-{order.id}".*?</tr>', page, re.DOTALL)
    assert found
    return " ".join(re.sub(r"<[^>]+>", " ", found[0]).split())


def held(ports: Ports, order: Order, *texts: str) -> Order:
    """The order as the mapping would have left it."""
    faults = tuple(
        Fault(severity=Severity.HOLD, keyword="", place=None, code="101", text=text, at="") for text in texts
    )
    with ports.database.write() as tx:
        return orders.save(tx, replace(order, state=State.HELD, faults=faults))


async def test_the_page_shows_what_the_receptionist_decides_by(
    visitor: Visitor, order_factory: Orders
) -> None:
    order = order_factory(state=State.SCHEDULED, accession="ACC7", birth_date="19800214")
    async with visitor(Role.RECEPTION) as client:
        page = (await client.get("/")).text
    text = row(page, order)
    for expected in (
        "10:30",
        "Ready",
        "Doe, Jane",
        "14 Feb 1980 · 46 y · female",
        "ID MRN1",
        "Accession ACC7",
    ):
        assert expected in text
    assert "Abdomen ultrasound US · Ultrasound 1" in text
    assert "<title>Orders · General Hospital</title>" in page


async def test_times_are_those_of_the_site(ports: Ports, visitor: Visitor, order_factory: Orders) -> None:
    order = order_factory(start="2026-06-01T10:30:00+00:00")
    async with visitor(Role.VIEWER) as client:
        assert row((await client.get("/?day=2026-06-01")).text, order).startswith("11:30 On US1")


async def test_another_day_is_another_list(visitor: Visitor, order_factory: Orders) -> None:
    order_factory(name="Today^Tina")
    order_factory(name="Tomorrow^Tom", patient_id="MRN2", accession="A2", start="2026-11-24T08:00:00+00:00")
    async with visitor(Role.VIEWER) as client:
        today, tomorrow = (await client.get("/")).text, (await client.get("/?day=2026-11-24")).text
        wrong = await client.get("/?day=soon")
    assert ("Today, Tina" in today, "Tomorrow, Tom" in today) == (True, False)
    assert ("Today, Tina" in tomorrow, "Tomorrow, Tom" in tomorrow) == (False, True)
    assert 'href="/?day=2026-11-22"' in today
    assert wrong.status_code == 422


async def test_an_empty_day_says_what_to_expect(visitor: Visitor) -> None:
    async with visitor(Role.VIEWER) as client:
        page = (await client.get("/")).text
    assert "No orders for this day." in page
    assert "appear here by themselves" in page


async def test_filters_hide_rows_and_say_how_many(visitor: Visitor, order_factory: Orders) -> None:
    order_factory(name="Sent^Sam")
    order_factory(name="Done^Dora", patient_id="MRN2", accession="A2", state=State.COMPLETED, station="US2")
    async with visitor(Role.VIEWER) as client:
        still = (await client.get("/?state=open")).text
        there = (await client.get("/?station=US2")).text
        wrong = [await client.get(query) for query in ("/?state=odd", "/?station=XX")]
    assert ("Sent, Sam" in still, "Done, Dora" in still) == (True, False)
    assert "1 order is hidden by the filters" in still
    assert ("Sent, Sam" in there, "Done, Dora" in there) == (False, True)
    assert [answer.status_code for answer in wrong] == [422, 422]


async def test_held_orders_stand_first_with_their_reasons(
    ports: Ports, visitor: Visitor, order_factory: Orders
) -> None:
    early = order_factory(state=State.SCHEDULED, start="2026-11-23T08:00:00+00:00")
    late = held(
        ports, order_factory(accession="A2", start="2026-11-23T17:00:00+00:00"), "accession (ORC-3.1): absent"
    )
    async with visitor(Role.RECEPTION) as client:
        page = (await client.get("/")).text
    assert page.index(f'id="order-{late.id}"') < page.index(f'id="order-{early.id}"')
    assert "accession (ORC-3.1): absent" in row(page, late)
    assert "See what is wrong" in row(page, late)
    assert "Needs attention (1)" in page
    assert f"/orders/{late.id}/send" not in page


async def test_orders_held_on_other_days_are_pointed_at(
    ports: Ports, visitor: Visitor, order_factory: Orders
) -> None:
    held(ports, order_factory(start="2026-11-25T08:00:00+00:00"), "station: unknown")
    async with visitor(Role.RECEPTION) as client:
        assert 'href="/?day=2026-11-25">25 Nov 2026 (1)</a>' in (await client.get("/")).text


async def test_refused_messages_and_those_in_doubt_are_pointed_at(ports: Ports, visitor: Visitor) -> None:
    with ports.database.write() as tx:
        for number, state in enumerate((MessageState.FAILED, MessageState.HELD, MessageState.HELD)):
            inbox.add(
                tx,
                Inbound(protocol=Protocol.HL7V2, source="ris", peer="", raw=b"MSH|"),
                sha256=f"{number:064}",
                at=ports.clock(),
                keys=Keys(),
                state=state,
                reason="x",
                module="",
                found=Found(),
            )
    async with visitor(Role.RECEPTION) as client:
        page = (await client.get("/")).text
    assert "1 refused" in page
    assert "2 in doubt" in page
    assert "/messages?state" not in page
    async with visitor(Role.ADMIN) as client:
        assert '<a href="/messages?state=failed">1 refused</a>' in (await client.get("/")).text
    ports.clock.advance(seconds=86_400)  # type: ignore[attr-defined]
    async with visitor(Role.VIEWER) as client:
        assert "refused" not in (await client.get("/")).text


async def test_an_order_without_a_day_is_on_the_list_until_it_ends(
    visitor: Visitor, order_factory: Orders
) -> None:
    waiting = order_factory(state=State.SCHEDULED, start="")
    order_factory(accession="A2", state=State.COMPLETED, start="", name="Gone^Gus", patient_id="MRN2")
    async with visitor(Role.VIEWER) as client:
        page = (await client.get("/")).text
    assert row(page, waiting).startswith("no date")
    assert "Gone, Gus" not in page


async def test_two_patients_of_one_name_are_pointed_out(visitor: Visitor, order_factory: Orders) -> None:
    first = order_factory(state=State.SCHEDULED, name="Smith^John", patient_id="1")
    second = order_factory(state=State.SCHEDULED, name="SMITH^John", patient_id="2", accession="A2")
    twice = [order_factory(name="Roe^Ann", patient_id="3", accession=f"B{n}") for n in range(2)]
    async with visitor(Role.RECEPTION) as client:
        page = (await client.get("/")).text
    warned = [("Another patient has this name" in row(page, order)) for order in (first, second, *twice)]
    assert warned == [True, True, False, False]


async def test_pictures_and_measurements_stand_beside_the_order(
    visitor: Visitor,
    order_factory: Orders,
    machine: "Machine",
    measurement: Callable[[str, str], Measurement],
) -> None:
    order = order_factory(state=State.STARTED)
    sent = [machine.send(order) for _ in range(6)]
    for image in sent[:5]:
        machine.examine(image)
    found = tuple(measurement(f"Length {n}", f"{n}0.50") for n in range(1, 6))
    machine.examine(sent[5], found=found)
    async with visitor(Role.VIEWER) as client:
        page = (await client.get("/")).text
    text = row(page, order)
    assert "6 images" in text
    assert "Length 1 10.50 mm Length 2 20.50 mm Length 3 30.50 mm and 2 more" in text
    assert page.count("/thumbnail") == 4


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (DeliveryState.DELIVERED, "Told 09:00"),
        (DeliveryState.DEAD, "Failed"),
        (DeliveryState.PENDING, "Trying again"),
    ],
)
async def test_what_the_ehr_knows_is_shown(
    ports: Ports, visitor: Visitor, order_factory: Orders, state: DeliveryState, words: str
) -> None:
    order = order_factory(state=State.COMPLETED)
    news = Outgoing(destination="ehr", kind="ImagingStudy", key="1", order_id=order.id, payload=b"{}")
    with ports.database.write() as tx:
        outbox.add(tx, news, ports.clock())
        claimed = next(iter(outbox.claim(tx, ports.clock(), timedelta(seconds=30))), None)
        assert claimed is not None
        outbox.settle(tx, claimed, state, at=ports.clock())
    async with visitor(Role.VIEWER) as client:
        assert row((await client.get("/")).text, order).endswith(f"EHR {words}")


async def test_images_nobody_ordered_are_put_in_a_box(
    visitor: Visitor, order_factory: Orders, machine: "Machine"
) -> None:
    machine.send(None, study_uid="2.25.77")
    machine.send(order_factory(), doubt="the images name another patient than order 1")
    async with visitor(Role.VIEWER) as client:
        page = (await client.get("/")).text
    box = page[page.index("Images that need a look") :]
    assert "Walk, In" in box
    assert "No order is known for them." in box
    assert "the images name another patient than order 1" in box


async def test_a_viewer_sees_no_buttons(visitor: Visitor, order_factory: Orders) -> None:
    order_factory(state=State.SCHEDULED)
    async with visitor(Role.VIEWER) as client:
        assert "/send" not in (await client.get("/")).text


async def test_hostile_names_stay_text(visitor: Visitor, order_factory: Orders) -> None:
    evil = "<script>alert(1)</script>^Eve"
    order = order_factory(
        state=State.SCHEDULED,
        name=evil,
        patient_id='"><img src=x>',
        accession="'onload='1",
        RequestedProcedureDescription="<b>bold</b>",
    )
    async with visitor(Role.ADMIN) as client:
        for path in ("/", f"/orders/{order.id}"):
            page = (await client.get(path)).text
            assert "<script>alert" not in page
            assert "&lt;script&gt;alert(1)&lt;/script&gt;, Eve" in page
            assert "<img src=x>" not in page
            assert "<b>bold</b>" not in page
            title = page.split("<title>")[1].split("</title>")[0]
            assert "Eve" not in title


async def test_a_fragment_holds_the_regions_and_nothing_around_them(
    visitor: Visitor, order_factory: Orders
) -> None:
    order = order_factory()
    async with visitor(Role.RECEPTION) as client:
        fragment = (await client.get("/?fragment=orders")).text
    assert f'id="order-{order.id}"' in fragment
    assert 'data-since="' in fragment
    assert "<header" not in fragment
    assert "live.js" not in fragment


async def test_warnings_of_the_gateway_stand_on_top(visitor: Visitor, trouble: "Trouble") -> None:
    trouble.warnings.append("The EHR has not answered since 08:12.")
    async with visitor(Role.VIEWER) as client:
        assert "The EHR has not answered since 08:12." in (await client.get("/")).text
