"""The demo, played for real."""

import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from rich.console import Console

from gateway import demo, demo_places
from gateway.simulate.ehr import Ehr
from gateway.simulate.receptionist import Receptionist

WITHIN_S = 40.0


@pytest.fixture
def written() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def console(written: io.StringIO) -> Console:
    return Console(file=written, width=200, color_system=None)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary folders are made; nothing may be left in it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(demo_places, "QUIET_S", 1.0)
    yield tmp_path
    assert list(tmp_path.glob("gateway-demo-*")) == []


def test_every_step_of_the_road_happens(console: Console, written: io.StringIO) -> None:
    assert demo.run(once=True, port_base=None, console=console) == 0
    assert written.getvalue().count("✓") == 10
    assert "MÜLLER^JÜRGEN" in written.getvalue()


def test_an_ehr_that_refuses_is_the_step_that_failed(console: Console, written: io.StringIO) -> None:
    assert demo.run(once=True, port_base=None, console=console, ehr=Ehr(token="of somebody else")) == 1
    last = written.getvalue().splitlines()[-1]
    assert "EHR is told" in last
    assert "401" in last


def test_a_taken_port_is_the_step_that_failed(console: Console, written: io.StringIO) -> None:
    first = _free_run(5)
    with socket.create_server(("127.0.0.1", first + 1)):
        assert demo.run(once=True, port_base=first, console=console) == 1
    assert "gateway starts: hl7.listeners.ris.port" in written.getvalue()


def test_without_once_the_machines_go_on_until_interrupted(tmp_path: Path) -> None:
    first = _free_run(5)
    environment = {
        **os.environ,
        "BROWSER": "true",
        "TMPDIR": str(tmp_path),
        "GATEWAY_STORE__URL": "sqlite:///real.db",
    }
    command = [sys.executable, "-m", "gateway.cli", "demo", "--port-base", str(first)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8",
        cwd=tmp_path, env=environment, preexec_fn=_hear_interrupts,  # noqa: PLW1509 - it takes no lock
    ) as playing:  # fmt: skip
        said = _Said(playing)
        try:
            password = said.until("with the password").split()[-1]
            page = f"http://127.0.0.1:{first}"
            assert page in said.all()
            with Receptionist(page) as person:
                _send_to_us2(person, password)
            said.until("US2 stored 4 objects")
            said.until("holds 2 studies")
        finally:
            playing.send_signal(signal.SIGINT)
        assert playing.wait(WITHIN_S) == 0
    assert "The demo ends." in said.all()
    assert not (tmp_path / "real.db").exists()


def test_free_ports_differ_and_the_usual_ones_come_first() -> None:
    with _taken(demo_places.Places().ehr):
        places = demo_places.free_places()
    ports = [places.http, places.hl7, places.worklist, places.storage, places.ehr]
    assert len(set(ports)) == 5
    assert places.ehr != demo_places.Places().ehr


def test_counted_ports_follow_one_another() -> None:
    places = demo_places.counted_places(7000)
    ports = [places.http, places.hl7, places.worklist, places.storage, places.ehr]
    assert ports == [7000, 7001, 7002, 7003, 7004]


def _hear_interrupts() -> None:
    """In the child: whoever started the tests in the background may have made them deaf to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class _Said:
    """What a child has written, read as it comes."""

    def __init__(self, child: "subprocess.Popen[str]") -> None:
        self._child = child
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def all(self) -> str:
        """Everything; to the end when the child has ended."""
        if self._child.returncode is not None:
            self._reader.join(WITHIN_S)
        return "".join(self._lines)

    def until(self, words: str) -> str:
        """The first line with `words` in it."""
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            found = [line for line in self._lines if words in line]
            if found:
                return found[0]
            if self._child.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"{words!r} was not said:\n{''.join(self._lines)}")

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self._lines.append(line)


def _send_to_us2(person: Receptionist, password: str) -> None:
    page = person.log_in("demo", password)
    waiting = next(form for form in page.forms if form.action.endswith("/send"))
    person.submit(waiting, {"station": "US2"})


@contextmanager
def _taken(port: int) -> Iterator[None]:
    """The port is in use, by us or, just as well, by something else."""
    with ExitStack() as stack:
        with suppress(OSError):
            stack.enter_context(socket.create_server(("127.0.0.1", port)))
        yield


def _free_run(length: int) -> int:
    """The first of `length` ports in a row that are free now."""
    for first in range(21000, 29000, length):
        with ExitStack() as stack, suppress(OSError):
            for port in range(first, first + length):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
            return first
    raise AssertionError("no free ports")
