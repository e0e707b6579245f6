"""Greys: every step of the pipeline by arithmetic."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset

from gateway.imaging.greyscale import render_greys

WIDE = np.array([[0, 50, 100, 150, 200]], dtype=np.uint16)


@pytest.mark.parametrize(
    ("elements", "greys"),
    [
        ({}, [0, 64, 128, 191, 255]),
        # y = ((x - (c - 0.5)) / (w - 1) + 0.5) * 255 with c = 100.5, w = 101
        ({"WindowCenter": 100.5, "WindowWidth": 101}, [0, 0, 128, 255, 255]),
        ({"WindowCenter": ["100.5", "0"], "WindowWidth": ["101", "1"]}, [0, 0, 128, 255, 255]),
        ({"WindowCenter": 100, "WindowWidth": 200, "VOILUTFunction": "LINEAR_EXACT"}, [0, 64, 128, 191, 255]),
        ({"WindowCenter": 100, "WindowWidth": 200, "VOILUTFunction": "SIGMOID"}, [30, 69, 128, 186, 225]),
        ({"WindowCenter": 100, "WindowWidth": 1}, [0, 0, 255, 255, 255]),
        ({"WindowCenter": 100, "WindowWidth": 0}, [0, 64, 128, 191, 255]),
        ({"WindowCenter": "", "WindowWidth": ""}, [0, 64, 128, 191, 255]),
        ({"RescaleSlope": -1, "RescaleIntercept": 7}, [255, 191, 128, 64, 0]),
        ({"RescaleSlope": 2, "WindowCenter": 200.5, "WindowWidth": 201}, [0, 0, 128, 255, 255]),
        ({"PixelPaddingValue": 0}, [0, 0, 85, 170, 255]),
        ({"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 50}, [0, 0, 0, 128, 255]),
        ({"PhotometricInterpretation": "MONOCHROME1"}, [255, 191, 127, 64, 0]),
    ],
)
def test_a_data_set_says_how_its_values_are_shown(elements: dict[str, object], greys: list[int]) -> None:
    assert _greys(WIDE, **elements).tolist() == [greys]


def test_a_window_that_leaves_nothing_to_see_is_not_used() -> None:
    assert _greys(WIDE, WindowCenter=5000, WindowWidth=10).tolist() == [[0, 64, 128, 191, 255]]


def test_a_frame_of_one_value_is_black() -> None:
    assert _greys(np.full((1, 2), 7, dtype=np.uint8)).tolist() == [[0, 0]]


def test_a_set_bit_is_white() -> None:
    assert _greys(np.ones((1, 2), dtype=np.uint8), BitsAllocated=1).tolist() == [[255, 255]]


def test_negative_padding_is_not_counted() -> None:
    stored = np.array([[-2000, 0, 10]], dtype=np.int16)
    greys = _greys(stored, PixelRepresentation=1, PixelPaddingValue=-2000)
    assert greys.tolist() == [[0, 0, 255]]


def test_a_voi_table_comes_before_a_window() -> None:
    item = _table([3, 50, 8], [0, 51, 255])
    greys = _greys(np.array([[0, 50, 51, 52, 99]], dtype=np.uint8), VOILUTSequence=[item], WindowCenter=1)
    assert greys.tolist() == [[0, 0, 51, 255, 255]]


def test_a_modality_table_comes_before_the_window() -> None:
    item = _table([3, 0, 16], [10, 20, 30])
    stored = np.array([[0, 1, 2]], dtype=np.uint8)
    greys = _greys(stored, ModalityLUTSequence=[item], WindowCenter=20.5, WindowWidth=21)
    assert greys.tolist() == [[0, 128, 255]]


@pytest.mark.parametrize("item", [Dataset(), "empty"])
def test_a_table_without_entries_is_not_used(item: Dataset | str) -> None:
    found = _table([3, 0, 8], []) if isinstance(item, str) else item
    assert _greys(WIDE, VOILUTSequence=[found]).tolist() == [[0, 64, 128, 191, 255]]


@pytest.mark.parametrize("frames", ["PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"])
def test_functional_groups_are_followed(frames: str) -> None:
    group, voi, transformation = Dataset(), Dataset(), Dataset()
    voi.WindowCenter, voi.WindowWidth = 200.5, 201
    transformation.RescaleSlope, transformation.RescaleIntercept = 2, 0
    group.FrameVOILUTSequence = [voi]
    group.PixelValueTransformationSequence = [transformation]
    assert _greys(WIDE, **{frames: [group]}).tolist() == [[0, 0, 128, 255, 255]]


def test_a_window_that_is_no_number_is_not_used(write_image: Callable[..., Path]) -> None:
    from gateway.imaging.pixels import read_first_frame

    path = write_image(np.array([[0, 255]], dtype=np.uint8), WindowCenter="12", WindowWidth="10")
    path.write_bytes(path.read_bytes().replace(b"DS\x02\x0012", b"DS\x02\x00x2"))
    frame = read_first_frame(path)
    assert frame is not None
    assert frame.pixels.tolist() == [[0, 255]]


def _greys(stored: NDArray[np.generic], **elements: object) -> NDArray[np.uint8]:
    header = Dataset()
    for keyword, value in elements.items():
        setattr(header, keyword, value)
    return render_greys(stored, header, is_little_endian=True)


def _table(descriptor: list[int], entries: list[int]) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", descriptor)
    item.add_new("LUTData", "US", entries)
    return item
