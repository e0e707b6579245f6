"""First frames: real objects in every encoding against what DCMTK shows, and made ones against arithmetic."""

import random
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
)

from gateway.imaging.greyscale import functional_groups
from gateway.imaging.pixels import read_first_frame
from gateway.model.errors import GatewayError, Malformed, Refused, Unavailable

DCMTK_TOLERANCE = 1.0
"""Of 256 levels: DCMTK cuts off where we round (0.5 on the mean), lossy decoders differ by one or two in a pixel."""

# Rows, columns, mean of each channel as DCMTK 3.6 shows the first frame: dcmj2pnm or dcml2pnm with +Wi 1 where
# the object has a window, else +Wm.
SHOWN_BY_DCMTK = {
    "CT_small.dcm": (128, 128, 95.5),  # explicit little endian, signed
    "MR_small.dcm": (64, 64, 112.6),
    "MR_small_implicit.dcm": (64, 64, 112.6),
    "MR_small_bigendian.dcm": (64, 64, 112.6),
    "MR_small_RLE.dcm": (64, 64, 112.6),
    "MR_small_jpeg_ls_lossless.dcm": (64, 64, 112.6),
    "image_dfl.dcm": (512, 512, 127.1),  # deflated
    "JPGExtended.dcm": (1024, 256, 13.1),  # 12 bits
    "JPEG-lossy.dcm": (1024, 256, 13.1),  # 12 bits, its scan ends at 0 instead of 63
    "JPEGLSNearLossless_16.dcm": (50, 10, 46.3),
    "liver_1frame.dcm": (512, 512, 35.2),  # 1 bit
    "rtdose.dcm": (10, 10, 121.1),  # 32 bits, 15 frames
    "SC_rgb_jpeg_gdcm.dcm": (100, 100, 127.7, 127.7, 127.7),  # JPEG lossless
    "SC_rgb_dcmtk_+eb+cr.dcm": (100, 100, 127.8, 127.7, 127.8),  # JPEG baseline kept as RGB
    "SC_rgb_dcmtk_+eb+cy+np.dcm": (100, 100, 127.5, 127.7, 127.4),  # JPEG baseline, YBR_FULL_422
    "SC_rgb_jpeg_dcmtk.dcm": (100, 100, 127.7, 127.6, 127.8),  # JPEG baseline, YBR_FULL
    "SC_jpeg_no_color_transform.dcm": (256, 256, 244.0, 244.0, 244.0),
    "SC_rgb_rle.dcm": (100, 100, 127.7, 127.7, 127.7),
    "SC_rgb_rle_16bit_2frame.dcm": (100, 100, 127.7, 127.7, 127.7),
    "SC_rgb_small_odd_big_endian.dcm": (3, 3, 129.0, 128.7, 128.7),
    "SC_ybr_full_422_uncompressed.dcm": (100, 100, 127.8, 126.9, 127.9),
    "SC_rgb_jls_lossy_line.dcm": (100, 100, 128.0, 128.0, 128.0),
    "ExplVR_BigEnd.dcm": (60, 80, 251.0, 248.1, 15.7),
    "examples_palette.dcm": (350, 800, 15.9, 20.1, 25.4),
    "examples_rgb_color.dcm": (240, 320, 40.1, 34.2, 28.5),
    "examples_ybr_color.dcm": (240, 320, 9.2, 9.5, 9.7),  # JPEG baseline, 30 frames
}

SAME_PICTURE = [
    ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
    ("MR_small_RLE.dcm", "MR_small.dcm"),
    ("MR_small_bigendian.dcm", "MR_small.dcm"),
    ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
    ("rtdose_rle.dcm", "rtdose.dcm"),
    ("rtdose_expb.dcm", "rtdose.dcm"),
    ("liver_expb_1frame.dcm", "liver_1frame.dcm"),
    ("SC_rgb_rle.dcm", "SC_rgb_jpeg_gdcm.dcm"),
    ("SC_rgb_rle_32bit.dcm", "SC_rgb_rle_16bit.dcm"),
]

NO_PICTURE = ["test-SR.dcm", "reportsi.dcm", "rtplan.dcm", "rtstruct.dcm", "waveform_ecg.dcm"]

# Where the corpora's index and we differ by more than the tolerance, and why.
DIFFERS_FROM_INDEX = {
    "images/pydicom/rtdose_expb.dcm": "DCMTK swaps 32-bit pixels in halves; rtdose.dcm is the same dose",
}

Grey = NDArray[np.uint8]
WriteImage = Callable[..., Path]
Bundled = Callable[[str], Path]


@pytest.mark.parametrize("name", SHOWN_BY_DCMTK)
def test_a_frame_looks_as_dcmtk_shows_it(bundled: Bundled, name: str) -> None:
    rows, columns, *means = SHOWN_BY_DCMTK[name]
    pixels = _pixels(bundled(name))
    assert pixels.dtype == np.uint8
    assert pixels.shape == ((rows, columns) if len(means) == 1 else (rows, columns, 3))
    assert _means(pixels) == pytest.approx(means, abs=DCMTK_TOLERANCE)


@pytest.mark.dcmtk
@pytest.mark.parametrize("name", SHOWN_BY_DCMTK)
def test_every_pixel_is_near_dcmtks(bundled: Bundled, dcmtk_render: Callable[..., Grey], name: str) -> None:
    path = bundled(name)
    window = "+Wi 1" if _window_places(path)[0] else "+Wm"
    pixels = _pixels(path).astype(int)
    shown = dcmtk_render(path, window).astype(int)
    assert np.abs(pixels - shown.reshape(pixels.shape)).max() <= 3


@pytest.mark.parametrize(("name", "other"), SAME_PICTURE)
def test_the_same_picture_in_another_encoding_is_the_same(bundled: Bundled, name: str, other: str) -> None:
    assert np.array_equal(_pixels(bundled(name)), _pixels(bundled(other)))


def test_jpeg_2000_colours_come_as_rgb(bundled: Bundled) -> None:
    # The words of the picture are written in pure green, blue and red on grey.
    colours, counts = np.unique(
        _pixels(bundled("GDCMJ2K_TextGBR.dcm")).reshape(-1, 3), axis=0, return_counts=True
    )
    commonest = colours[np.argsort(counts)[::-1][:4]].tolist()
    assert commonest == [[128, 128, 128], [0, 255, 0], [0, 0, 255], [255, 0, 0]]


@pytest.mark.parametrize("name", NO_PICTURE)
def test_an_object_without_pixels_has_no_picture(bundled: Bundled, name: str) -> None:
    assert read_first_frame(bundled(name), max_pixels=1000) is None


def test_an_encapsulated_document_has_no_picture(write_report: Callable[..., Path]) -> None:
    path = write_report([], SOPClassUID=EncapsulatedPDFStorage, EncapsulatedDocument=b"%PDF-1.4")
    assert read_first_frame(path) is None


def test_monochrome1_is_shown_inverted(write_image: WriteImage) -> None:
    stored = np.array([[0, 100, 255]], dtype=np.uint8)
    path = write_image(stored, PhotometricInterpretation="MONOCHROME1")
    assert _pixels(path).tolist() == [[255, 155, 0]]


def test_colours_by_plane_come_in_order(write_image: WriteImage) -> None:
    colours = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    path = write_image(colours, PlanarConfiguration=1, PixelData=colours.transpose(2, 0, 1).tobytes())
    assert np.array_equal(_pixels(path), colours)


def test_colours_of_sixteen_bits_keep_their_upper_eight(write_image: WriteImage) -> None:
    colours = np.array([[[0x1234, 0x00FF, 0xFFFF]]], dtype=np.uint16)
    assert _pixels(write_image(colours)).tolist() == [[[0x12, 0x00, 0xFF]]]


def test_full_ybr_under_a_subsampled_name_is_read_as_full(write_image: WriteImage) -> None:
    ybr = np.full((2, 2, 3), (128, 128, 128), dtype=np.uint8)
    path = write_image(ybr, PhotometricInterpretation="YBR_FULL_422")
    assert np.array_equal(_pixels(path), ybr)


def test_float_pixels_are_shown_over_their_range(write_image: WriteImage) -> None:
    stored = np.array([[0.0, 0.5, 1.0, np.nan]], dtype=np.float32)
    path = write_image(stored, PixelData=None, FloatPixelData=stored.tobytes(), BitsStored=None)
    assert _pixels(path).tolist() == [[0, 128, 255, 0]]


def test_only_the_first_frame_of_many_is_needed(write_image: WriteImage) -> None:
    stored = np.array([[1, 2], [3, 4]], dtype=np.uint8)
    path = write_image(stored, NumberOfFrames=1000)
    assert _pixels(path).tolist() == [[0, 85], [170, 255]]


def test_a_large_object_costs_no_more_than_its_first_frame(write_image: WriteImage) -> None:
    path = write_image(np.arange(4, dtype=np.uint8).reshape(2, 2), NumberOfFrames=2**29, PixelData=b"")
    content = path.read_bytes()
    with path.open("wb") as file:  # two gigabytes that take no room on the disk
        file.write(content[:-4] + (2**31).to_bytes(4, "little") + bytes([0, 1, 2, 3]))
        file.truncate(len(content) + 2**31)
    assert _pixels(path).tolist() == [[0, 85], [170, 255]]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_too_many_pixels_are_refused_before_decoding(write_image: WriteImage, syntax: str) -> None:
    path = write_image(np.zeros((1, 1), dtype=np.uint8), syntax=syntax, Rows=60_000, Columns=60_000)
    with pytest.raises(Refused, match=r"\(0028,0010\)"):
        read_first_frame(path)
    with pytest.raises(Refused):
        read_first_frame(write_image(np.zeros((10, 11), dtype=np.uint8)), max_pixels=109)
    assert read_first_frame(write_image(np.zeros((10, 11), dtype=np.uint8)), max_pixels=110) is not None


def test_a_codestream_larger_than_the_data_set_says_is_refused(bundled: Bundled, tmp_path: Path) -> None:
    dataset = dcmread(bundled("SC_rgb_jpeg_dcmtk.dcm"))
    at = dataset.PixelData.index(b"\xff\xc0") + 5
    dataset.PixelData = dataset.PixelData[:at] + b"\xff\xff\xff\xff" + dataset.PixelData[at + 4 :]
    dataset.save_as(tmp_path / "bomb.dcm")
    with pytest.raises(Malformed, match="larger than Rows and Columns"):
        read_first_frame(tmp_path / "bomb.dcm")


def test_a_codestream_without_height_is_malformed(bundled: Bundled, tmp_path: Path) -> None:
    # The decoder would take memory without end.
    dataset = dcmread(bundled("SC_rgb_jpeg_dcmtk.dcm"))
    at = dataset.PixelData.index(b"\xff\xc0") + 5
    dataset.PixelData = dataset.PixelData[:at] + b"\0\0" + dataset.PixelData[at + 2 :]
    dataset.save_as(tmp_path / "flat.dcm")
    with pytest.raises(Malformed, match="does not say its size"):
        read_first_frame(tmp_path / "flat.dcm")


def test_run_lengths_that_run_over_are_malformed(bundled: Bundled, tmp_path: Path) -> None:
    # The decoder, written in Rust, panics: that is no Exception.
    dataset = dcmread(bundled("MR_small_RLE.dcm"))
    segment = b"\x82\x07" + b"\x81\x07" * 32  # 127 and 32 times 128 for 4096 pixels
    offsets = [2, 64, 64 + len(segment), *[0] * 13]
    frame = np.array(offsets, dtype="<u4").tobytes() + segment * 2
    dataset.PixelData = encapsulate([frame])
    dataset.save_as(tmp_path / "over.dcm")
    with pytest.raises(Malformed):
        read_first_frame(tmp_path / "over.dcm")


DAMAGED = [
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "rtdose_expb.dcm",
]


@pytest.mark.parametrize("name", DAMAGED)
def test_an_object_damaged_anywhere_gives_a_frame_or_our_own_error(
    bundled: Bundled, tmp_path: Path, name: str
) -> None:
    content, dice = bundled(name).read_bytes(), random.Random(name)
    for _ in range(60):
        damaged = bytearray(content)
        for _ in range(dice.choice((1, 5, 20))):
            damaged[dice.randrange(min(len(damaged), 3000))] = dice.choice((0, 255, dice.randrange(256)))
        (tmp_path / "damaged.dcm").write_bytes(damaged)
        try:
            frame = read_first_frame(tmp_path / "damaged.dcm")
        except GatewayError:
            continue
        assert frame is None or frame.pixels.dtype == np.uint8


@pytest.mark.parametrize(
    "elements",
    [
        {"Rows": None},
        {"Columns": 0},
        {"SamplesPerPixel": 4},
        {"PhotometricInterpretation": "CMYK"},
        {"PhotometricInterpretation": "PALETTE COLOR"},
        {"PhotometricInterpretation": None},
        {"BitsAllocated": 13},
        {"BitsAllocated": None},
        {"PixelData": b"\0"},
    ],
)
def test_what_cannot_be_shown_is_our_own_error(write_image: WriteImage, elements: dict[str, object]) -> None:
    path = write_image(np.zeros((4, 4), dtype=np.uint8), **elements)
    with pytest.raises(Malformed):
        read_first_frame(path)


def test_a_transfer_syntax_without_decoder_is_malformed(write_image: WriteImage) -> None:
    path = write_image(np.zeros((4, 4), dtype=np.uint8))
    video = b"1.2.840.10008.1.2.4.102"
    content = path.read_bytes().replace(b"UI\x14\x001.2.840.10008.1.2.1\0", b"UI\x18\x00" + video + b"\0")
    path.write_bytes(content)
    with pytest.raises(Malformed, match=r"\(0002,0010\)"):
        read_first_frame(path)


def test_a_truncated_object_is_malformed(bundled: Bundled, tmp_path: Path) -> None:
    with pytest.raises(Malformed):
        read_first_frame(bundled("MR_truncated.dcm"))
    content = bundled("SC_rgb_jpeg_gdcm.dcm").read_bytes()
    for length in range(0, len(content), 997):
        (tmp_path / "cut.dcm").write_bytes(content[:length])
        try:
            read_first_frame(tmp_path / "cut.dcm")
        except GatewayError:
            continue


def test_a_missing_file_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        read_first_frame(tmp_path / "absent.dcm")


@pytest.mark.parametrize(
    ("elements", "aspect"),
    [
        ({}, 1.0),
        ({"PixelAspectRatio": [2, 1]}, 2.0),
        ({"PixelSpacing": [0.5, 1.0]}, 0.5),
        ({"PixelSpacing": [1, 0]}, 1.0),
        ({"PixelSpacing": [1000, 1]}, 1.0),
        ({"SharedFunctionalGroupsSequence": "3 to 1"}, 3.0),
    ],
)
def test_the_pixels_shape_is_read(
    write_image: WriteImage, elements: dict[str, object], aspect: float
) -> None:
    if "SharedFunctionalGroupsSequence" in elements:
        group, measures = Dataset(), Dataset()
        measures.PixelSpacing = [3, 1]
        group.PixelMeasuresSequence = [measures]
        elements = {"SharedFunctionalGroupsSequence": [group]}
    frame = read_first_frame(write_image(np.eye(2, dtype=np.uint8), **elements))
    assert frame is not None
    assert frame.aspect == aspect


@pytest.mark.corpora
def test_the_corpora_look_as_dcmtk_shows_them(
    corpora: Path, corpora_rows: Callable[[str], list[dict[str, str]]]
) -> None:
    """Objects with a window are compared elsewhere: the index was made over each frame's full range."""
    compared, different = 0, {}
    for row in corpora_rows("index-images-dcmtk-render.tsv"):
        path = corpora / row["file"]
        if row["frame"] != "1" or not row["meanRGB"] or any(_window_places(path)):
            continue
        try:
            pixels = _pixels(path)
        except GatewayError:
            continue
        wanted = [float(mean) for mean in row["meanRGB"].split("/")]
        means = _means(pixels) * (3 if pixels.ndim == 2 else 1)
        compared += 1
        if means != pytest.approx(wanted, abs=DCMTK_TOLERANCE):
            different[row["file"]] = means
    assert different.keys() == DIFFERS_FROM_INDEX.keys()
    assert compared > 90


@pytest.mark.corpora
@pytest.mark.dcmtk
def test_the_corpora_with_a_window_look_as_dcmtk_shows_them(
    corpora: Path,
    corpora_rows: Callable[[str], list[dict[str, str]]],
    dcmtk_render: Callable[..., Grey],
) -> None:
    compared = 0
    for row in corpora_rows("index-images-dcmtk-render.tsv"):
        path = corpora / row["file"]
        if row["frame"] != "1" or not row["meanRGB"] or not _window_places(path)[0]:
            continue
        compared += 1
        shown = dcmtk_render(path, "+Wi 1")
        assert _means(_pixels(path)) == pytest.approx(_means(shown), abs=DCMTK_TOLERANCE), row["file"]
    assert compared > 3


def _pixels(path: Path) -> NDArray[np.uint8]:
    frame = read_first_frame(path)
    assert frame is not None
    return frame.pixels


def _means(pixels: NDArray[np.uint8]) -> list[float]:
    channels = pixels.reshape(pixels.shape[0] * pixels.shape[1], -1)
    return [float(mean) for mean in channels.mean(axis=0)]


def _window_places(path: Path) -> list[bool]:
    """Whether the data set itself has a window or VOI table, then whether its functional groups have."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = dcmread(path, stop_before_pixels=True, force=True)
        groups = functional_groups(header, "FrameVOILUTSequence")
        return ["WindowCenter" in group or "VOILUTSequence" in group for group in groups]
