"""Messages found, tried again, edited and put away from the terminal, and those that a crash left unmapped."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def gateway(serve: Callable[..., Any]) -> Any:
    return serve()


def _rows(gateway: Any, *words: str) -> list[dict[str, Any]]:
    listed = gateway.command("messages", "list", "--json", *words)
    assert listed.returncode == 0, listed.stderr
    return [json.loads(line) for line in listed.stdout.splitlines()]


def test_a_held_message_is_edited_and_its_order_is_ready(
    gateway: Any, order: Callable[..., bytes], tmp_path: Path
) -> None:
    held = order("A100").replace(b"MRN100^^^GENHOSP^MR", b"")
    gateway.say_hl7(held, order("A101", patient_id="MRN101", name="NOVÁK^PETR"))
    (row,) = _rows(gateway, "--state", "held")
    assert [one["id"] for one in _rows(gateway, "--find", "novak")] == [2]
    again = gateway.command("messages", "replay", str(row["id"]))
    assert (again.returncode, "message 1: held" in again.stdout) == (1, True)
    edited = tmp_path / "edited.hl7"
    edited.write_text(order("A100").decode().replace("\r", "\n"), encoding="utf-8")
    done = gateway.command("messages", "edit", "1", "--file", str(edited), "--reason", "asked the ward")
    assert (done.returncode, done.stdout) == (0, "message 3, an edited copy of 1: mapped\n")
    orders = gateway.command("orders", "list", "--json").stdout.splitlines()
    assert sorted(json.loads(one)["accession"] for one in orders) == ["A100", "A101"]
    shown = gateway.command("messages", "show", "1").stdout
    assert "message.edit: message:3: asked the ward; held" in shown
    assert "--- superseded: edited as message 3: asked the ward" in shown


def test_a_message_nobody_maps_is_put_away_with_a_reason(gateway: Any, order: Callable[..., bytes]) -> None:
    gateway.say_hl7(order("A100", trigger="ZZZ^Z01"))
    assert [row["state"] for row in _rows(gateway)] == ["failed"]
    assert gateway.command("messages", "discard", "1").returncode == 2
    done = gateway.command("messages", "discard", "1", "--reason", "a test")
    assert (done.returncode, done.stdout) == (0, "message 1: discarded\n")
    refused = gateway.command("messages", "discard", "1", "99", "--reason", "a test")
    assert refused.returncode == 1
    assert "message 1 is discarded: it cannot be put away" in refused.stderr
    assert "message 99: there is none with that number" in refused.stderr
