"""The page of merged patients."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from gateway.flow.place import place
from gateway.flow.ports import Ports
from gateway.model.ids import MergeId
from gateway.model.lifecycle import State
from gateway.model.order import Action, ModuleRef, Order, OrderRequest
from gateway.model.user import Role
from gateway.store import merges, orders

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.web.conftest import Served

pytestmark = pytest.mark.anyio

Orders = Callable[..., Order]
Visitor = Callable[..., httpx.AsyncClient]


def _merge(ports: Ports, order: Order, prior: str, survivor: str) -> None:
    request = OrderRequest(
        action=Action.MERGE, attributes={"PatientID": survivor, "PriorPatientID": prior, "PatientName": "Doe^<Jane>"},
        provenance=(), faults=(), module=ModuleRef(name="m", version="1"),
    )  # fmt: skip
    with ports.database.write() as tx:
        place(
            tx,
            ports,
            [request],
            source="ris",
            message_id=order.message_id,
            actor="hl7v2:ris",
            at=ports.clock(),
        )


def _patient(ports: Ports, order: Order) -> str:
    with ports.database.read() as tx:
        return orders.show(tx, order.id).patient.patient_id


async def test_the_page_says_who_was_merged_into_whom_and_what_moved(
    ports: Ports, order_factory: Orders, visitor: Visitor
) -> None:
    order = order_factory(patient_id="A")
    _merge(ports, order, "A", "B")
    _merge(ports, order, "X", "Y")
    client = visitor(Role.RECEPTION)
    page = await client.get("/merges")
    assert page.status_code == 200
    assert f'<a href="/orders/{order.id}">order {order.id}</a>' in page.text
    assert "Doe, &lt;Jane&gt;" in page.text
    assert 'id="merge-1"' in page.text
    assert 'id="merge-2"' not in page.text
    assert "1 more moved nothing here" in page.text
    assert "/merges/1/undo" not in page.text  # reception changes no orders
    assert 'id="merge-2"' in (await client.get("/merges?state=all")).text
    shown = await client.get(f"/orders/{order.id}")
    assert "Moved to the patient it was merged into" in shown.text


async def test_a_technologist_undoes_a_merge(ports: Ports, order_factory: Orders, visitor: Visitor) -> None:
    order = order_factory(patient_id="A")
    _merge(ports, order, "A", "B")
    client = visitor(Role.TECHNOLOGIST)
    assert "/merges/1/undo" in (await client.get("/merges")).text
    gone = await client.post("/merges/1/undo")
    assert (gone.status_code, _patient(ports, order)) == (303, "A")
    assert "The merge is undone" in (await client.get("/merges")).text
    with ports.database.read() as tx:
        assert merges.show(tx, MergeId(1)).undone_by == "user:technologist"
    twice = await client.post("/merges/1/undo")
    assert (twice.status_code, "undone already" in twice.text) == (409, True)
    assert (await client.post("/merges/9/undo")).status_code == 404


async def test_a_merge_that_cannot_be_undone_says_why(
    ports: Ports, order_factory: Orders, visitor: Visitor
) -> None:
    order = order_factory(patient_id="A")
    _merge(ports, order, "A", "B")
    _merge(ports, order, "B", "C")
    page = await visitor(Role.TECHNOLOGIST).get("/merges")
    assert "undo merge 2 first" in page.text
    assert "/merges/1/undo" not in page.text


async def test_reception_and_strangers_undo_nothing(
    ports: Ports, order_factory: Orders, visitor: Visitor
) -> None:
    order = order_factory(patient_id="A")
    _merge(ports, order, "A", "B")
    assert (await visitor(Role.RECEPTION).post("/merges/1/undo")).status_code == 403
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    assert (await visitor(Role.ADMIN).post("/merges/1/undo", headers=elsewhere)).status_code == 403
    assert _patient(ports, order) == "B"


@pytest.mark.browser
def test_the_page_in_a_browser(
    browser: "Browser",
    served: "Served",
    token: Callable[[Role], str],
    ports: Ports,
    order_factory: Orders,
    screenshots: Path,
) -> None:
    order = order_factory(patient_id="MRN100", issuer="GENHOSP")
    running = order_factory(patient_id="MRN7", state=State.STARTED, name="Roe^Richard")
    _merge(ports, order, "MRN7", "MRN8")
    with ports.database.write() as tx:
        orders.show(tx, running.id)
    order_factory(patient_id="MRN200", name="Doe^Jane^Q")
    moved = order_factory(patient_id="MRN300", name="Doe^Jane")
    _merge(ports, moved, "MRN300", "MRN200")
    context = browser.new_context(viewport={"width": 1280, "height": 700})
    context.add_cookies([{"name": "gateway", "value": token(Role.TECHNOLOGIST), "url": served.at("/")}])
    page = context.new_page()
    page.goto(served.at("/merges"))
    page.get_by_text("Undo…").first.click()
    page.screenshot(path=screenshots / "merges.png")
    page.get_by_role("button", name="Undo merge 2").click()
    page.get_by_text("The merge is undone").first.wait_for()
    assert _patient(ports, moved) == "MRN300"
    context.close()
