"""A held message mended on the page of a real gateway, in Debian's Chromium without scripts."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


def test_a_held_message_is_found_edited_and_mapped_without_scripts(
    browser: "Browser", serve: Callable[..., Any], order: Callable[..., bytes], screenshots: Path
) -> None:
    # It asks again until it is so: a click does not wait for the next page.
    from playwright.sync_api import expect

    gateway = serve()
    gateway.say_hl7(
        order("A100", name="NOVÁK^PETR").replace(b"MRN100^^^GENHOSP^MR", b""),
        order("A101", patient_id="MRN101", name="O'NEILL^SIOBHÁN"),
        order("A102", trigger="ZZZ^Z01"),
    )
    gateway.command("user", "add", "anna", "--role", "admin", given="a long password\n")
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.goto(f"{gateway.url}/messages")
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill("a long password")
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("h1")).to_have_text("Messages")
    page.screenshot(path=screenshots / "messages.png")
    page.get_by_label("Find").fill("novák")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("row")).to_have_count(2)
    expect(page).to_have_url(f"{gateway.url}/messages")
    page.screenshot(path=screenshots / "messages-found.png")
    page.get_by_role("link", name="1", exact=True).click()
    expect(page.locator("h1")).to_have_text("Message 1")
    page.screenshot(path=screenshots / "message-held.png", full_page=True)
    page.get_by_role("link", name="Edit and retry").click()
    text = page.get_by_label("Message, one segment a line")
    text.fill(text.input_value().replace("PID|1||||", "PID|1||MRN100^^^GENHOSP^MR||"))
    page.get_by_label("Why", exact=True).fill("asked the ward")
    page.screenshot(path=screenshots / "message-edit.png")
    page.get_by_role("button", name="Try the edited copy").click()
    expect(page.locator("h1")).to_have_text("Message 4")
    expect(page.locator(".title .chip")).to_have_text("Mapped")
    page.goto(f"{gateway.url}/messages/1")
    expect(page.locator(".title .chip")).to_have_text("Superseded")
    context.close()
