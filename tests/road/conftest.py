"""A gateway in a process of its own, as an operator starts it, and what it takes to talk to it from outside."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
START_S = 30


@dataclass
class Served:
    """A gateway process and its addresses."""

    config: Path
    http: int
    hl7: int
    worklist: int
    storage: int
    process: "subprocess.Popen[str] | None" = None
    output: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "serve", "--config", str(self.config)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.config.parent,
        )  # fmt: skip
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise AssertionError(f"the gateway ended: {self._rest()}")
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("the gateway did not become ready")

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(20)
        self.output.append(self._rest())
        return code

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(20)
        self._rest()

    def command(self, *words: str, given: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "gateway.cli", *words, "--config", str(self.config)],
            input=given, capture_output=True, text=True, timeout=60, cwd=self.config.parent, check=False,
        )  # fmt: skip

    def say_hl7(self, *messages: bytes) -> list[bytes]:
        """The answers to the messages, sent one after the other on one connection."""
        answers = []
        with socket.create_connection(("127.0.0.1", self.hl7), timeout=20) as connection:
            for message in messages:
                connection.sendall(b"\x0b" + message.replace(b"\n", b"\r") + b"\x1c\r")
                answers.append(_frame(connection))
        return answers

    def _rest(self) -> str:
        assert self.process is not None
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            return stream.read()


def _frame(connection: socket.socket) -> bytes:
    received = b""
    while not received.endswith(b"\x1c\r"):
        chunk = connection.recv(65536)
        if not chunk:
            raise ConnectionError("closed before an answer")
        received += chunk
    return received[1:-2]


Serve = Callable[..., Served]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Gateways with free ports; `more` is added to the configuration."""
    made: list[Served] = []

    def start(more: str = "", *, url: str = "", stations: str = "US1 US2") -> Served:
        folder = tmp_path / f"gateway{len(made)}"
        folder.mkdir()
        http, hl7, worklist, storage = _free_ports(4)
        machines = "".join(
            f'[[stations]]\nae_title = "{title}"\nname = "Ultrasound {title[-1]}"\nmodality = "US"\n'
            for title in stations.split()
        )
        config = folder / "gateway.toml"
        config.write_text(
            f'[site]\nname = "General Hospital"\ntimezone = "Europe/London"\n'
            f'[store]\nurl = "{url or f"sqlite:///{folder}/gateway.db"}"\nfiles = "{folder}/images"\n'
            f'[http]\nbind = "127.0.0.1"\nport = {http}\n'
            f'[dicom]\nbind = "127.0.0.1"\nworklist_port = {worklist}\nstorage_port = {storage}\n'
            f'[mappings]\nfolder = "{ROOT / "mappings"}"\n'
            f"[hl7.listeners.ris]\nport = {hl7}\n"
            f'[log]\nfile = "{folder}/gateway.log"\n[study]\nquiet_seconds = 2\n{machines}{more}',
            encoding="utf-8",
        )
        made.append(Served(config=config, http=http, hl7=hl7, worklist=worklist, storage=storage))
        made[-1].start()
        return made[-1]

    yield start
    for served in made:
        if served.process is not None and served.process.poll() is None:
            served.stop()


@pytest.fixture
def order() -> Callable[..., bytes]:
    """ORM^O01 messages, each field by name."""

    def make(
        accession: str = "A100",
        *,
        control_id: str | None = None,
        control: str = "NW",
        patient_id: str = "MRN100",
        name: str = "DOE^JANE^Q",
        start: str = "",
        modality: str = "US",
        trigger: str = "ORM^O01",
    ) -> bytes:
        begin = start or time.strftime("%Y%m%d101500")
        return (
            f"MSH|^~\\&|RIS|GENHOSP|GW|RAD|20261123093000||{trigger}|{control_id or 'C' + accession}|P|2.5.1\r"
            f"PID|1||{patient_id}^^^GENHOSP^MR||{name}||19800214|F\r"
            f"ORC|{control}|P{accession}|F{accession}||||^^^{begin}^^R\r"
            f"OBR|1|P{accession}|F{accession}|USABD^Abdomen ultrasound^L||||||||||||"
            f"7654^HOUSE^GREGORY||{accession}|RP{accession}|||||{modality}\r"
        ).encode()

    return make


def _free_ports(count: int) -> list[int]:
    opened = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in opened]
    for one in opened:
        one.close()
    return ports


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GATEWAY_")]:
        monkeypatch.delenv(name)
