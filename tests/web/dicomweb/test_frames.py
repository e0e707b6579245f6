from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx
import pytest
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit

from gateway.model.order import Order
from gateway.simulate.objects import with_meta

if TYPE_CHECKING:
    from pydicom import Dataset

    from tests.web.dicomweb.conftest import Shelf

pytestmark = pytest.mark.anyio


def _place(dataset: "Dataset") -> str:
    series = f"/dicom-web/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}"
    return f"{series}/instances/{dataset.SOPInstanceUID}/frames"


def _parts(answer: httpx.Response) -> list[bytes]:
    boundary = answer.headers["content-type"].partition("boundary=")[2].encode()
    assert answer.content.endswith(b"\r\n--" + boundary + b"--\r\n")
    blocks = answer.content.split(b"\r\n--" + boundary)[1:-1]
    return [block.partition(b"\r\n\r\n")[2] for block in blocks]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
async def test_uncompressed_frames_are_cut_out_of_the_pixels(
    client: httpx.AsyncClient, shelf: "Shelf", syntax: str
) -> None:
    dataset = with_meta(shelf.examine()[0], syntax)
    dataset.NumberOfFrames, dataset.Rows = 4, dataset.Rows // 4
    shelf.keep(dataset)
    length = dataset.Rows * dataset.Columns * 3
    pixels = [dataset.PixelData[at * length : (at + 1) * length] for at in range(4)]
    answer = await client.get(f"{_place(dataset)}/3,1")
    assert answer.headers["content-type"].startswith('multipart/related; type="application/octet-stream"')
    assert f"transfer-syntax={ExplicitVRLittleEndian}".encode() in answer.content[:200]
    assert _parts(answer) == [pixels[2], pixels[0]]
    for bad, status in (("5", 404), ("0", 400), ("1,", 400), ("-1", 400), ("x", 400), ("1" * 12, 400)):
        assert (await client.get(f"{_place(dataset)}/{bad}")).status_code == status
    jpeg = await client.get(f"{_place(dataset)}/1", headers={"Accept": "multipart/related; type=image/jpeg"})
    assert jpeg.status_code == 406


async def test_compressed_frames_come_as_they_are_stored(
    client: httpx.AsyncClient, shelf: "Shelf", order_factory: Callable[..., Order]
) -> None:
    dataset = shelf.examine(order_factory())[2]
    shelf.keep(dataset)
    stored = list(generate_frames(dataset.PixelData, number_of_frames=12))
    for accept, kind in (
        ("*/*", "image/jpeg"),
        ('multipart/related; type="image/jpeg"', "image/jpeg"),
        (f"multipart/related; type=image/jpeg; transfer-syntax={JPEGBaseline8Bit}", "image/jpeg"),
        ('multipart/related; type="application/octet-stream"; transfer-syntax=*', "application/octet-stream"),
    ):
        answer = await client.get(f"{_place(dataset)}/12,2", headers={"Accept": accept})
        assert answer.status_code == 200, (accept, answer.text)
        assert answer.headers["content-type"].startswith(f'multipart/related; type="{kind}"')
        assert _parts(answer) == [stored[11], stored[1]]
    for accept in (
        'multipart/related; type="application/octet-stream"',
        f"multipart/related; type=application/octet-stream; transfer-syntax={ExplicitVRLittleEndian}",
        "image/png",
    ):
        answer = await client.get(f"{_place(dataset)}/1", headers={"Accept": accept})
        assert (answer.status_code, "image/jpeg" in answer.text) == (406, True), accept


async def test_what_has_no_frames_to_cut_out_says_so(client: httpx.AsyncClient, shelf: "Shelf") -> None:
    bare, bits, big = (shelf.examine()[0] for _ in range(3))
    del bare.PixelData
    bits.BitsAllocated, bits.SamplesPerPixel, bits.Rows, bits.Columns = 1, 1, 3, 3
    shelf.keep(bare)
    shelf.keep(bits)
    with_meta(big, ExplicitVRBigEndian)
    big["PixelData"].VR = "OB"
    shelf.keep(big)
    for dataset in (bare, bits, big):
        answer = await client.get(f"{_place(dataset)}/1")
        assert (answer.status_code, answer.text.count("\n")) == (404, 1)


async def test_a_table_of_frames_without_end_is_not_read(client: httpx.AsyncClient, shelf: "Shelf") -> None:
    dataset = shelf.examine()[2]
    dataset.ExtendedOffsetTable = dataset.ExtendedOffsetTableLengths = bytes(40 * 1024 * 1024)
    shelf.keep(dataset)
    answer = await client.get(f"{_place(dataset)}/1")
    assert (answer.status_code, "than the limit" in answer.text) == (404, True)


async def test_pixels_that_are_too_short_are_not_served(client: httpx.AsyncClient, shelf: "Shelf") -> None:
    short = shelf.examine()[0]
    short.NumberOfFrames = 2
    shelf.keep(short)
    assert (await client.get(f"{_place(short)}/1")).status_code == 404
