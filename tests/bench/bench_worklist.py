"""How many worklist queries a second, beside DCMTK's wlmscpfs and Orthanc's worklists plugin where they are installed.

Run by `make bench`; it prints figures and asserts nothing. One client for all, DCMTK's findscu, repeating one query on
one association; the same entries everywhere; one in a hundred matches.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from gateway.dicom.server import DicomServer
from gateway.flow.ports import Ports, Release
from gateway.model.ids import OrderId, Uid
from gateway.model.lifecycle import State
from gateway.model.message import Inbound, Keys, MessageState, Protocol
from gateway.model.order import ModuleRef, Order
from gateway.model.patient import Patient
from gateway.model.search import Found
from gateway.store import inbox, orders, patients, tables
from gateway.store.database import Database, Tx
from gateway.store.files import Files

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
PLUGINS = Path("/usr/share/orthanc/plugins")
SPAN_S = 4.0
STARTS_WITHIN_S = 30.0
STEP = "(0040,0100)[0]."
QUERY = (
    "0008,0050", "0008,0090", "0010,0010", "0010,0020", "0010,0030", "0010,0040", "0020,000D", "0032,1060", "0040,1001",
    f"{STEP}Modality=US", f"{STEP}ScheduledProcedureStepStartDate=20261123", f"{STEP}ScheduledProcedureStepStartTime",
    f"{STEP}ScheduledStationAETitle", f"{STEP}ScheduledProcedureStepDescription", f"{STEP}ScheduledProcedureStepID",
)  # fmt: skip


def main() -> None:
    """Print queries a second of each peer, and how the gateway's do as its history grows."""
    if shutil.which("findscu") is None:
        print("worklist: skipped, DCMTK's findscu is not installed")
        return
    print(f"{'worklist':34}{'entries':>9}{'answers':>9}{'queries/s':>11}{'ratio':>8}")
    for entries in (1_000, 10_000):
        ours = _row("gateway", entries, _gateway(entries, 0), None)
        for name, peer in (("DCMTK wlmscpfs", _wlmscpfs), ("Orthanc worklists", _orthanc)):
            _row(name, entries, peer(entries), ours)
    print(f"{'with finished orders beside':34}{'finished':>9}")
    few = _row("gateway, 1 000 scheduled", 1_000, _gateway(1_000, 1_000), None)
    _row("gateway, 1 000 scheduled", 200_000, _gateway(1_000, 1_000_000), few)


Address = tuple[int, str]
"""Port and called AE title."""


def _row(
    name: str, entries: int, peer: AbstractContextManager[Address | str], ours: float | None
) -> float | None:
    """Queries a second, printed; `ours` over them is the ratio. None when the peer is not there."""
    with peer as found:
        if isinstance(found, str):
            print(f"{name:34}{entries:9}  skipped: {found}")
            return None
        rate, answers = _measure(*found)
    ratio = f"{ours / rate:7.1f}x" if ours else ""
    print(f"{name:34}{entries:9}{answers:9}{rate:11.1f}{ratio:>8}", flush=True)
    return rate


def _measure(port: int, called: str) -> tuple[float, int]:
    """Queries a second, and how many entries answer one."""
    answers, least = _ask(port, called, 1)
    _, once = _ask(port, called, 1)
    repeats = max(2, min(2000, int(SPAN_S / min(least, once))))
    _, span = _ask(port, called, repeats)
    return (repeats - 1) / max(span - once, 1e-6), answers


def _ask(port: int, called: str, repeats: int) -> tuple[int, float]:
    keys = [part for key in QUERY for part in ("-k", key)]
    verbose = ["-v"] if repeats == 1 else []
    command = ["findscu", "-W", *verbose, "--repeat", str(repeats), "-aet", "US1", "-aec", called, *keys]
    start = time.perf_counter()
    done = subprocess.run(
        [*command, "127.0.0.1", str(port)], check=True, capture_output=True, text=True, errors="replace",
        env={**os.environ, "TCP_NODELAY": "1"},
    )  # fmt: skip
    span = time.perf_counter() - start
    return (done.stdout + done.stderr).count("(Pending)"), span


def _day(number: int) -> str:
    """One in a hundred is on the day that is asked for."""
    return (NOW + timedelta(days=number % 100)).strftime("%Y%m%d")


@contextmanager
def _gateway(entries: int, finished: int) -> Iterator[Address | str]:
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/gateway.db")
        database.upgrade()
        ports = Ports(
            database=database,
            files=Files(Path(folder) / "images"),
            clock=lambda: NOW,
            new_uid=lambda: Uid("2.25.1"),
            zone=ZoneInfo("UTC"),
            stations=(),
            release=Release.MANUAL,
            listed=frozenset({State.SENT}),
            quiet=timedelta(seconds=60),
            expire_after=timedelta(days=3),
        )
        _fill(database, 0, entries, State.SENT)
        _fill(database, entries, entries + finished, State.COMPLETED)
        server = DicomServer(ports, ae_title="GATEWAY", bind="127.0.0.1", worklist_port=0, storage_port=0)
        server.start()
        try:
            yield server.worklist_port, "GATEWAY"
        finally:
            server.close()
            database.close()


def _fill(database: Database, first: int, last: int, state: State) -> None:
    """A thousand orders through the store's own door, the rest as copies of them."""
    through = min(last, first + 1000)
    with database.write() as tx:
        made = [
            orders.add(tx, _order(tx, number, _day(number), state), (_day(number), "103000"), ()).id
            for number in range(first, through)
        ]
        columns = [c for c in tables.orders.c if c.name != "id"]
        own = {"accession", "study_uid", "step_id"}
        for start in range(through, last, 1000):
            values = ", ".join(
                f"'{c.name[:1]}{start}.' || id" if c.name in own else f'"{c.name}"' for c in columns
            )
            names = ", ".join(f'"{c.name}"' for c in columns)
            tx.connection.exec_driver_sql(
                f"INSERT INTO orders ({names}) SELECT {values} FROM orders"
                f" WHERE id BETWEEN {made[0]} AND {made[min(1000, last - start) - 1]}"
            )


def _order(tx: Tx, number: int, day: str, state: State) -> Order:
    patient = Patient(
        patient_id=f"MRN{number}", issuer="", name=f"Family{number}^Given", birth_date="19800214", sex="F"
    )
    message = inbox.add(
        tx,
        Inbound(protocol=Protocol.HL7V2, source="ris", peer="", raw=b"MSH|"),
        sha256=f"{number:064}",
        at=NOW,
        keys=Keys(control_id=f"M{number}"),
        state=MessageState.MAPPED,
        reason="",
        module="bench",
        found=Found(accession=f"A{number}", patient_id=f"MRN{number}"),
    )
    return Order(
        id=OrderId(0), source="ris", patient_row=patients.save(tx, patient, NOW), patient=patient,
        accession=f"A{number}", placer="", filler="", procedure_id=f"P{number}", step_id=f"S{number}",
        study_uid=Uid(f"1.2.3.{number}"), state=state, modality="US", station="US1",
        start=datetime.strptime(f"{day} 1030", "%Y%m%d %H%M").replace(tzinfo=UTC), has_time=True,
        description="Abdomen ultrasound", priority="", referring="House^Gregory",
        attributes={"RequestedProcedureDescription": "Abdomen ultrasound", "ReferringPhysicianName": "House^Gregory"},
        faults=(), service_request="", subject="", module=ModuleRef(name="bench", version="0"), message_id=message,
        arrived_at=None, sent_at=NOW, sent_by="", created_at=NOW, updated_at=NOW, version=1,
    )  # fmt: skip


def _write_files(folder: Path, entries: int) -> None:
    """The same entries as files, as wlmscpfs and Orthanc read them."""
    folder.mkdir(parents=True)
    (folder / "lockfile").touch()
    for number in range(entries):
        entry = Dataset()
        entry.file_meta = FileMetaDataset()
        entry.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        entry.file_meta.MediaStorageSOPClassUID = UID("1.2.276.0.7230010.3.1.0.1")
        entry.file_meta.MediaStorageSOPInstanceUID = UID(f"1.2.3.4.{number}")
        entry.AccessionNumber = f"A{number}"
        entry.ReferringPhysicianName = "House^Gregory"
        entry.PatientName = f"Family{number}^Given"
        entry.PatientID = f"MRN{number}"
        entry.PatientBirthDate, entry.PatientSex = "19800214", "F"
        entry.StudyInstanceUID = f"1.2.3.{number}"
        entry.RequestedProcedureDescription = "Abdomen ultrasound"
        entry.RequestedProcedureID = f"P{number}"
        step = Dataset()
        step.Modality, step.ScheduledStationAETitle = "US", "US1"
        step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime = _day(number), "103000"
        step.ScheduledProcedureStepDescription = "Abdomen ultrasound"
        step.ScheduledProcedureStepID = f"S{number}"
        entry.ScheduledProcedureStepSequence = [step]
        entry.save_as(folder / f"{number}.wl", enforce_file_format=True)


@contextmanager
def _wlmscpfs(entries: int) -> Iterator[Address | str]:
    program = shutil.which("wlmscpfs")
    if program is None:
        yield "DCMTK's wlmscpfs is not installed"
        return
    with tempfile.TemporaryDirectory() as folder:
        _write_files(Path(folder) / "OFFIS", entries)
        port = _free_port()
        with _running([program, "-dfp", folder, str(port)], port):
            yield port, "OFFIS"


@contextmanager
def _orthanc(entries: int) -> Iterator[Address | str]:
    program = shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    plugin = next(PLUGINS.glob("*ModalityWorklists*"), None) if PLUGINS.is_dir() else None
    if program is None or plugin is None:
        yield "Orthanc with its worklists plugin is not installed"
        return
    with tempfile.TemporaryDirectory() as folder:
        _write_files(Path(folder) / "worklists", entries)
        port = _free_port()
        chosen = {
            "DicomPort": port, "HttpServerEnabled": False, "StorageDirectory": f"{folder}/store", "DicomAet": "ORTHANC",
            "IndexDirectory": f"{folder}/store", "Plugins": [str(plugin)], "DicomAlwaysAllowFindWorklist": True,
            "Worklists": {"Enable": True, "Database": f"{folder}/worklists"},
        }  # fmt: skip
        configuration = Path(folder) / "orthanc.json"
        configuration.write_text(json.dumps(chosen), encoding="utf-8")
        with _running([program, str(configuration)], port):
            yield port, "ORTHANC"


@contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    environment = {**os.environ, "TCP_NODELAY": "1"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _await_port(port)
            yield
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _await_port(port: int) -> None:
    until = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    sys.exit(f"nothing listens on port {port}")


if __name__ == "__main__":
    main()
