"""How many HL7 messages a second the gateway takes, beside a receiver made of hl7apy's parser and MLLP server.

Run by `make bench`; it prints figures and asserts nothing. Every sender is a process of its own. Ours maps each
message, commits it with full sync on SQLite and acknowledges; hl7apy's parses and acknowledges. hl7apy's server takes
one message a connection, so that its senders connect for each: the time a user of it sees.
"""

import multiprocessing
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.pool import Pool
from pathlib import Path

from hl7apy.mllp import AbstractHandler, MLLPServer
from hl7apy.parser import parse_message

ROOT = Path(__file__).parents[2]
START_S = 30
WARM_UP = 50
BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Messages a second over all senders, and how long a message took in milliseconds."""

    a_second: float
    p50: float
    p95: float
    p99: float


class ParseAndAccept(AbstractHandler):  # type: ignore[misc]  # hl7apy has no types
    """hl7apy as its users build it: the message is parsed, and an AA made of it."""

    def reply(self) -> str:
        """The acknowledgement between its frame bytes."""
        message = parse_message(self.incoming_message, find_groups=False)
        control_id = message.msh.msh_10.value
        head = f"MSH|^~\\&|GW|RAD|RIS|GENHOSP|20261123093000||ACK^O01^ACK|R{control_id}|P|2.5.1"
        return f"\x0b{head}\rMSA|AA|{control_id}\r\x1c\r"


def main() -> None:
    """Print both receivers' figures with 1 and with 8 senders."""
    if sys.argv[1:2] == ["hl7apy"]:
        MLLPServer("127.0.0.1", int(sys.argv[2]), {"ORM^O01^ORM_O01": (ParseAndAccept,)}).serve_forever()
    print(f"HL7 v2 over MLLP, messages of {len(_message('0X0'))} bytes, acknowledged")
    print(f"{'':42}{'msg/s':>9}{'p50':>9}{'p95':>9}{'p99':>9}  ms")
    with _gateway() as ours, _hl7apy() as theirs:
        for senders, ours_each, theirs_each in ((1, 1000, 200), (8, 500, 50)):
            plural = "sender" if senders == 1 else "senders"
            our = _measured(ours, senders, ours_each, is_kept=True)
            _show(f"gateway, mapped and committed, {senders} {plural}", our)
            their = _measured(theirs, senders, theirs_each, is_kept=False)
            _show(f"hl7apy, parsed alone, {senders} {plural}", their)
            ratio, wait = our.a_second / their.a_second, their.p50 / our.p50
            print(
                f"{'':42}the gateway takes {ratio:.1f} times as many; its median is {wait:.1f} times shorter"
            )


def push(port: int, sender: int, count: int, is_kept: bool) -> list[tuple[float, float]]:
    """When each message left and when its answer was there; `is_kept` says that one connection serves for all."""
    times: list[tuple[float, float]] = []
    connection: socket.socket | None = None
    for number in range(count):
        message = b"\x0b" + _message(f"{sender}X{number}T{time.time_ns()}") + b"\x1c\r"
        start = time.time()
        if connection is None or not is_kept:
            connection = socket.create_connection(("127.0.0.1", port), timeout=60)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(message)
        answer = b""
        while not answer.endswith(b"\x1c\r"):
            chunk = connection.recv(65536)
            if not chunk:
                raise ConnectionError("closed before an answer")
            answer += chunk
        times.append((start, time.time()))
        if b"MSA|AA|" not in answer:
            raise ValueError("a message of the benchmark was refused")
        if not is_kept:
            connection.close()
    if connection is not None:
        connection.close()
    return times


def _measured(port: int, senders: int, each: int, *, is_kept: bool) -> Result:
    with _processes(senders) as pool:
        pool.starmap(push, [(port, s, WARM_UP if is_kept else 5, is_kept) for s in range(senders)], 1)
        runs = pool.starmap(push, [(port, s, each, is_kept) for s in range(senders)], 1)
    begin, end = min(run[0][0] for run in runs), max(run[-1][1] for run in runs)
    waits = sorted((stop - start) * 1000 for run in runs for start, stop in run)
    at = [waits[min(len(waits) - 1, int(len(waits) * share))] for share in (0.5, 0.95, 0.99)]
    return Result(a_second=len(waits) / (end - begin), p50=at[0], p95=at[1], p99=at[2])


def _message(number: str) -> bytes:
    """An ORM^O01 of about BYTES bytes, with a patient and an order of its own."""
    text = (
        f"MSH|^~\\&|RIS|GENHOSP|GW|RAD|20261123093000||ORM^O01^ORM_O01|C{number}|P|2.5.1\r"
        f"PID|1||M{number[-14:]}^^^GENHOSP^MR||DOE^JANE^Q||19800214|F|||1 HIGH STREET^^YORK^^YO1 1AA^GBR\r"
        f"PV1|1|O|XRAY^^^GENHOSP||||7000^REFERRER^RITA^^^DR|||||||||||V{number[-14:]}^^^GENHOSP\r"
        "AL1|1|DA|^Penicillin|MO|Rash\r"
        f"ORC|NW|P{number[-14:]}|F{number[-14:]}||||^^^20261123101500^^R||20261123092900|||7654^HOUSE^GREGORY\r"
        f"OBR|1|P{number[-14:]}|F{number[-14:]}|76700^US ABDOMEN COMPLETE^C4||||||||||||7654^HOUSE^GREGORY||"
        f"A{number[-14:]}|RP{number[-13:]}||US1|||US|||||||R10.9^Abdominal pain^I10\r"
        "DG1|1||R10.9^Abdominal pain^I10|||A\r"
    )
    return f"{text}NTE|1||{'fasting since midnight ' * BYTES}"[: BYTES - 1].encode() + b"\r"


def _show(name: str, result: Result) -> None:
    print(f"{name:42}{result.a_second:9.0f}{result.p50:9.1f}{result.p95:9.1f}{result.p99:9.1f}")


@contextmanager
def _processes(count: int) -> Iterator[Pool]:
    with multiprocessing.get_context("spawn").Pool(count) as pool:
        pool.map(time.sleep, [0.3] * count, 1)  # each process is there and holds one
        yield pool


@contextmanager
def _gateway() -> Iterator[int]:
    """The port of a gateway in a process of its own, with an empty SQLite database."""
    port, other, third = _free_ports(3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "gateway.toml").write_text(
            f'[site]\ntimezone = "Europe/London"\n[http]\nbind = "127.0.0.1"\nport = {other}\n'
            f'[store]\nurl = "sqlite:///{folder}/gateway.db"\nfiles = "{folder}/images"\n'
            f'[mappings]\nfolder = "{ROOT / "mappings"}"\n[log]\nfile = "{folder}/gateway.log"\n'
            f'[hl7.listeners.ris]\nport = {port}\nbind = "127.0.0.1"\n'
            '[[stations]]\nae_title = "US1"\nmodality = "US"\n'
            f'[dicom]\nbind = "127.0.0.1"\nworklist_port = {third}\n',
            encoding="utf-8",
        )
        command = ("-m", "gateway.cli", "serve", "--only", "hl7,workers")
        with _served(folder, *command, "--config", str(folder / "gateway.toml")):
            _wait_for(port)
            yield port


@contextmanager
def _hl7apy() -> Iterator[int]:
    """The port of hl7apy's receiver in a process of its own."""
    (port,) = _free_ports(1)
    with _served(Path.cwd(), str(Path(__file__).resolve()), "hl7apy", str(port)):
        _wait_for(port)
        yield port


@contextmanager
def _served(folder: Path, *words: str) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, *words], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(port: int) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError("a receiver did not start")


def _free_ports(count: int) -> list[int]:
    opened = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in opened]
    for one in opened:
        one.close()
    return ports


if __name__ == "__main__":
    main()
