"""Codestream headers: the size of real ones, and no harm from any others."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.encaps import get_frame

from gateway.imaging.codestream import CodestreamSize, mend_scan, read_codestream_size


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("SC_rgb_jpeg_dcmtk.dcm", (100, 100, 3)),
        ("SC_rgb_jpeg_gdcm.dcm", (100, 100, 3)),
        ("JPGExtended.dcm", (1024, 256, 1)),
        ("MR_small_jpeg_ls_lossless.dcm", (64, 64, 1)),
        ("MR_small_jp2klossless.dcm", (64, 64, 1)),
        ("examples_jpeg2k.dcm", (480, 640, 3)),
    ],
)
def test_the_size_of_a_codestream_is_read(
    bundled: Callable[[str], Path], name: str, size: tuple[int, int, int]
) -> None:
    rows, columns, components = size
    found = read_codestream_size(_frame(bundled(name)))
    assert found == CodestreamSize(rows=rows, columns=columns, components=components)


def test_run_lengths_have_no_size(bundled: Callable[[str], Path]) -> None:
    frame = _frame(bundled("MR_small_RLE.dcm"))
    assert read_codestream_size(frame) is None
    assert mend_scan(frame) == frame


def test_only_a_wrong_end_of_scan_is_mended(bundled: Callable[[str], Path]) -> None:
    wrong, right = _frame(bundled("JPEG-lossy.dcm")), _frame(bundled("JPGExtended.dcm"))
    mended = mend_scan(wrong)
    assert [(a, b) for a, b in zip(wrong, mended, strict=True) if a != b] == [(0, 63)]
    assert mend_scan(mended) == mended
    assert mend_scan(right) == right
    lossless = _frame(bundled("SC_rgb_jpeg_gdcm.dcm"))
    assert mend_scan(lossless) == lossless


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda rest: b"\xff\xd8\xff" + rest)))
def test_any_bytes_are_survived(frame: bytes) -> None:
    read_codestream_size(frame)
    assert len(mend_scan(frame)) == len(frame)


def test_a_header_cut_anywhere_is_survived(bundled: Callable[[str], Path]) -> None:
    for name in ("JPEG-lossy.dcm", "MR_small_jp2klossless.dcm"):
        frame = _frame(bundled(name))
        for length in range(600):
            read_codestream_size(frame[:length])
            assert len(mend_scan(frame[:length])) == min(length, len(frame))


def _frame(path: Path) -> bytes:
    dataset = dcmread(path)
    return get_frame(dataset.PixelData, 0, number_of_frames=int(dataset.get("NumberOfFrames", 1)))
