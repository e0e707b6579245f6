"""A receptionist at a real gateway, in Debian's Chromium, while a simulated ultrasound answers."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from gateway.model.ids import uid_from_uuid
from gateway.simulate import machine

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


@pytest.fixture
def gateway(serve: Callable[..., Any], order: Callable[..., bytes]) -> Any:
    served = serve()
    today = time.strftime("%Y%m%d")
    served.say_hl7(
        order("A100", name="OKAFOR^ADAEZE^N", start=f"{today}084000"),
        order("A101", patient_id="MRN101", name="NOVÁK^PETR", start=f"{today}091500"),
        order("A102", patient_id="MRN102", name="LINDQVIST^ASTRID", start=f"{today}094500"),
        order("A103", patient_id="MRN103", name="O'NEILL^SIOBHÁN", start=f"{today}103000"),
    )
    served.command("user", "add", "anna", "--role", "reception", given="a long password\n")
    return served


def _log_in(browser: "Browser", gateway: Any) -> "Page":
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(20_000)
    page.goto(gateway.url)
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill("a long password")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector("#live[data-state=live]")
    return page


def _row(page: "Page", accession: str) -> Any:
    return page.locator("tr", has_text=accession).first


def _examine(gateway: Any, accession: str) -> None:
    (entry,) = machine.query("127.0.0.1", gateway.worklist, calling_ae="US1", AccessionNumber=accession)
    objects = machine.acquire(entry, now=datetime.now(UTC), new_uid=lambda: uid_from_uuid(uuid4()))
    stored = machine.store(objects, "127.0.0.1", gateway.storage, calling_ae="US1")
    assert all(one.status == 0 for one in stored)


def test_she_sends_a_patient_and_sees_the_images_come_without_reloading(
    browser: "Browser", gateway: Any, screenshots: Path
) -> None:
    page = _log_in(browser, gateway)
    page.evaluate("window.mark = 1")
    for accession in ("A100", "A101"):
        _row(page, accession).get_by_role("button", name="Ultrasound 1").click()
        _row(page, accession).get_by_text("On US1").wait_for()
    _examine(gateway, "A100")
    pictures = _row(page, "A100").locator("img")
    pictures.first.wait_for()
    page.wait_for_function(
        "a => [...document.querySelectorAll('tr')].find(r => r.textContent.includes(a))"
        ".querySelector('img').naturalWidth > 0",
        arg="A100",
    )
    _row(page, "A100").get_by_text("cm").first.wait_for()
    _row(page, "A100").get_by_text("Done").wait_for()
    assert page.evaluate("window.mark") == 1
    page.screenshot(path=screenshots / "dashboard.png", full_page=True)
    assert (screenshots / "dashboard.png").stat().st_size > 20_000


def test_recall_takes_the_patient_off_the_machine(browser: "Browser", gateway: Any) -> None:
    page = _log_in(browser, gateway)
    _row(page, "A101").get_by_role("button", name="Ultrasound 2").click()
    _row(page, "A101").get_by_role("button", name="Recall").click()
    _row(page, "A101").get_by_text("Ready").wait_for()
    assert machine.query("127.0.0.1", gateway.worklist, calling_ae="US2") == ()
