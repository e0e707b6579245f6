"""The simulated machine against a DICOM server."""

import gc
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from gateway.model.errors import Invalid, Malformed, Refused, Unavailable
from gateway.model.ids import Uid
from gateway.simulate import machine
from gateway.simulate.objects import Entry

HOST = "127.0.0.1"


def test_a_query_gives_the_entries_as_text(archive: Any, worklist_answer: Dataset) -> None:
    archive.entries = [worklist_answer]
    (entry,) = machine.query(HOST, archive.port, calling_ae="US1")
    assert entry == Entry(
        patient_name="MÜLLER^JÜRGEN",
        patient_id="MRN1001",
        birth_date="19710309",
        sex="M",
        accession="US261123001",
        study_uid="2.25.77",
        procedure_id="RP1",
        description="Ultrasound abdomen & kidneys",
        step_id="SPS1",
        station="US1",
        modality="US",
        start_date="20261123",
        start_time="1030",
    )


def test_keys_stand_where_the_standard_wants_them(archive: Any) -> None:
    machine.query(HOST, archive.port, calling_ae="US1", PatientName="MÜL*", Modality="US", AdmissionID="7")
    (asked,) = archive.queries
    (step,) = asked.ScheduledProcedureStepSequence
    assert asked.PatientName == "MÜL*"
    assert asked.AdmissionID == "7"
    assert step.Modality == "US"
    assert step.ScheduledStationAETitle == ""
    assert "Modality" not in asked


def test_an_unknown_key_is_named(archive: Any) -> None:
    with pytest.raises(Invalid, match="PatientNmae"):
        machine.query(HOST, archive.port, calling_ae="US1", PatientNmae="X")


def test_a_failure_is_told_apart_from_an_empty_list(archive: Any) -> None:
    assert machine.query(HOST, archive.port, calling_ae="US1") == ()
    archive.find_status = 0xA700
    with pytest.raises(Refused, match="0xA700"):
        machine.query(HOST, archive.port, calling_ae="US1")


# pynetdicom leaves the socket of a refused connection to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nobody_listening_is_unavailable(free_port: int) -> None:
    with pytest.raises(Unavailable):
        machine.query(HOST, free_port, calling_ae="US1", timeout_s=2)
    gc.collect()


def test_objects_arrive_as_they_were_made(archive: Any, now: datetime, new_uid: Callable[[], Uid]) -> None:
    made = machine.acquire(Entry(patient_id="P1", study_uid="2.25.77"), now=now, new_uid=new_uid)
    stored = machine.store(made, HOST, archive.port, calling_ae="US1")
    assert [one.status for one in stored] == [0, 0, 0, 0]
    assert all(one.is_kept for one in stored)
    arrived = archive.stored
    assert [ds.file_meta.TransferSyntaxUID.name for ds in arrived] == [
        "Explicit VR Little Endian",
        "RLE Lossless",
        "JPEG Baseline (Process 1)",
        "Explicit VR Little Endian",
    ]
    for sent, kept in zip(made[:3], arrived[:3], strict=True):
        assert kept.PixelData == sent.PixelData


def test_a_failure_status_is_reported(archive: Any, now: datetime, new_uid: Callable[[], Uid]) -> None:
    archive.store_status = 0xA700
    made = machine.acquire(Entry(patient_id="P1"), now=now, new_uid=new_uid)
    stored = machine.store(made[-1:], HOST, archive.port, calling_ae="US1")
    assert [(one.status, one.is_kept) for one in stored] == [(0xA700, False)]


def test_files_are_read_and_stored(
    archive: Any, now: datetime, new_uid: Callable[[], Uid], tmp_path: Path
) -> None:
    report = machine.acquire(Entry(patient_id="P1"), now=now, new_uid=new_uid)[-1]
    report.save_as(tmp_path / "sr.dcm", enforce_file_format=True)
    (stored,) = machine.store(
        machine.read_objects([tmp_path / "sr.dcm"]), HOST, archive.port, calling_ae="US1"
    )
    assert stored.is_kept
    assert stored.sop_uid == report.SOPInstanceUID


def test_a_file_that_is_no_dicom_is_malformed(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(b"no DICOM" * 100)
    with pytest.raises(Malformed, match="not a DICOM file"):
        machine.read_objects([path])
