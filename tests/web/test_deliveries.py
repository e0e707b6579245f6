"""The page of what other systems are told: what, to whom, how it went, and the button that tries again."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.flow.ports import Ports
from gateway.model.delivery import DeliveryState, Outgoing
from gateway.model.order import Order
from gateway.model.user import Role
from gateway.store import outbox
from gateway.web.wording import news_words, told_chip

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.web.conftest import Served

FAILED = "answered AR: OBX-5; Table value not found; the order is closed"


def _owe(ports: Ports, order: Order, kind: str, state: DeliveryState, error: str = "") -> None:
    news = Outgoing(
        destination="ris", kind=kind, key=f"order:{order.id}", order_id=order.id, payload=b"", in_turn=True
    )
    with ports.database.write() as tx:
        outbox.add(tx, news, ports.clock())
        claimed = next(iter(outbox.claim(tx, ports.clock(), timedelta(seconds=30))), None)
        assert claimed is not None
        again = ports.clock() + timedelta(days=1)
        outbox.settle(tx, claimed, state, at=ports.clock(), next_at=again, error=error)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("ORM^O01 IP", "Order started (ORM^O01)"),
        ("OMG^O19 CA", "Order cancelled (OMG^O19)"),
        ("ORU^R01", "Results (ORU^R01)"),
        ("ImagingStudy", "Study (ImagingStudy)"),
        ("Other", "Other"),
    ],
)
def test_news_is_named_as_people_say_it(kind: str, words: str) -> None:
    assert news_words(kind) == words


def test_an_order_whose_start_was_told_is_not_yet_told_to_the_ehr(
    ports: Ports, order_factory: Callable[..., Order]
) -> None:
    order = order_factory()
    _owe(ports, order, "ORM^O01 IP", DeliveryState.DELIVERED)
    with ports.database.read() as tx:
        assert told_chip(outbox.newest(tx)) is None
    _owe(ports, order, "ORM^O01 CM", DeliveryState.DEAD)
    with ports.database.read() as tx:
        chip = told_chip(outbox.newest(tx))
    assert chip is not None
    assert chip.label == "Failed"


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_a_failed_one_shows_what_was_said_and_is_tried_again(
    ports: Ports,
    order_factory: Callable[..., Order],
    browser: "Browser",
    served: "Served",
    token: Callable[[Role], str],
    screenshots: Path,
    width: int,
) -> None:
    order = order_factory()
    _owe(ports, order, "ORM^O01 IP", DeliveryState.DELIVERED)
    _owe(ports, order, "ORM^O01 CM", DeliveryState.DELIVERED)
    _owe(ports, order, "ORU^R01", DeliveryState.DEAD, FAILED)
    context = browser.new_context(viewport={"width": width, "height": 700})
    context.add_cookies([{"name": "gateway", "value": token(Role.ADMIN), "url": served.at("/", "127.0.0.1")}])
    page = context.new_page()
    page.goto(served.at("/deliveries", "127.0.0.1"))
    row = page.locator("tr", has_text="Results (ORU^R01)")
    assert FAILED in row.inner_text()
    page.screenshot(path=screenshots / f"deliveries-{width}.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    row.get_by_role("button", name="Try again now").click()
    page.locator("#notice", has_text="on its way again").wait_for()
    context.close()
    with ports.database.read() as tx:
        assert outbox.newest(tx)[0].state is DeliveryState.PENDING
