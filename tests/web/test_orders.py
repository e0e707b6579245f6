from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest
from starlette.applications import Starlette

from gateway.flow.ports import Ports
from gateway.model.lifecycle import State
from gateway.model.order import Order, Place, Provenance
from gateway.model.station import Station
from gateway.model.user import Role
from gateway.store import audit, orders

pytestmark = pytest.mark.anyio

Visitor = Callable[..., httpx.AsyncClient]
Orders = Callable[..., Order]


def stored(ports: Ports, order: Order) -> Order:
    with ports.database.read() as tx:
        return orders.show(tx, order.id)


async def test_send_by_a_plain_form_leads_back_to_a_page_that_says_so(
    ports: Ports, visitor: Visitor, order_factory: Orders
) -> None:
    order = order_factory(state=State.SCHEDULED, station="")
    async with visitor(Role.RECEPTION) as client:
        page = (await client.get("/")).text
        assert 'value="US1"' in page
        assert 'value="US2"' in page
        form = {"station": "US1", "version": str(order.version), "back": "/?day=2026-11-23"}
        answer = await client.post(f"/orders/{order.id}/send", data=form)
        assert answer.status_code == 303
        assert answer.headers["location"] == f"/?day=2026-11-23#order-{order.id}"
        after = (await client.get(answer.headers["location"])).text
        later = (await client.get("/")).text
    assert "On US1" in after
    assert "Doe, Jane is now on Ultrasound 1." in after
    assert "is now on" not in later
    sent = stored(ports, order)
    assert (sent.state, sent.station, sent.sent_by) == (State.SENT, "US1", "user:reception")


async def test_with_several_machines_one_must_be_chosen(
    ports: Ports, visitor: Visitor, order_factory: Orders
) -> None:
    order = order_factory(state=State.SCHEDULED, station="")
    async with visitor(Role.RECEPTION) as client:
        answer = await client.post(f"/orders/{order.id}/send")
        unknown = await client.post(f"/orders/{order.id}/send", data={"station": "XX"})
    assert answer.status_code == 422
    assert "several machines fit, choose one of US1, US2" in answer.text
    assert unknown.status_code == 404
    assert stored(ports, order).state is State.SCHEDULED


async def test_with_many_machines_they_are_a_list_to_choose_from(
    ports: Ports, make_app: Callable[..., Starlette], token: Callable[[Role], str], order_factory: Orders
) -> None:
    order_factory(state=State.SCHEDULED, station="")
    many = tuple(Station(ae_title=f"US{n}", name=f"Room {n}", modality="US") for n in range(5))
    object.__setattr__(ports, "stations", many)
    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(make_app()),
        base_url="http://gateway.test",
        cookies={"gateway": token(Role.RECEPTION)},
    )
    async with client:
        page = (await client.get("/")).text
    assert 'name="station" required' in page
    assert '<option value="US4">Room 4</option>' in page


async def test_where_no_machine_is_configured_an_order_is_sent_to_any(
    ports: Ports, make_app: Callable[..., Starlette], token: Callable[[Role], str], order_factory: Orders
) -> None:
    order = order_factory(state=State.SCHEDULED, station="")
    object.__setattr__(ports, "stations", ())
    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(make_app()),
        base_url="http://gateway.test",
        headers={"Sec-Fetch-Site": "same-origin"},
        cookies={"gateway": token(Role.RECEPTION)},
    )
    async with client:
        page = (await client.get("/")).text
        assert "Send to machine" in page
        assert "any machine" in page
        form = {"version": str(order.version), "station": ""}
        assert (await client.post(f"/orders/{order.id}/send", data=form)).status_code == 303
    assert (stored(ports, order).state, stored(ports, order).station) == (State.SENT, "")


async def test_the_two_identifiers_stand_beside_the_button(visitor: Visitor, order_factory: Orders) -> None:
    order = order_factory(state=State.SCHEDULED)
    async with visitor(Role.RECEPTION) as client:
        page = (await client.get("/")).text
    form = page[page.index(f'action="/orders/{order.id}/send"') :].split("</form>")[0]
    assert "Doe, Jane" in form
    assert "born 14 Feb 1980" in form
    assert form.count(f'aria-describedby="who-{order.id}"') == 2


async def test_recall_takes_the_order_off_the_list(
    ports: Ports, visitor: Visitor, order_factory: Orders
) -> None:
    order = order_factory(state=State.SENT)
    async with visitor(Role.RECEPTION) as client:
        form = {"version": str(order.version), "back": "//evil.example"}
        answer = await client.post(f"/orders/{order.id}/recall", data=form)
        assert answer.headers["location"] == f"/#order-{order.id}"
        assert "Doe, Jane was taken off" in (await client.get("/")).text
    assert stored(ports, order).state is State.SCHEDULED


async def test_a_viewer_cannot_send_and_a_receptionist_cannot_cancel(
    ports: Ports, visitor: Visitor, order_factory: Orders
) -> None:
    order = order_factory(state=State.SCHEDULED)
    async with visitor(Role.VIEWER) as viewer, visitor(Role.RECEPTION) as reception:
        send = await viewer.post(f"/orders/{order.id}/send", data={"station": "US1"})
        cancel = await reception.post(f"/orders/{order.id}/cancel")
    assert (send.status_code, cancel.status_code) == (403, 403)
    assert "your role (viewer) does not allow it" in send.text
    assert stored(ports, order).state is State.SCHEDULED


async def test_a_technologist_cancels(ports: Ports, visitor: Visitor, order_factory: Orders) -> None:
    order = order_factory(state=State.SCHEDULED)
    async with visitor(Role.TECHNOLOGIST) as client:
        form = {"version": str(order.version), "back": f"/orders/{order.id}"}
        answer = await client.post(f"/orders/{order.id}/cancel", data=form)
        assert answer.status_code == 303
        assert "The order of Doe, Jane is cancelled." in (await client.get(f"/orders/{order.id}")).text
    assert stored(ports, order).state is State.CANCELLED


async def test_who_comes_second_is_told_who_was_first(
    ports: Ports, visitor: Visitor, order_factory: Orders
) -> None:
    order = order_factory(state=State.SCHEDULED, station="")
    async with visitor(Role.RECEPTION) as anna, visitor(Role.ADMIN) as tom:
        form = {"version": str(order.version), "station": "US1"}
        await anna.post(f"/orders/{order.id}/send", data=form)
        answer = await tom.post(f"/orders/{order.id}/send", data={**form, "station": "US2"})
    assert answer.status_code == 409
    assert "Someone was quicker" in answer.text
    assert "On US1" in answer.text
    assert "by reception" in answer.text
    assert stored(ports, order).station == "US1"


async def test_a_button_pressed_twice_is_no_conflict(
    ports: Ports, visitor: Visitor, order_factory: Orders
) -> None:
    order = order_factory(state=State.SCHEDULED)
    async with visitor(Role.RECEPTION) as client:
        form = {"version": str(order.version), "station": "US1"}
        answers = [await client.post(f"/orders/{order.id}/send", data=form) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 303]
    assert stored(ports, order).version == order.version + 1


async def test_a_version_that_is_no_number_is_refused(visitor: Visitor, order_factory: Orders) -> None:
    order = order_factory(state=State.SCHEDULED)
    async with visitor(Role.RECEPTION) as client:
        assert (await client.post(f"/orders/{order.id}/send", data={"version": "1x"})).status_code == 422


async def test_an_order_s_page_shows_where_every_value_came_from(
    ports: Ports, visitor: Visitor, order_factory: Orders
) -> None:
    order = order_factory()
    entry = Provenance(
        keyword="PatientBirthDate",
        value="19800214",
        place=Place(line=2, segment="PID", field=7, path="PID-7"),
        raw="1980-02-14",
        steps=("date",),
        at="orders-hl7.yaml:33",
    )
    with ports.database.write() as tx:
        orders.save(tx, replace(order, updated_at=ports.clock()), provenance=[entry])
    async with visitor(Role.TECHNOLOGIST) as client:
        page = (await client.get(f"/orders/{order.id}")).text
    for expected in ("line 2 PID-7", "1980-02-14", "date", "orders-hl7.yaml:33", order.study_uid):
        assert expected in page
    assert f'href="/messages/{order.message_id}"' in page
    assert f"<title>Order {order.id} · General Hospital</title>" in page


async def test_the_parts_of_a_sequence_stand_below_it(
    ports: Ports, visitor: Visitor, order_factory: Orders
) -> None:
    order = order_factory()
    sequence = "OtherPatientIDsSequence"
    told = [("action", "schedule"), (f"{sequence}[1].PatientID", "OTHER-8"), (sequence, "[...]")]
    entries = [
        Provenance(keyword=keyword, value=value, place=None, raw="", steps=(), at="m.yaml:3")
        for keyword, value in told
    ]
    attributes = {**order.attributes, sequence: ({"PatientID": "OTHER-8"},), "StudyID": "S1"}
    with ports.database.write() as tx:
        orders.save(tx, replace(order, attributes=attributes), provenance=entries)
    async with visitor(Role.TECHNOLOGIST) as client:
        page = (await client.get(f"/orders/{order.id}")).text
    table = page[page.index("Attributes and where they came from") :]
    places = [table.index(f'id="value-{name}"') for name in ("action", sequence, f"{sequence}[1].PatientID")]
    assert places == sorted(places)
    assert places[-1] < table.index('id="value-StudyID"')


async def test_opening_an_order_is_audited_and_its_live_updates_are_not(
    ports: Ports, visitor: Visitor, order_factory: Orders
) -> None:
    order = order_factory()
    async with visitor(Role.VIEWER) as client:
        await client.get(f"/orders/{order.id}")
        await client.get(f"/orders/{order.id}?fragment=1")
    with ports.database.read() as tx:
        events = audit.of_subject(tx, f"order:{order.id}")
    assert [(event.actor, event.action) for event in events] == [("user:viewer", "order.view")]


async def test_who_opened_it_is_shown_to_auditors_only(visitor: Visitor, order_factory: Orders) -> None:
    order = order_factory()
    async with visitor(Role.VIEWER) as viewer, visitor(Role.AUDITOR) as auditor:
        first = (await viewer.get(f"/orders/{order.id}")).text
        second = (await auditor.get(f"/orders/{order.id}")).text
    assert "Opened" not in first
    assert "Opened" in second
