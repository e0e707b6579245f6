"""News back to the RIS: a gateway process, hl7apy's reader on the other side, kills and refusals."""

import json
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hl7apy.parser import parse_message
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import UID, ComprehensiveSRStorage, ExplicitVRLittleEndian

from gateway.simulate import machine
from gateway.simulate.ris_inbox import RisInbox


def _until(said: Callable[[], object], seconds: float = 30) -> Any:
    end = time.monotonic() + seconds
    while not (result := said()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)
    return result


def _rows(gateway: Any, kind: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gateway.command(kind, "list", "--json").stdout.splitlines()]


def _destination(port: int, more: str = "") -> str:
    return (
        f'[hl7.destinations.reports]\nhost = "127.0.0.1"\nport = {port}\nack_timeout_seconds = 5\n'
        f'receiving_application = "RIS"\n{more}'
    )


def _report(study_uid: str, path: Path) -> Path:
    """A structured report with one number, made of nothing but DICOM's own dictionary."""
    report = Dataset()
    report.file_meta = FileMetaDataset()
    report.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    report.file_meta.MediaStorageSOPClassUID = report.SOPClassUID = ComprehensiveSRStorage
    report.file_meta.MediaStorageSOPInstanceUID = report.SOPInstanceUID = UID("1.2.3.9.1")
    report.StudyInstanceUID, report.SeriesInstanceUID = UID(study_uid), UID("1.2.3.9")
    report.Modality = "SR"
    report.AccessionNumber, report.PatientID, report.PatientName = "A100", "MRN100", "DOE^JANE^Q"
    report.ValueType, report.ContentSequence = "CONTAINER", [_number("11820-8", "Femur Length", "32.50")]
    report.save_as(path, enforce_file_format=True)
    return path


def _number(code: str, meaning: str, value: str) -> Dataset:
    item, measured = Dataset(), Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", "NUM"
    item.ConceptNameCodeSequence = [_code(code, "LN", meaning)]
    measured.NumericValue = value
    measured.MeasurementUnitsCodeSequence = [_code("mm", "UCUM", "millimeter")]
    item.MeasuredValueSequence = [measured]
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _examined(gateway: Any, folder: Path) -> str:
    """The study's UID, when its image and its report were sent by a machine."""
    (entry,) = machine.query(
        "127.0.0.1", gateway.worklist, calling_ae="US1", called_ae="STORESCP", timeout_s=20
    )
    source = get_testdata_file("examples_rgb_color.dcm", download=False)
    assert source is not None
    image = dcmread(source)
    image.StudyInstanceUID, image.PatientID, image.AccessionNumber = UID(entry.study_uid), "MRN100", "A100"
    image.save_as(folder / "image.dcm")
    objects = machine.read_objects([folder / "image.dcm", _report(entry.study_uid, folder / "report.dcm")])
    stored = machine.store(objects, "127.0.0.1", gateway.storage, calling_ae="US1", called_ae="STORESCP")
    assert all(one.is_kept for one in stored)
    return entry.study_uid


def test_the_ris_hears_of_the_start_the_end_and_the_measurements_of_its_order(
    serve: Callable[..., Any], order: Callable[..., bytes], tmp_path: Path
) -> None:
    with RisInbox() as inbox:
        gateway = serve(_destination(inbox.port))
        gateway.say_hl7(order("A100"))
        assert gateway.command("orders", "send", "A100", "--station", "US1").returncode == 0
        study_uid = _examined(gateway, tmp_path)
        _until(lambda: len(inbox.received) >= 3)
        _until(lambda: {row["state"] for row in _rows(gateway, "deliveries")} == {"delivered"})
    started, completed, results = (raw.decode() for raw in inbox.received)
    assert [parse_message(one, find_groups=False).orc.orc_5.value for one in (started, completed)] == [
        "IP",
        "CM",
    ]
    parsed = parse_message(results, force_validation=True)
    observed = parsed.oru_r01_patient_result.oru_r01_order_observation.oru_r01_observation
    values = [(one.obx.obx_3.obx_3_1.value, one.obx.obx_5.value, one.obx.obx_6.value) for one in observed]
    assert values == [
        ("113014", study_uid, ""),
        ("00201208", "2", ""),
        ("11820-8", "32.50", "mm^millimeter^UCUM"),
    ]
    assert {row["kind"] for row in _rows(gateway, "deliveries")} == {"ORM^O01 IP", "ORM^O01 CM", "ORU^R01"}


def test_the_ris_is_not_told_what_it_said_itself(
    serve: Callable[..., Any], order: Callable[..., bytes]
) -> None:
    with RisInbox() as inbox:
        gateway = serve(_destination(inbox.port))
        gateway.say_hl7(order("A100"), order("A100", control_id="CA1", control="CA"), order("A200"))
        assert gateway.command("orders", "cancel", "A200").returncode == 0
        _until(lambda: inbox.received)
        time.sleep(1)
    (told,) = inbox.received
    assert b"|PA200|FA200||CA|" in told


def test_a_rejection_waits_for_a_person_who_tries_again(
    serve: Callable[..., Any], order: Callable[..., bytes]
) -> None:
    with RisInbox(answer="AR") as inbox:
        gateway = serve(_destination(inbox.port))
        gateway.say_hl7(order("A100"))
        gateway.command("orders", "cancel", "A100")
        (dead,) = _until(lambda: [row for row in _rows(gateway, "deliveries") if row["state"] == "dead"])
        assert dead["error"] == "answered AR"
        inbox.answer = "AA"
        assert gateway.command("deliveries", "retry", str(dead["id"])).returncode == 0
        _until(lambda: _rows(gateway, "deliveries")[0]["state"] == "delivered")
    assert inbox.received[0] == inbox.received[-1]


@contextmanager
def _silent() -> Iterator[tuple[int, list[bytes]]]:
    """A port that takes messages and never answers."""
    taken: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            taken.append(connection.recv(65536))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1], taken
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)
    for connection in connections:
        connection.close()


def test_a_gateway_killed_between_sending_and_hearing_sends_again_under_the_same_id(
    serve: Callable[..., Any], order: Callable[..., bytes]
) -> None:
    with _silent() as (port, taken):
        gateway = serve(_destination(port))
        gateway.say_hl7(order("A100"))
        gateway.command("orders", "cancel", "A100")
        _until(lambda: taken)
        gateway.kill()
    number = str(_rows(gateway, "deliveries")[0]["id"])
    with RisInbox(port) as inbox:
        with sqlite3.connect(gateway.config.parent / "gateway.db") as database:
            refused = gateway.command(
                "deliveries", "retry", number
            )  # whether it is on its way, nobody knows yet
            database.execute("UPDATE deliveries SET lease_until = created_at")  # two minutes later
        database.close()
        assert "being sent at this moment" in refused.stdout + refused.stderr
        gateway.start()
        _until(lambda: inbox.received)
    assert taken[0] == b"\x0b" + inbox.received[0] + b"\x1c\r"


def test_a_silent_destination_delays_no_other(serve: Callable[..., Any], order: Callable[..., bytes]) -> None:
    with _silent() as (port, taken), RisInbox() as inbox:
        quick = _destination(inbox.port).replace("reports", "quick")
        gateway = serve(_destination(port).replace("= 5", "= 60") + quick)
        for number in range(5):
            gateway.say_hl7(order(f"A{number}"))
            gateway.command("orders", "cancel", f"A{number}")
        _until(lambda: len(inbox.received) == 5, seconds=20)
        assert len(taken) == 1
        begun = time.monotonic()
        assert gateway.stop() == 0
        assert time.monotonic() - begun < 15
