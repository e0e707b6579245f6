"""How many studies a second are delivered to a fast EHR, from the outbox to its answer, each way of writing.

Run by `make bench`; it prints figures and asserts nothing. The EHR is a process of its own that answers at once.
"""

import json
import socketserver
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from zoneinfo import ZoneInfo

from gateway.fhir.client import Client
from gateway.fhir.destination import Destination, Write
from gateway.flow.deliver import deliver_due
from gateway.flow.ports import Ports, Release
from gateway.model.delivery import Outgoing
from gateway.model.ids import Uid
from gateway.store import outbox
from gateway.store.database import Database
from gateway.store.files import Files

STUDIES = 1500
IMAGES = 20
TARGET = 300
WAYS = (Write.TRANSACTION, Write.CONDITIONAL_UPDATE, Write.PUT_ID, Write.WEBHOOK)


class Fast(BaseHTTPRequestHandler):
    """An EHR that takes everything without looking at it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_POST(self) -> None:
        """A transaction's response, or nothing."""
        self.rfile.read(int(self.headers["content-length"]))
        self._answer(200, b'{"resourceType":"Bundle","entry":[{"response":{"status":"201"}}]}')

    def do_PUT(self) -> None:
        """It is there."""
        self.rfile.read(int(self.headers["content-length"]))
        self._answer(200, b"")

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - as it is called
        """Nothing is logged."""

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", "application/fhir+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(socketserver.ThreadingTCPServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 64


def main() -> None:
    """Print the figures, or be the EHR."""
    if sys.argv[1:] == ["ehr"]:
        with Server(("127.0.0.1", 0), Fast) as server:
            print(server.server_address[1], flush=True)
            server.serve_forever()
    print(
        f"Studies of {IMAGES} images delivered to a fast EHR, {len(_bundle('2.25.1'))} bytes each, on SQLite"
    )
    print(f"{'':42}{'studies/s':>10}")
    for write in WAYS:
        for at_once in (1, 4, 8):
            rate = _rate(write, at_once)
            print(f"{f'{write}, {at_once} at once':42}{rate:10.0f}   {rate / TARGET:.1f} times the target")


def _rate(write: Write, at_once: int) -> float:
    with _ehr() as url, tempfile.TemporaryDirectory() as folder:
        ports = _ports(Path(folder))
        ports.database.upgrade()
        client = Client((Destination(name="ehr", url=url, write=write),), ports)
        _owe(ports, "warm", 50)
        deliver_due(ports, client.send, to="ehr", at_once=at_once)
        _owe(ports, "", STUDIES)
        begun = time.perf_counter()
        done = deliver_due(ports, client.send, to="ehr", at_once=at_once)
        taken_s = time.perf_counter() - begun
        assert done == STUDIES
        client.close()
        ports.database.close()
    return STUDIES / taken_s


def _owe(ports: Ports, name: str, count: int) -> None:
    with ports.database.write() as tx:
        for number in range(count):
            key = f"2.25.{len(name)}{number}"
            out = Outgoing(
                destination="ehr", kind="ImagingStudy", key=key, order_id=None, payload=_bundle(key)
            )
            outbox.add(tx, out, ports.clock())


def _bundle(key: str) -> bytes:
    instances = [
        {"uid": f"{key}.2.{n}", "sopClass": {"code": "urn:oid:1.2.840.10008.5.1.4.1.1.6.1"}, "number": n}
        for n in range(IMAGES)
    ]
    identifier = {"system": "urn:dicom:uid", "value": f"urn:oid:{key}"}
    study = {
        "resourceType": "ImagingStudy",
        "identifier": [identifier],
        "status": "available",
        "subject": {"reference": "Patient/7"},
        "series": [{"uid": f"{key}.2", "modality": {"code": "US"}, "instance": instances}],
    }
    request = {"method": "PUT", "url": f"ImagingStudy?identifier=urn:dicom:uid%7Curn:oid:{key}"}
    entry = {"fullUrl": f"urn:oid:{key}", "resource": study, "request": request}
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": [entry]}).encode()


def _ports(folder: Path) -> Ports:
    return Ports(
        database=Database(f"sqlite:///{folder}/bench.db"),
        files=Files(folder / "images"),
        clock=lambda: datetime.now(UTC),
        new_uid=lambda: Uid("2.25.1"),
        zone=ZoneInfo("UTC"),
        stations=(),
        release=Release.MANUAL,
        listed=frozenset(),
        quiet=timedelta(seconds=60),
        expire_after=timedelta(days=3),
    )


@contextmanager
def _ehr() -> Iterator[str]:
    with subprocess.Popen([sys.executable, __file__, "ehr"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/fhir"
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
