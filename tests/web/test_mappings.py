"""The page of the mapping modules, the diff before activation, and the trace on an order's page."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.applications import Starlette

from gateway.flow.ports import Ports
from gateway.flow.receive import receive
from gateway.mapping.replay import Readable
from gateway.mapping.watch import Watch, edition
from gateway.model.er7 import read_er7
from gateway.model.ids import OrderId
from gateway.model.message import Inbound, Interpretation, Keys, Message, Protocol
from gateway.model.user import Role
from gateway.store import audit, orders

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.web.conftest import Served

ROOT = Path(__file__).parents[2]
Visitor = Callable[..., httpx.AsyncClient]

ORDER = (
    "MSH|^~\\&|RIS|GENHOSP|GW|RAD|20261123093000||ORM^O01|C1|P|2.5.1\r"
    "PID|1||MRN1^^^GENHOSP^MR||DOE^<b>JANE</b>||19800214|F\r"
    "ORC|NW|P1|F1||||^^^20261123103000^^R\r"
    "OBR|1|P1|F1|USABD^Abdomen ultrasound^L||||||||||||7654^HOUSE^GREGORY||ACC1|RP1|||||US\r"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy = tmp_path / "mappings"
    shutil.copytree(ROOT / "mappings", copy)
    return copy


@pytest.fixture
def watch(folder: Path) -> Watch:
    return Watch(folder, {"timezone": "Europe/London"}, is_automatic=False)


class _Faults:
    """The faults as they stand when the page is drawn."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def __iter__(self) -> Iterator[str]:
        return iter(self._watch.active.faults)


def read(message: Message) -> Readable:
    return Readable(text=message.raw.decode(), content=read_er7(message.raw.decode()))


@pytest.fixture
def app(make_app: Callable[..., Starlette], watch: Watch, trouble: Any) -> Starlette:
    trouble.warnings = _Faults(watch)
    return make_app(mappings=watch, read=read)


@pytest.fixture
def order(ports: Ports, watch: Watch) -> OrderId:
    """An order that came by HL7."""

    def interpret(raw: bytes) -> Interpretation:
        mapped = watch.active.map_hl7(read_er7(raw.decode()))
        return Interpretation(keys=Keys(control_id="C1"), mapped=mapped)

    inbound = Inbound(protocol=Protocol.HL7V2, source="ris", peer="127.0.0.1", raw=ORDER.encode())
    receive(ports, inbound, interpret, lambda _: b"")
    with ports.database.read() as tx:
        (made,) = orders.newest(tx)
    return made.id


def change(folder: Path, old: str, new: str) -> None:
    path = folder / "orders-hl7.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    head, examples, _ = text.partition("\nexamples:")
    assert examples
    path.write_text(head.replace(old, new, 1) + "\n", encoding="utf-8")
    at = path.stat().st_mtime_ns + 1_000_000
    os.utime(path, ns=(at, at))


@pytest.mark.anyio
async def test_the_page_lists_what_is_in_use_with_version_and_match(visitor: Visitor, watch: Watch) -> None:
    async with visitor(Role.ADMIN) as client:
        page = (await client.get("/mappings")).text
    assert watch.active.module("clinic-us").ref.version in page
    assert "MSH-4.1 is CLINICUS" in page
    assert "not active" not in page
    assert '<a href="/mappings" aria-current="page">' in page


@pytest.mark.anyio
@pytest.mark.parametrize("role", [Role.VIEWER, Role.RECEPTION, Role.TECHNOLOGIST, Role.AUDITOR])
async def test_only_an_administrator_sees_and_activates(visitor: Visitor, role: Role) -> None:
    async with visitor(role) as client:
        assert (await client.get("/mappings")).status_code == 403
        assert (await client.get("/mappings/changes")).status_code == 403
        assert (await client.post("/mappings/activate", data={"edition": ""})).status_code == 403
        assert "/mappings" not in (await client.get("/")).text


@pytest.mark.anyio
async def test_a_change_waits_is_tried_and_activated_and_that_is_audited(
    ports: Ports, visitor: Visitor, watch: Watch, folder: Path, order: OrderId
) -> None:
    change(folder, "OBR-18, ORC-3.1", "ORC-3.1, OBR-18")
    watch.look()
    waiting = watch.standing.pending
    assert waiting is not None
    async with visitor(Role.ADMIN) as client:
        page = (await client.get("/mappings")).text
        assert "Changed, not active" in page
        assert "in use; changed, not active" in page
        changes = (await client.get("/mappings/changes")).text
        assert "<b>1</b> message compared: 0 lost, 0 new, 1 changed." in changes
        assert re.search(r"<td>Accession Number</td><td>ACC1</td><td>F1</td>", changes)
        stale = await client.post("/mappings/activate", data={"edition": "x@1"})
        assert stale.status_code == 409
        done = await client.post("/mappings/activate", data={"edition": edition(waiting)})
        assert (done.status_code, done.headers["location"]) == (303, "/mappings")
        assert "The changed mappings are in use." in (await client.get("/mappings")).text
        assert (await client.get("/mappings/changes")).status_code == 404
    assert watch.active is waiting
    with ports.database.read() as tx:
        events = audit.of_subject(tx, "mappings")
    assert [(event.actor, event.action) for event in events] == [
        ("user:admin", "mappings.view"), ("user:admin", "mappings.activate"),
    ]  # fmt: skip


@pytest.mark.anyio
async def test_a_form_of_another_site_activates_nothing(visitor: Visitor, watch: Watch, folder: Path) -> None:
    change(folder, "OBR-18, ORC-3.1", "ORC-3.1, OBR-18")
    watch.look()
    waiting = watch.standing.pending
    assert waiting is not None
    async with visitor(Role.ADMIN, **{"Sec-Fetch-Site": "cross-site"}) as client:
        answer = await client.post("/mappings/activate", data={"edition": edition(waiting)})
    assert answer.status_code == 403
    assert watch.standing.pending is waiting


@pytest.mark.anyio
async def test_a_bad_file_is_told_on_the_dashboard_and_changes_nothing(
    visitor: Visitor, watch: Watch, folder: Path
) -> None:
    before = edition(watch.active)
    change(folder, "OBR-18, ORC-3.1", "OBR-18, nonsense(")
    watch.look()
    async with visitor(Role.ADMIN) as client:
        dashboard, page = (await client.get("/")).text, (await client.get("/mappings")).text
    assert "orders-hl7.yaml:" in dashboard
    assert "nonsense(" in dashboard
    assert "Files with faults are not used" in page
    assert edition(watch.active) == before


@pytest.mark.anyio
async def test_what_the_check_finds_odd_is_told_on_the_page_and_stops_nothing(
    visitor: Visitor, watch: Watch, folder: Path
) -> None:
    change(folder, "do: [name_xpn], required: hold", "do: [name_xpn], required: hold, max: 999")
    watch.look()
    assert watch.standing.active.faults == ()
    async with visitor(Role.ADMIN) as client:
        page = (await client.get("/mappings")).text
    assert "Worth a look" in page
    assert "max 999 changes nothing" in page


@pytest.mark.anyio
async def test_an_order_s_page_marks_the_message_and_links_both_ways(
    visitor: Visitor, order: OrderId
) -> None:
    async with visitor(Role.TECHNOLOGIST) as client:
        page = (await client.get(f"/orders/{order}")).text
    found = re.search(
        r'<a class="used" id="(at-4-\d+)" href="#value-AccessionNumber" data-made="([^"]*)">ACC1</a>', page
    )
    assert found is not None
    assert "Accession Number" in found[2]
    assert f'<a href="#{found[1]}">line 4 OBR-18</a>' in page
    assert 'id="value-AccessionNumber"' in page
    assert "empty before it: IPC-1.1" in page
    targets = set(re.findall(r'href="#([^"]+)"', page))
    assert targets <= set(re.findall(r'id="([^"]+)"', page))


@pytest.mark.anyio
async def test_what_a_sender_writes_is_escaped(visitor: Visitor, order: OrderId) -> None:
    async with visitor(Role.TECHNOLOGIST) as client:
        page = (await client.get(f"/orders/{order}")).text
    assert "<b>JANE" not in page
    assert "&lt;b&gt;JANE&lt;/b&gt;" in page


@pytest.mark.anyio
async def test_who_may_not_read_messages_sees_the_values_without_the_message(
    visitor: Visitor, order: OrderId
) -> None:
    async with visitor(Role.RECEPTION) as client:
        page = (await client.get(f"/orders/{order}")).text
    assert "line 4 OBR-18" in page
    assert 'class="used"' not in page


@pytest.mark.browser
def test_the_trace_works_without_scripts(
    browser: "Browser",
    served: "Served",
    token: Callable[[Role], str],
    order: OrderId,
    watch: Watch,
    folder: Path,
    screenshots: Path,
) -> None:
    change(folder, "OBR-18, ORC-3.1", "ORC-3.1, OBR-18")
    watch.look()
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    context.add_cookies([{"name": "gateway", "value": token(Role.ADMIN), "url": served.at("/")}])
    page = context.new_page()
    page.goto(served.at(f"/orders/{order}"))
    page.locator("tr#value-AccessionNumber a").click()
    mark = page.locator("a.used:target")
    assert mark.inner_text() == "ACC1"
    content = mark.evaluate("element => getComputedStyle(element, '::after').content")
    assert "Accession Number" in content
    page.locator("#attributes").scroll_into_view_if_needed()
    page.screenshot(path=screenshots / "order-trace.png", full_page=True)
    for name, path in (("mappings", "/mappings"), ("mapping-changes", "/mappings/changes")):
        page.goto(served.at(path))
        page.screenshot(path=screenshots / f"{name}.png", full_page=True)
    context.close()
