"""Thumbnails: size, shape, colours, and what has none."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gateway.imaging.thumbnails import render_thumbnail
from gateway.model.errors import GatewayError, Refused


@pytest.mark.parametrize(
    ("shape", "size"),
    [((400, 100), (50, 200)), ((100, 400), (200, 50)), ((10, 10), (200, 200)), ((1, 3000), (200, 1))],
)
def test_the_longer_side_is_two_hundred_pixels(
    write_image: Callable[..., Path], shape: tuple[int, int], size: tuple[int, int]
) -> None:
    assert _open(render_thumbnail(write_image(np.zeros(shape, dtype=np.uint8)))).size == size


def test_another_size_may_be_asked_for(write_image: Callable[..., Path]) -> None:
    thumbnail = render_thumbnail(write_image(np.zeros((30, 60), dtype=np.uint8)), size=64)
    assert _open(thumbnail).size == (64, 32)


def test_tall_pixels_make_a_tall_picture(write_image: Callable[..., Path]) -> None:
    path = write_image(np.zeros((50, 50), dtype=np.uint8), PixelAspectRatio=[2, 1])
    assert _open(render_thumbnail(path)).size == (100, 200)


@pytest.mark.parametrize(
    ("name", "mode"),
    [("MR_small.dcm", "L"), ("examples_palette.dcm", "RGB"), ("examples_ybr_color.dcm", "RGB")],
)
def test_greys_stay_grey_and_colours_coloured(bundled: Callable[[str], Path], name: str, mode: str) -> None:
    picture = _open(render_thumbnail(bundled(name)))
    assert (picture.format, picture.mode) == ("JPEG", mode)


def test_the_colours_are_those_of_the_object(write_image: Callable[..., Path]) -> None:
    colours = np.zeros((100, 100, 3), dtype=np.uint8)
    colours[:, :50] = (200, 40, 10)
    colours[:, 50:] = (10, 40, 200)
    picture = _open(render_thumbnail(write_image(colours)))
    assert picture.getpixel((40, 100)) == pytest.approx((200, 40, 10), abs=6)
    assert picture.getpixel((160, 100)) == pytest.approx((10, 40, 200), abs=6)


def test_a_report_has_no_thumbnail(bundled: Callable[[str], Path]) -> None:
    assert render_thumbnail(bundled("test-SR.dcm")) is None


def test_too_many_pixels_are_refused(bundled: Callable[[str], Path]) -> None:
    with pytest.raises(Refused):
        render_thumbnail(bundled("MR_small.dcm"), max_pixels=64 * 64 - 1)


@pytest.mark.corpora
def test_every_image_of_the_corpora_has_a_thumbnail_none_or_our_own_error(
    corpora: Path, corpora_rows: Callable[[str], list[dict[str, str]]]
) -> None:
    for row in corpora_rows("index-images.tsv"):
        try:
            thumbnail = render_thumbnail(corpora / row["file"])
        except GatewayError:
            thumbnail = None
        if row["pydicom_decode"].startswith("ok"):
            assert max(_open(thumbnail).size) == 200, row["file"]


def _open(thumbnail: bytes | None) -> Image.Image:
    assert thumbnail is not None
    picture = Image.open(BytesIO(thumbnail))
    picture.load()
    return picture
