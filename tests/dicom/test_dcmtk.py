"""DCMTK's own clients, as machines use them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from gateway.dicom.server import DicomServer
from gateway.flow.ports import Ports
from gateway.model.ids import Uid
from gateway.model.lifecycle import State
from gateway.model.order import Order
from gateway.store import studies

pytestmark = pytest.mark.dcmtk

Make = Callable[..., Order]

QUERY = (
    "-k", "0010,0010", "-k", "0010,0020", "-k", "0008,0050", "-k", "0020,000D", "-k", "0040,1001",
    "-k", "(0040,0100)[0].Modality=US",
    "-k", "(0040,0100)[0].ScheduledProcedureStepStartDate=20261123",
    "-k", "(0040,0100)[0].ScheduledProcedureStepStartTime",
    "-k", "(0040,0100)[0].ScheduledStationAETitle",
    "-k", "(0040,0100)[0].ScheduledProtocolCodeSequence[0].CodeValue",
)  # fmt: skip


def _values(output: str, tag: str) -> list[str]:
    return re.findall(rf"\({tag}\) .. \[([^\]]*?)[ \0]*\]", output)


def _call(port: int, *more: str) -> list[str]:
    return ["-aet", "US1", "-aec", "STORESCP", *more, "127.0.0.1", str(port)]


def test_echoscu_succeeds_on_both_ports(dcmtk: Any, server: DicomServer) -> None:
    for port in (server.worklist_port, server.storage_port):
        assert dcmtk("echoscu", *_call(port)).returncode == 0


@pytest.mark.parametrize("encoding", ["-xe", "-xi"])
def test_findscu_gets_the_orders_that_were_sent(
    encoding: str, dcmtk: Any, server: DicomServer, order_factory: Make
) -> None:
    sent = order_factory(accession="A1")
    order_factory(accession="A2", state=State.SCHEDULED)
    order_factory(accession="A3", start="2026-11-24T10:00:00+00:00")
    done = dcmtk("findscu", "-v", "-W", encoding, *QUERY, *_call(server.worklist_port))
    assert done.returncode == 0
    output = done.stdout + done.stderr
    assert "Success" in output
    answers = output.split("Find Response: 1", 1)[1]
    assert "Find Response: 2 (Pending)" not in answers
    assert _values(answers, "0008,0050") == ["A1"]
    assert _values(answers, "0010,0010") == ["Doe^Jane"]
    assert _values(answers, "0020,000d") == [sent.study_uid]
    assert _values(answers, "0040,0002") == ["20261123"]
    assert _values(answers, "0040,0003") == ["103000"]
    assert "(0040,0008) SQ" in answers


def test_findscu_reads_names_in_its_own_character_set(
    dcmtk: Any, server: DicomServer, order_factory: Make, tmp_path: Path
) -> None:
    order_factory(name="Müller^Jörg")
    for declared, encoding in (("ISO_IR 100", "latin-1"), ("ISO_IR 192", "utf-8")):
        folder = tmp_path / encoding
        folder.mkdir()
        keys = ("-k", f"0008,0005={declared}", "-k", "0010,0010")
        done = dcmtk("findscu", "-W", "-X", "-od", folder, *keys, *_call(server.worklist_port))
        assert done.returncode == 0
        (answer,) = folder.iterdir()
        assert "Müller^Jörg".encode(encoding) in answer.read_bytes()
        assert dcmread(answer).SpecificCharacterSet == declared


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("CT_small.dcm", "-xe"),
        ("MR_small_implicit.dcm", "-xi"),
        ("MR_small_bigendian.dcm", "-xb"),
        ("JPGExtended.dcm", "-xx"),
        ("SC_rgb_jpeg_dcmtk.dcm", "-xy"),
        ("MR_small_jp2klossless.dcm", "-xv"),
        ("SC_rgb_rle_2frame.dcm", "-xr"),
        ("image_dfl.dcm", "-xd"),
    ],
)
def test_storescu_stores(name: str, option: str, dcmtk: Any, server: DicomServer, ports: Ports) -> None:
    path = Path(str(get_testdata_file(name)))
    original = dcmread(path)
    for _ in range(2):
        done = dcmtk("storescu", option, *_call(server.storage_port), path)
        assert done.returncode == 0, done.stderr
    with ports.database.read() as tx:
        study = studies.of_uid(tx, Uid(original.StudyInstanceUID))
    assert study is not None
    (instance,) = study.series[0].instances
    kept = dcmread(ports.files.path(instance.path))
    assert kept.file_meta.TransferSyntaxUID == original.file_meta.TransferSyntaxUID
    assert kept.PixelData == original.PixelData
    assert kept.PatientName == original.PatientName


def test_dcmdump_reads_what_is_kept(dcmtk: Any, server: DicomServer, ports: Ports) -> None:
    path = Path(str(get_testdata_file("examples_palette.dcm")))
    assert dcmtk("storescu", *_call(server.storage_port), path).returncode == 0
    (kept,) = ports.files.path("").rglob("*.dcm")
    done = dcmtk("dcmdump", "-q", kept)
    assert done.returncode == 0
    assert _values(done.stdout, "0002,0016") == ["US1"]
