"""The page in Debian's Chromium: live with its script, whole without it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.flow import admit, release
from gateway.flow.ports import Ports
from gateway.model.lifecycle import State
from gateway.model.message import MessageState
from gateway.model.order import Order, UnknownCode
from gateway.model.user import Role
from gateway.store import codes, inbox, orders

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

    from tests.conftest import FakeClock
    from tests.web.conftest import Machine, Served, Trouble

pytestmark = pytest.mark.browser

Orders = Callable[..., Order]
Visits = Callable[..., "Page"]

HOST = "gateway.test"  # to the browser no trustworthy address: it sends no Sec-Fetch-Site there


@pytest.fixture
def visit(
    browser: "Browser", served: "Served", token: Callable[[Role], str]
) -> Iterator[Callable[..., "Page"]]:
    """A page of a logged-in receptionist; nothing may complain in its console."""
    complaints: list[str] = []
    opened = []

    def open_page(path: str = "/", *, script: bool = True, host: str = "127.0.0.1") -> "Page":
        context = browser.new_context(java_script_enabled=script, viewport={"width": 1280, "height": 800})
        opened.append(context)
        context.add_cookies(
            [{"name": "gateway", "value": token(Role.RECEPTION), "url": served.at("/", host)}]
        )
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text) if _is_complaint(line) else None)
        page.goto(served.at(path, host))
        return page

    yield open_page
    for context in opened:
        context.close()
    assert complaints == []


def _is_complaint(line: "ConsoleMessage") -> bool:
    """Whether the browser found fault with the page; an answer that is no success is none."""
    return line.type == "error" and not line.text.startswith("Failed to load resource")


def stored(ports: Ports, order: Order) -> Order:
    with ports.database.read() as tx:
        return orders.show(tx, order.id)


def listening(page: "Page") -> None:
    """The page hears of changes from now on."""
    page.wait_for_selector("#live[data-state=live]")


@contextmanager
def without_reload(page: "Page") -> Iterator[None]:
    """The document is the same one afterwards."""
    page.evaluate("window.mark = 1")
    yield
    assert page.evaluate("window.mark") == 1


@pytest.mark.parametrize("host", ["127.0.0.1", HOST])
def test_send_changes_the_chip_without_a_reload(
    ports: Ports, visit: Visits, order_factory: Orders, host: str
) -> None:
    order = order_factory(state=State.SCHEDULED, station="")
    page = visit(host=host)
    listening(page)
    row = page.locator(f"#order-{order.id}")
    with without_reload(page):
        row.get_by_role("button", name="Send to machine Ultrasound 2").click()
        row.locator(".chip.sent", has_text="On US2").wait_for()
        page.locator("#notice", has_text="Doe, Jane is now on Ultrasound 2.").wait_for()
    assert stored(ports, order).state is State.SENT
    assert page.evaluate("document.activeElement.textContent").startswith("Recall")


def test_undo_takes_it_back(ports: Ports, visit: Visits, order_factory: Orders) -> None:
    order = order_factory(state=State.SCHEDULED, station="US1")
    page = visit()
    page.locator(f"#order-{order.id}").get_by_role("button", name="Send to machine Ultrasound 1").click()
    page.get_by_role("button", name="Undo").click()
    page.locator(f"#order-{order.id} .chip", has_text="Ready").wait_for()
    page.locator("#notice", has_text="was taken off").wait_for()
    assert stored(ports, order).state is State.SCHEDULED


def test_a_thumbnail_appears_without_a_reload(
    visit: Visits, order_factory: Orders, machine: "Machine"
) -> None:
    order = order_factory(state=State.SENT)
    page = visit()
    listening(page)
    with without_reload(page):
        sent = machine.send(order)
        page.locator(f"#order-{order.id}", has_text="1 image").wait_for()
        machine.examine(sent)
        shown = page.locator(f"#order-{order.id} img")
        shown.wait_for()
        assert shown.evaluate("image => image.decode().then(() => image.naturalWidth)") == 200


def test_a_new_order_appears_and_leaves_what_is_in_use_alone(
    ports: Ports, visit: Visits, order_factory: Orders
) -> None:
    late = order_factory(state=State.SCHEDULED, station="", start="2026-11-23T15:00:00+00:00")
    page = visit()
    listening(page)
    button = page.locator(f"#order-{late.id}").get_by_role("button", name="Send to machine Ultrasound 1")
    button.focus()
    held = button.element_handle()
    with without_reload(page):
        early = order_factory(
            accession="A2", patient_id="2", name="Roe^Rita", start="2026-11-23T08:00:00+00:00"
        )
        page.locator(f"#order-{early.id}").wait_for()
        release.send(ports, late.id, actor="user:tom", station="US2")
        page.locator(f"#order-{late.id} .chip.sent").wait_for()
        assert held is not None
        assert held.evaluate("it => it.isConnected && document.activeElement === it")
        first = page.locator("#rows tr").first
        assert first.get_attribute("id") == f"order-{early.id}"
        page.locator("#find").focus()
        page.locator(f"#order-{late.id}").get_by_role("button", name="Recall").wait_for()
    assert page.locator("#announce").text_content() != ""


def test_who_comes_second_is_told_without_a_reload(
    ports: Ports, visit: Visits, order_factory: Orders
) -> None:
    order = order_factory(state=State.SCHEDULED, station="")
    page = visit()
    page.route("**/events*", lambda route: route.abort())  # this page hears of nothing
    page.goto(page.url)
    release.send(ports, order.id, actor="user:tom", station="US2")
    with without_reload(page):
        page.locator(f"#order-{order.id}").get_by_role("button", name="Send to machine Ultrasound 1").click()
        page.locator("#notice [role=alert]", has_text="Nothing was done").wait_for()
    assert stored(ports, order).station == "US2"


def test_what_is_typed_to_find_somebody_stays_in_the_page(visit: Visits, order_factory: Orders) -> None:
    order_factory()
    other = order_factory(accession="A2", patient_id="2", name="Roe^Rita")
    page = visit()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.fill("#find", "roe")
    page.locator("#found", has_text="1 of 2").wait_for()
    assert page.locator("tr[id^=order-]:visible").count() == 1
    page.press("#find", "Enter")
    assert page.evaluate("document.activeElement.closest('tr').id") == f"order-{other.id}"
    assert not any("roe" in url for url in asked)


def test_a_session_that_ends_leads_to_the_login(ports: Ports, visit: Visits, order_factory: Orders) -> None:
    order = order_factory(state=State.SCHEDULED, station="US1")
    page = visit()
    listening(page)
    admit.log_out(ports, f"token-{Role.RECEPTION}")
    page.locator(f"#order-{order.id}").get_by_role("button", name="Send to machine Ultrasound 1").click()
    page.wait_for_url("**/login*")


@pytest.mark.parametrize("host", ["127.0.0.1", HOST])
def test_plain_forms_do_the_same_without_the_script(
    ports: Ports, visit: Visits, order_factory: Orders, machine: "Machine", host: str
) -> None:
    order = order_factory(state=State.SCHEDULED, station="")
    page = visit(script=False, host=host)
    page.locator(f"#order-{order.id}").get_by_role("button", name="Send to machine Ultrasound 1").click()
    page.locator(f"#order-{order.id} .chip", has_text="On US1").wait_for()
    assert page.locator("#notice").inner_text().startswith("Doe, Jane is now on Ultrasound 1.")
    assert stored(ports, order).state is State.SENT
    machine.examine(machine.send(order))
    page.get_by_role("link", name="Load it again").click()
    page.locator(f"#order-{order.id} img").wait_for()
    page.locator(f"#order-{order.id}").get_by_role("button", name="Recall").click()
    page.locator(f"#order-{order.id} .chip", has_text="Ready").wait_for()


@pytest.mark.parametrize("width", [1280, 820, 390])
def test_nothing_sticks_out_of_the_window(
    visit: Visits, order_factory: Orders, machine: "Machine", width: int
) -> None:
    started = order_factory(state=State.STARTED, name="Longfamilyname-Hyphenated^Maria Josefina")
    for _ in range(5):
        machine.examine(machine.send(started))
    order_factory(state=State.SCHEDULED, station="", accession="A2", patient_id="2")
    page = visit()
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert (
        page.evaluate(
            "document.querySelector('.scroll').scrollWidth - document.querySelector('.scroll').clientWidth"
        )
        <= 0
    )


@pytest.mark.parametrize("width", [1280, 390])
def test_the_health_page_says_what_to_do_on_any_screen(
    ports: Ports,
    visit: Visits,
    order_factory: Orders,
    clock: "FakeClock",
    trouble: "Trouble",
    screenshots: Path,
    width: int,
) -> None:
    held = order_factory()
    trouble.parts["disk"] = "store.files: only 120 MB are free"
    with ports.database.write() as tx:
        inbox.settle(tx, held.message_id, MessageState.HELD, "a doubt", clock())
        codes.sighted(tx, "ris", [UnknownCode(table="modality", code="XRX")], clock())
    for _ in range(25):
        ports.tally.count("connections", "ris")
    clock.advance(seconds=3 * 3600 + 20 * 60)
    page = visit()
    page.set_viewport_size({"width": width, "height": 900})
    page.get_by_role("link", name="Health").click()
    page.get_by_text("It has been silent for 3 h 20 min").wait_for()
    assert page.get_by_text("Act now").count() == 2
    page.screenshot(path=screenshots / f"health-{width}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
