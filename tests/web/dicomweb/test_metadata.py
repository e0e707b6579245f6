import asyncio
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx
import pytest
from pydicom import Dataset, config
from pydicom.dataelem import DataElement
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from gateway.dicom.incoming import file_header
from gateway.flow.ports import Ports
from gateway.model.order import Order
from gateway.simulate.objects import with_meta
from gateway.web.dicomweb.header_json import MAX_VALUE_BYTES

if TYPE_CHECKING:
    from tests.web.dicomweb.conftest import Shelf

pytestmark = pytest.mark.anyio

Orders = Callable[..., Order]


async def _metadata(client: httpx.AsyncClient, study_uid: str, below: str = "") -> list[Dataset]:
    answer = await client.get(f"/dicom-web/studies/{study_uid}{below}/metadata")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/dicom+json"
    return [Dataset.from_json(one) for one in answer.json()]


async def test_every_object_tells_its_header_without_its_pixels(
    client: httpx.AsyncClient, shelf: "Shelf", order_factory: Orders
) -> None:
    order = order_factory()
    datasets = shelf.examine(order)
    for dataset in datasets:
        shelf.keep(dataset)
    told = await _metadata(client, order.study_uid)
    assert len(told) == 3
    for dataset, header in zip(datasets, told, strict=True):
        assert "PixelData" not in header
        assert header == Dataset({element.tag: element for element in dataset if element.tag != 0x7FE00010})
    series = f"/series/{datasets[0].SeriesInstanceUID}"
    assert len(await _metadata(client, order.study_uid, series)) == 3
    one = await _metadata(client, order.study_uid, f"{series}/instances/{datasets[2].SOPInstanceUID}")
    assert [header.NumberOfFrames for header in one] == [12]


async def test_text_is_told_in_unicode_whatever_it_was_stored_in(
    client: httpx.AsyncClient, shelf: "Shelf"
) -> None:
    dataset = shelf.examine(patient_name="Müller^Änne")[0]
    dataset.SpecificCharacterSet = "ISO_IR 100"
    shelf.keep(dataset)
    (header,) = await _metadata(client, dataset.StudyInstanceUID)
    assert (header.PatientName, header.SpecificCharacterSet) == ("Müller^Änne", "ISO_IR 192")


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
async def test_bulk_is_left_out_and_a_long_sequence_is_not(
    client: httpx.AsyncClient, shelf: "Shelf", syntax: str
) -> None:
    dataset = with_meta(shelf.examine()[0], syntax)
    dataset.add_new(0x00291010, "OB", b"\1" * (MAX_VALUE_BYTES + 2))
    dataset.EncapsulatedDocument = b"\2" * (MAX_VALUE_BYTES + 2)
    item = Dataset()
    item.TextValue = "x" * 60_000
    dataset.ContentSequence = [item] * 3
    shelf.keep(dataset)
    (header,) = await _metadata(client, dataset.StudyInstanceUID)
    assert [len(one.TextValue) for one in header.ContentSequence] == [60_000] * 3
    assert "EncapsulatedDocument" not in header
    assert 0x00291010 not in header
    assert header.PatientID == dataset.PatientID


async def test_what_is_no_value_of_its_kind_is_left_out_alone(
    client: httpx.AsyncClient, shelf: "Shelf", capfd: pytest.CaptureFixture[str]
) -> None:
    dataset = shelf.examine()[0]
    for keyword, vr, value in (
        ("PatientWeight", "DS", "heavy-Jane"),
        ("AcquisitionNumber", "IS", "first-Jane"),
        ("PatientAge", "AS", "old-Jane"),
    ):
        dataset.add(
            DataElement(keyword, vr, value.encode(), validation_mode=config.IGNORE, already_converted=True)
        )
    dataset.add_new("ExposureTimeInms", "FD", float("nan"))
    shelf.keep(dataset)
    (header,) = (await client.get(f"/dicom-web/studies/{dataset.StudyInstanceUID}/metadata")).json()
    assert "00101030" not in header
    assert "00189328" not in header
    assert header["00200010"] == {"vr": "SH", "Value": [dataset.StudyID]}
    assert "Jane" not in capfd.readouterr().err


async def test_a_deflated_object_is_read_and_a_bomb_is_not(client: httpx.AsyncClient, shelf: "Shelf") -> None:
    for size, is_told in ((100, True), (40_000_000, False)):
        dataset = shelf.examine()[0]
        plain = with_meta(dataset, ExplicitVRLittleEndian)
        plain.PixelData = bytes(size)
        from io import BytesIO

        written = BytesIO()
        plain.save_as(written, implicit_vr=False, little_endian=True)
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        encoded = deflater.compress(written.getvalue()) + deflater.flush()
        header = file_header(
            sop_class=dataset.SOPClassUID,
            sop_uid=dataset.SOPInstanceUID,
            transfer_syntax=DeflatedExplicitVRLittleEndian,
            calling_ae="US1",
        )
        shelf.keep_bytes(header, encoded, DeflatedExplicitVRLittleEndian)
        (told,) = await _metadata(client, dataset.StudyInstanceUID)
        assert told.SOPInstanceUID == dataset.SOPInstanceUID
        assert ("PatientID" in told) is is_told


async def test_of_an_object_that_cannot_be_read_only_what_it_is_is_told(
    ports: Ports, client: httpx.AsyncClient, shelf: "Shelf"
) -> None:
    dataset = shelf.examine()[0]
    shelf.keep(dataset)
    (held,) = shelf.held(dataset.StudyInstanceUID)
    path = ports.files.path(held.path)
    content = path.read_bytes()
    path.write_bytes(content[:400] + b"\xff" * 60)
    (header,) = await _metadata(client, dataset.StudyInstanceUID)
    assert header.SOPInstanceUID == dataset.SOPInstanceUID


async def test_many_read_at_once(client: httpx.AsyncClient, shelf: "Shelf") -> None:
    datasets = shelf.examine()
    for dataset in datasets:
        shelf.keep(dataset)
    told = await asyncio.gather(*(_metadata(client, datasets[0].StudyInstanceUID) for _ in range(8)))
    assert all(one == told[0] for one in told)
