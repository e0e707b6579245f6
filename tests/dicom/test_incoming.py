"""Data sets as they arrive, without a network."""

import hashlib
import tracemalloc
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.uid import ExplicitVRLittleEndian

from gateway.dicom.incoming import IncomingData, IncomingObject, file_header

HEADER = file_header(
    sop_class="1.2.840.10008.5.1.4.1.1.7",
    sop_uid="1.2.3.4",
    transfer_syntax=ExplicitVRLittleEndian,
    calling_ae=" US1 ",
)
CHUNK = bytes(range(256)) * 512


@pytest.fixture
def incoming(tmp_path: Path) -> Iterator[IncomingObject]:
    incoming = IncomingObject(tmp_path, HEADER)
    yield incoming
    incoming.discard()


def test_the_header_is_whole_part_10(tmp_path: Path) -> None:
    path = tmp_path / "object.dcm"
    path.write_bytes(HEADER)
    meta = read_file_meta_info(path)
    assert len(HEADER) == 132 + 12 + meta.FileMetaInformationGroupLength
    assert meta.FileMetaInformationVersion == b"\x00\x01"
    assert meta.MediaStorageSOPInstanceUID == "1.2.3.4"
    assert meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert meta.SourceApplicationEntityTitle == "US1"
    assert meta.ImplementationClassUID.startswith("2.25.")
    assert len(dcmread(path)) == 0


def test_an_object_of_any_size_takes_little_memory(incoming: IncomingObject) -> None:
    data = IncomingData(lambda: incoming)
    digest = hashlib.sha256()
    tracemalloc.start()
    for _ in range(512):
        data.write(CHUNK)
        digest.update(CHUNK)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    incoming.finish()
    assert peak < 4 * 1024 * 1024
    assert incoming.size == 512 * len(CHUNK)
    assert incoming.sha256 == digest.hexdigest()
    assert incoming.path.stat().st_size == len(HEADER) + incoming.size


def test_anything_else_stays_in_memory_up_to_a_limit() -> None:
    data = IncomingData(lambda: None)
    data.write(b"identifier")
    assert isinstance(data, BytesIO)
    assert data.getvalue() == b"identifier"
    for _ in range(64):
        data.write(CHUNK)
    assert data.is_too_long
    assert len(data.getvalue()) <= 4 * 1024 * 1024


def test_a_disk_that_is_full_is_remembered_until_the_end(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    incoming = IncomingObject(tmp_path, HEADER)
    with full.open("wb", buffering=0) as device:
        incoming._file = device
        incoming.write(CHUNK)
        incoming.write(CHUNK)
        assert incoming.size == 2 * len(CHUNK)
        with pytest.raises(OSError, match="No space left"):
            incoming.finish()
    incoming.discard()
    assert list(tmp_path.iterdir()) == []


def test_no_file_can_be_made_is_remembered(tmp_path: Path) -> None:
    data = IncomingData(lambda: IncomingObject(tmp_path / "absent", HEADER))
    assert data.write(CHUNK) == len(CHUNK)
    assert data.write(CHUNK) == len(CHUNK)
    assert isinstance(data.failure, FileNotFoundError)
    assert data.getvalue() == b""


def test_a_discarded_object_leaves_nothing_even_twice(incoming: IncomingObject, tmp_path: Path) -> None:
    incoming.write(CHUNK)
    incoming.discard()
    incoming.discard()
    assert list(tmp_path.iterdir()) == []


def test_an_object_that_was_moved_away_is_not_touched(incoming: IncomingObject, tmp_path: Path) -> None:
    incoming.write(CHUNK)
    incoming.finish()
    moved = incoming.path.rename(tmp_path / "kept.dcm")
    incoming.discard()
    assert moved.exists()
