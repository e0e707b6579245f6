"""Objects over the wire: kept byte for byte, refused without a trace, and never acknowledged too early."""

import hashlib
import os
import resource
import socket
import struct
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dsutils import encode
from pynetdicom.pdu_primitives import P_DATA

from gateway.dicom.incoming import IMPLEMENTATION_CLASS_UID
from gateway.flow.ports import Ports
from gateway.model.ids import Uid
from gateway.model.lifecycle import State
from gateway.model.order import Order
from gateway.model.study import Instance, Study
from gateway.store import aside, audit, orders, studies
from gateway.store.database import Database

Make = Callable[..., Order]
Objects = Callable[..., Dataset]
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

PICTURES = (
    "CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm", "SC_rgb_rle_2frame.dcm",
    "SC_rgb_jpeg.dcm", "JPGExtended.dcm", "SC_rgb_jpeg_gdcm.dcm", "MR_small_jpeg_ls_lossless.dcm",
    "693_J2KI.dcm", "MR_small_jp2klossless.dcm", "examples_palette.dcm", "test-SR.dcm", "liver_expb_1frame.dcm",
    "rtplan.dcm", "badVR.dcm", "MR_small_padded.dcm", "JPEG2000-embedded-sequence-delimiter.dcm", "waveform_ecg.dcm",
)  # fmt: skip


def _encoded(path: Path) -> tuple[bytes, str]:
    """The data set's bytes of a Part 10 file, and their transfer syntax."""
    meta = read_file_meta_info(path)
    start = 132 + 12 + meta.FileMetaInformationGroupLength
    return path.read_bytes()[start:], str(meta.TransferSyntaxUID)


def _study(ports: Ports, uid: str) -> Study | None:
    with ports.database.read() as tx:
        return studies.of_uid(tx, Uid(uid))


def _only(ports: Ports, uid: str = "1.2.3") -> Instance:
    study = _study(ports, uid)
    assert study is not None
    ((instance,),) = [series.instances for series in study.series]
    return instance


def _on_disk(ports: Ports) -> list[Path]:
    return [path for path in ports.files.path("").rglob("*") if path.is_file()]


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("name", PICTURES)
def test_an_object_is_kept_byte_for_byte(name: str, peer: Any, ports: Ports) -> None:
    original = Path(str(get_testdata_file(name)))
    encoded, syntax = _encoded(original)
    header = dcmread(original, stop_before_pixels=True)
    status = peer.store_bytes(
        encoded, sop_class=header.SOPClassUID, sop_uid=header.SOPInstanceUID, syntax=syntax
    )
    assert status.Status == 0x0000
    instance = _only(ports, header.StudyInstanceUID)
    kept = ports.files.path(instance.path)
    assert _encoded(kept) == (encoded, syntax)
    assert instance.sha256 == hashlib.sha256(encoded).hexdigest()
    assert instance.size == kept.stat().st_size
    assert instance.transfer_syntax == syntax
    meta = read_file_meta_info(kept)
    assert meta.MediaStorageSOPClassUID == header.SOPClassUID
    assert meta.MediaStorageSOPInstanceUID == header.SOPInstanceUID
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.SourceApplicationEntityTitle == "US1"
    assert _on_disk(ports) == [kept]


def test_every_transfer_syntax_and_every_class_is_taken(
    peer: Any, all_syntaxes: list[str], make_object: Objects
) -> None:
    classes = [SECONDARY_CAPTURE, "1.2.840.10008.5.1.4.1.1.5", "1.2.840.113619.4.30", "1.3.46.670589.2.5.1.1"]
    for syntax in all_syntaxes:
        with peer.associated(*((uid, [syntax]) for uid in classes)) as association:
            assert [c.abstract_syntax for c in association.accepted_contexts] == classes


def test_a_private_class_is_stored(peer: Any, make_object: Objects, ports: Ports) -> None:
    assert peer.store(make_object(SOPClassUID="1.2.840.113619.4.30")) == 0x0000
    assert _only(ports).sop_class == "1.2.840.113619.4.30"


def test_what_the_header_says_is_recorded(peer: Any, make_object: Objects, ports: Ports) -> None:
    values = {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientName": "Müller^Jörg",
        "IssuerOfPatientID": "HOSP",
        "AccessionNumber": "A77",
        "StudyDate": "20261123",
        "StudyTime": "101500.5",
        "TimezoneOffsetFromUTC": "+0100",
        "StudyDescription": "Abdomen, übersicht",
        "SeriesNumber": "3",
        "SeriesDescription": "Liver",
        "InstanceNumber": "9",
        "NumberOfFrames": "12",
    }
    assert peer.store(make_object(**values)) == 0x0000
    study = _study(ports, "1.2.3")
    assert study is not None
    assert (study.patient_name, study.issuer, study.accession) == ("Müller^Jörg", "HOSP", "A77")
    assert (study.study_date, study.description) == ("20261123", "Abdomen, übersicht")
    assert study.started is not None
    assert study.started.isoformat() == "2026-11-23T09:15:00+00:00"
    (series,) = study.series
    assert (series.number, series.description, series.modality) == ("3", "Liver", "US")
    assert (series.instances[0].number, series.instances[0].frames) == ("9", 12)


def test_the_first_image_starts_its_order(
    peer: Any, make_object: Objects, order_factory: Make, ports: Ports
) -> None:
    order = order_factory(study_uid="1.2.3")
    assert peer.store(make_object()) == 0x0000
    with ports.database.read() as tx:
        assert orders.show(tx, order.id).state is State.STARTED


def test_a_repeat_is_success_and_changes_nothing(peer: Any, make_object: Objects, ports: Ports) -> None:
    assert peer.store(make_object()) == 0x0000
    before = _only(ports)
    assert peer.store(make_object()) == 0x0000
    assert _only(ports) == before
    assert len(_on_disk(ports)) == 1


def test_other_content_under_the_same_uid_is_refused_and_kept_aside_once(
    peer: Any, make_object: Objects, ports: Ports
) -> None:
    assert peer.store(make_object()) == 0x0000
    before = _only(ports)
    assert peer.store(make_object(PatientName="Roe^Richard")) == 0xC001
    assert peer.store(make_object(PatientName="Roe^Richard")) == 0xC001
    assert _only(ports) == before
    with ports.database.read() as tx:
        study = studies.of_uid(tx, Uid("1.2.3"))
        assert study is not None
        (kept_aside,) = aside.of_study(tx, study.id)
        (event,) = audit.of_subject(tx, f"study:{study.id}")
    assert (kept_aside.sop_uid, kept_aside.calling_ae) == ("1.2.3.4", "US1")
    assert (event.actor, event.action) == ("dicom:US1", "object.set_aside")
    beside = ports.files.path(kept_aside.path)
    assert dcmread(beside).PatientName == "Roe^Richard"
    assert sorted(_on_disk(ports)) == sorted([ports.files.path(before.path), beside])


def _bytes(dataset: Dataset) -> bytes:
    encoded = encode(dataset, False, True)
    assert encoded is not None
    return encoded


def _is_whole(encoded: bytes) -> bool:
    """Whether the bytes end where an element ends: then they are a data set, if a small one."""
    try:
        return _bytes(dcmread(BytesIO(encoded), force=True)) == encoded
    except (EOFError, ValueError, struct.error):
        return False


def _refusal(
    peer: Any, encoded: bytes, *, sop_uid: str = "1.2.3.4", syntax: str = ExplicitVRLittleEndian
) -> int:
    status = peer.store_bytes(encoded, sop_class=SECONDARY_CAPTURE, sop_uid=sop_uid, syntax=syntax)
    return int(status.Status)


def test_garbage_leaves_nothing(peer: Any, ports: Ports) -> None:
    for garbage in (b"hello, this is no DICOM at all!!", b"\x00" * 64, os.urandom(4096), b"<html></html>"):
        assert _refusal(peer, garbage) in (0xC000, 0xA900)
    assert _on_disk(ports) == []


def test_a_truncated_object_leaves_nothing_wherever_it_ends(
    peer: Any, make_object: Objects, ports: Ports
) -> None:
    whole = _bytes(make_object())
    for missing in (1, 2, 15, 16, 17, 20):
        assert _refusal(peer, whole[:-missing]) == 0xC000
    assert _on_disk(ports) == []


def test_truncated_compressed_and_deflated_objects_leave_nothing(peer: Any, ports: Ports) -> None:
    for name in ("SC_rgb_rle_2frame.dcm", "image_dfl.dcm", "test-SR.dcm"):
        path = Path(str(get_testdata_file(name)))
        encoded, syntax = _encoded(path)
        header = dcmread(path, stop_before_pixels=True)
        status = peer.store_bytes(
            encoded[:-9], sop_class=header.SOPClassUID, sop_uid=header.SOPInstanceUID, syntax=syntax
        )
        assert status.Status == 0xC000
    assert _on_disk(ports) == []


@pytest.mark.parametrize(
    "keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"]
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_an_absent_or_illegal_uid_is_refused(
    keyword: str, peer: Any, make_object: Objects, ports: Ports
) -> None:
    for value in ("", "../../etc/passwd", "1.2.3; DROP TABLE"):
        dataset = make_object()
        setattr(dataset, keyword, value)
        status = peer.store_bytes(_bytes(dataset), sop_class=SECONDARY_CAPTURE, sop_uid="1.2.3.4")
        assert status.Status == 0xA900
        assert keyword in status.ErrorComment
        assert "passwd" not in status.ErrorComment
    assert _on_disk(ports) == []


def test_an_object_other_than_the_request_said_is_refused(
    peer: Any, make_object: Objects, ports: Ports
) -> None:
    assert _refusal(peer, _bytes(make_object()), sop_uid="1.2.3.5") == 0xA900
    assert _refusal(peer, _bytes(make_object(SOPClassUID="1.2.840.10008.5.1.4.1.1.2"))) == 0xA900
    assert _on_disk(ports) == []


@pytest.mark.parametrize("title", ["../../../etc", "A/B", "a'; DROP --", "..", "%2e%2e"])
def test_a_hostile_ae_title_is_only_text(
    title: str, called: Any, make_object: Objects, ports: Ports, tmp_path: Path
) -> None:
    assert _study(ports, "1.2.3") is None  # the database has all its files from here on
    before = {path for path in tmp_path.rglob("*") if "images" not in path.parts}
    assert called(title).store(make_object()) == 0x0000
    study = _study(ports, "1.2.3")
    assert study is not None
    assert study.calling_ae == title
    assert {path for path in tmp_path.rglob("*") if "images" not in path.parts} == before


def test_a_full_disk_is_said_and_leaves_nothing(
    peer: Any, make_object: Objects, ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert peer.store(make_object()) == 0xA700
    assert _on_disk(ports) == []
    assert peer.store(make_object()) == 0x0000


def test_a_disk_that_fills_within_an_object_is_said_and_leaves_nothing(
    peer: Any, make_object: Objects, ports: Ports
) -> None:
    large = make_object()
    large.PixelData = bytes(6_000_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, before[1]))  # the kernel refuses what is longer
    try:
        assert peer.store(large) == 0xA700
        assert _on_disk(ports) == []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert peer.store(large) == 0x0000


def test_a_folder_that_is_read_only_is_said_and_leaves_nothing(
    peer: Any, make_object: Objects, ports: Ports
) -> None:
    root = ports.files.path("")
    for folder in (root, ports.files.incoming):
        folder.chmod(0o500)
        if os.access(folder, os.W_OK):
            folder.chmod(0o700)
            pytest.skip("whoever runs this may write anywhere")
        try:
            assert peer.store(make_object()) == 0xA700
        finally:
            folder.chmod(0o700)
        assert _on_disk(ports) == []
    assert peer.store(make_object()) == 0x0000


def test_a_folder_that_cannot_be_written_is_said(peer: Any, make_object: Objects, ports: Ports) -> None:
    ports.files.incoming.rmdir()
    assert peer.store(make_object()) == 0xA700
    ports.files.incoming.mkdir()
    assert peer.store(make_object()) == 0x0000


def test_a_database_that_does_not_answer_is_said(
    peer: Any, make_object: Objects, ports: Ports, database: Database
) -> None:
    with database.write() as tx:
        tx.connection.exec_driver_sql("ALTER TABLE instances RENAME TO elsewhere")
    assert peer.store(make_object()) == 0xA700
    assert _on_disk(ports) == []
    with database.write() as tx:
        tx.connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO instances")
    assert peer.store(make_object()) == 0x0000


def _begin_store(association: Any, encoded: bytes) -> None:
    """The first fragments of a C-STORE, and never the last."""
    message = C_STORE_RQ()
    command = message.command_set
    command.CommandField, command.MessageID, command.Priority = 0x0001, 1, 2
    command.CommandDataSetType = 0x0001
    command.AffectedSOPClassUID, command.AffectedSOPInstanceUID = SECONDARY_CAPTURE, "1.2.3.4"
    message.data_set = BytesIO(encoded)
    fragments: list[P_DATA] = list(message.encode_msg(1, 4096))
    for fragment in fragments[:-1]:
        association.dul.send_pdu(fragment)


def _until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


@pytest.mark.parametrize("end", ["abort", "cut"])
def test_a_connection_that_ends_within_an_object_leaves_nothing(
    end: str, peer: Any, make_object: Objects, ports: Ports
) -> None:
    with peer.associated((SECONDARY_CAPTURE, [ExplicitVRLittleEndian])) as association:
        _begin_store(association, bytes(100_000))
        assert _until(lambda: len(_on_disk(ports)) == 1)
        connection = association.dul.socket.socket
        if end == "cut":
            connection.shutdown(socket.SHUT_RDWR)
        association.abort()
        connection.close()
    assert _until(lambda: _on_disk(ports) == [])
    assert peer.store(make_object()) == 0x0000


def test_closing_the_server_within_an_object_leaves_nothing(peer: Any, ports: Ports) -> None:
    with peer.associated((SECONDARY_CAPTURE, [ExplicitVRLittleEndian])) as association:
        _begin_store(association, bytes(100_000))
        assert _until(lambda: len(_on_disk(ports)) == 1)
        peer.server.close()
        assert _until(lambda: _on_disk(ports) == [])


def test_any_bytes_are_answered_and_leave_nothing(peer: Any, make_object: Objects, ports: Ports) -> None:
    whole = _bytes(make_object())

    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.binary(min_size=1, max_size=64)
        | st.integers(1, len(whole) - 1).map(lambda n: whole[:n]).filter(lambda cut: not _is_whole(cut))
    )
    def check(data: bytes) -> None:
        assert _refusal(peer, data) in (0xC000, 0xA900)
        assert _refusal(peer, data, syntax=DeflatedExplicitVRLittleEndian) in (0xC000, 0xA900)

    check()
    assert _on_disk(ports) == []


def test_several_machines_store_at_once(called: Any, make_object: Objects, ports: Ports) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def send(number: int) -> int:
        return int(called(f"US{number}").store(make_object(f"1.2.3.{number + 1}")))

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(send, range(8))) == {0x0000}
    study = _study(ports, "1.2.3")
    assert study is not None
    assert study.instance_count == 8
    assert len(_on_disk(ports)) == 8
