"""Opening objects: deflated ones inflate within bounds, and foreign errors and warnings stay inside."""

import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian

from gateway.imaging.part10 import open_object, read_header
from gateway.model.errors import Malformed, Refused, Unavailable


def test_a_deflated_object_comes_inflated(bundled: Callable[[str], Path]) -> None:
    path = bundled("image_dfl.dcm")
    with open_object(path) as file:
        dataset = dcmread(file)
        assert dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert dataset.PixelData == dcmread(path).PixelData


def test_a_plain_object_comes_as_it_is(bundled: Callable[[str], Path]) -> None:
    path = bundled("MR_small.dcm")
    with open_object(path) as file:
        assert file.read() == path.read_bytes()


def test_a_header_is_read_up_to_the_pixels(bundled: Callable[[str], Path]) -> None:
    with open_object(bundled("MR_small.dcm")) as file:
        header = read_header(file, ("Rows", "Modality", "PatientWeight"))
        assert (header.Rows, header.Modality) == (64, "MR")
        assert "PatientName" not in header
        assert file.read(4) == b"\xe0\x7f\x10\x00"


def test_a_data_set_that_inflates_too_far_is_refused(bundled: Callable[[str], Path], tmp_path: Path) -> None:
    content = bundled("image_dfl.dcm").read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = deflater.compress(bytes(20 * 1024 * 1024)) + deflater.flush()
    (tmp_path / "bomb.dcm").write_bytes(content[:start] + bomb)
    with pytest.raises(Refused), open_object(tmp_path / "bomb.dcm", max_inflated=5 * 1024 * 1024):
        pass


def test_a_damaged_deflated_data_set_is_malformed(bundled: Callable[[str], Path], tmp_path: Path) -> None:
    content = bundled("image_dfl.dcm").read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    (tmp_path / "damaged.dcm").write_bytes(content[:start] + b"\xff" * 100)
    with pytest.raises(Malformed), open_object(tmp_path / "damaged.dcm"):
        pass


@pytest.mark.parametrize(
    "error", [ValueError("Doe^Jane"), KeyError("Doe^Jane"), RecursionError(), MemoryError()]
)
def test_foreign_errors_become_ours_without_their_words(
    bundled: Callable[[str], Path], error: Exception
) -> None:
    with pytest.raises(Malformed) as caught, open_object(bundled("MR_small.dcm")):
        raise error
    assert "Doe" not in str(caught.value)


def test_warnings_stay_inside(bundled: Callable[[str], Path]) -> None:
    with open_object(bundled("MR_small.dcm")):
        warnings.warn("the value Doe^Jane is wrong", UserWarning, stacklevel=1)


def test_an_absent_file_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable), open_object(tmp_path / "absent"):
        pass
    with pytest.raises(Unavailable), open_object(tmp_path):
        pass
