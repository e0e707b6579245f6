"""The commands of the mapping modules beside a running gateway; the analyst's guide, played as it is written."""

import json
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "mappings.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "mappings"
    shutil.copytree(ROOT / "mappings", copy)
    monkeypatch.setenv("GATEWAY_MAPPINGS__FOLDER", str(copy))
    return copy


@pytest.fixture
def gateway(folder: Path, serve: Callable[..., Any]) -> Any:
    served = serve()
    (served.config.parent / "mappings").symlink_to(folder)
    return served


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.1)
    return False


def module_of(gateway: Any) -> str:
    """The module that mapped the newest message."""
    rows = [json.loads(line) for line in gateway.command("messages", "list", "--json").stdout.splitlines()]
    return str(rows[0]["module"]).partition("@")[0]


def test_the_guide_does_what_it_says(gateway: Any) -> None:
    here = gateway.config.parent
    message = next(text for kind, text in BLOCKS if kind == "hl7")
    (here / "north.hl7").write_text(message, encoding="utf-8")
    gateway.say_hl7(message.encode())
    played = 0
    for kind, text in BLOCKS:
        if kind == "diff":
            _edit(here / "north.yaml", text)
        elif kind == "yaml":
            written = (here / "north.yaml").read_text(encoding="utf-8").splitlines()
            assert [line for line in text.splitlines() if not any(w.startswith(line) for w in written)] == []
        elif kind == "console":
            for step in text.split("$ ")[1:]:
                _play(gateway, *step.splitlines())
                played += 1
    assert played == 7
    gateway.say_hl7(message.replace("MSG0001", "MSG0002").encode())
    assert within(10, lambda: module_of(gateway) == "north" or not gateway.say_hl7(_again(message)))


def _again(message: str) -> bytes:
    return message.replace("MSG0001", f"MSG{time.monotonic_ns()}").encode()


def _edit(path: Path, text: str) -> None:
    lines = text.splitlines()
    content = path.read_text(encoding="utf-8")
    for old, new in zip(lines[::2], lines[1::2], strict=True):
        assert old.removeprefix("-") in content
        content = content.replace(old.removeprefix("-"), new.removeprefix("+"))
    path.write_text(content, encoding="utf-8")


def _play(gateway: Any, command: str, *expected: str) -> None:
    words = command.split()
    if words[0] == "cp":
        shutil.copy(gateway.config.parent / words[1], gateway.config.parent / words[2])
        return
    done = gateway.command(*words[1:])
    assert done.returncode == 0, done.stderr
    assert [line for line in expected if line and line not in done.stdout] == []


def test_a_changed_module_counts_without_a_restart_and_a_bad_one_does_not(
    gateway: Any, folder: Path, order: Callable[..., bytes]
) -> None:
    path = folder / "orders-hl7.yaml"
    good = path.read_text(encoding="utf-8")
    path.write_text(good.replace("do: [name_xpn]", "do: [name_xpm]"), encoding="utf-8")

    def trouble() -> str:
        try:
            return str(urllib.request.urlopen(f"{gateway.url}/readyz", timeout=5).read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode()

    assert within(15, lambda: '"mappings":"ok","workers":"ok","warnings":1' in trouble())
    assert b"MSA|AA|CA1" in gateway.say_hl7(order("A1"))[0]
    assert "did you mean 'name_xpn'?" in gateway.command("map", "check").stderr
    path.write_text(good, encoding="utf-8")
    assert within(15, lambda: '"warnings":0' in trouble())
    (folder / "late.yaml").write_text(
        "mapping: late\nextends: orders-hl7\nmatch: {MSH-4.1: GENHOSP}\n"
        "fields:\n  AccessionNumber: {from: OBR-19}\n",
        encoding="utf-8",
    )
    numbers = iter(range(2, 100))

    def is_used() -> bool:
        gateway.say_hl7(order(f"A{next(numbers)}"))
        return module_of(gateway) == "late"

    assert within(15, is_used)


def test_a_lost_entry_is_told_and_fails_the_command(
    gateway: Any, folder: Path, order: Callable[..., bytes]
) -> None:
    gateway.say_hl7(order("A1"))
    changed = gateway.config.parent / "lost.yaml"
    changed.write_text(
        "mapping: lost\nextends: orders-hl7\nmatch: {MSH-4.1: GENHOSP}\n"
        "skip:\n  - when: {OBR-24: US}\n    because: not wanted\n",
        encoding="utf-8",
    )
    done = gateway.command("map", "diff", "lost.yaml")
    assert done.returncode == 1
    assert "accession A1: lost" in done.stdout
    (row,) = [
        json.loads(line) for line in gateway.command("map", "diff", "lost.yaml", "--json").stdout.splitlines()
    ]
    assert (row["kind"], row["message"], row["accession"]) == ("lost", "1", "A1")
    assert gateway.command("map", "diff", "nothing-of-that-name").returncode == 2
    same = gateway.command("map", "diff", "orders-hl7", "--against", str(folder))
    assert (same.returncode, same.stdout) == (0, "1 messages compared: 0 changed, 0 new, 0 lost\n")


def test_what_cannot_be_explained_or_drafted_fails_with_a_sentence(gateway: Any) -> None:
    (gateway.config.parent / "note.txt").write_text("hello")
    for words, said in (
        (("map", "explain", "note.txt"), "neither an HL7 v2 message (MSH) nor FHIR JSON"),
        (("map", "explain", "absent.hl7"), "cannot be read"),
        (("map", "explain", "99"), "there is none with that number"),
        (("map", "new", "--from", "note.txt"), "neither an HL7 v2 message (MSH) nor FHIR JSON"),
    ):
        done = gateway.command(*words)
        assert (done.returncode in (1, 2), said in done.stderr, "Traceback" in done.stderr) == (
            True,
            True,
            False,
        )
