import hashlib
from collections.abc import Callable
from email import message_from_bytes
from email.policy import HTTP
from io import BytesIO
from typing import TYPE_CHECKING

import httpx
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from gateway.flow.ports import Ports
from gateway.model.order import Order
from gateway.store import audit

if TYPE_CHECKING:
    from tests.web.dicomweb.conftest import Shelf

pytestmark = pytest.mark.anyio

Orders = Callable[..., Order]


def _parts(answer: httpx.Response) -> list[tuple[str, bytes]]:
    """The media type and the content of each part of a multipart answer."""
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = message_from_bytes(head + answer.content, policy=HTTP)
    boundary = b"--" + message.get_boundary().encode()  # type: ignore[union-attr]
    found = []
    for block in answer.content.split(b"\r\n" + boundary)[1:-1]:
        headers, _, content = block.partition(b"\r\n\r\n")
        kind = next(line for line in headers.decode().splitlines() if line.lower().startswith("content-type"))
        found.append((kind.partition(": ")[2], content))
    assert answer.content.endswith(b"\r\n" + boundary + b"--\r\n")
    return found


def _sha256(contents: list[bytes]) -> list[str]:
    return [hashlib.sha256(content).hexdigest() for content in contents]


async def test_a_study_comes_back_byte_for_byte(
    client: httpx.AsyncClient, shelf: "Shelf", order_factory: Orders
) -> None:
    order = order_factory()
    stored = [shelf.keep(dataset) for dataset in shelf.examine(order)]
    answer = await client.get(f"/dicom-web/studies/{order.study_uid}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith('multipart/related; type="application/dicom"; boundary=')
    assert int(answer.headers["content-length"]) == len(answer.content)
    parts = _parts(answer)
    assert _sha256([content for _, content in parts]) == _sha256(stored)
    syntaxes = [dcmread(BytesIO(content)).file_meta.TransferSyntaxUID for content in stored]
    assert [kind for kind, _ in parts] == [
        f"application/dicom; transfer-syntax={syntax}" for syntax in syntaxes
    ]


async def test_a_series_and_an_instance_come_alone(
    client: httpx.AsyncClient, shelf: "Shelf", order_factory: Orders
) -> None:
    order = order_factory()
    first, second = shelf.examine(order)[0], shelf.examine(order)[0]
    stored = [shelf.keep(dataset) for dataset in (first, second)]
    place = f"/dicom-web/studies/{order.study_uid}/series/{second.SeriesInstanceUID}"
    for path in (place, f"{place}/instances/{second.SOPInstanceUID}"):
        assert [content for _, content in _parts(await client.get(path))] == stored[1:]
    elsewhere = f"/dicom-web/studies/{order.study_uid}/series/{first.SeriesInstanceUID}"
    assert (await client.get(f"{elsewhere}/instances/{second.SOPInstanceUID}")).status_code == 404


async def test_one_instance_comes_as_the_file_it_is_where_that_is_wanted(
    client: httpx.AsyncClient, shelf: "Shelf", order_factory: Orders
) -> None:
    order = order_factory()
    dataset = shelf.examine(order)[1]
    stored = shelf.keep(dataset)
    place = f"/dicom-web/studies/{order.study_uid}/series/{dataset.SeriesInstanceUID}"
    path = f"{place}/instances/{dataset.SOPInstanceUID}"
    answer = await client.get(path, headers={"Accept": "application/dicom"})
    assert answer.headers["content-type"] == f"application/dicom; transfer-syntax={RLELossless}"
    assert answer.content == stored
    assert (await client.get(path, params={"accept": "application/dicom"})).content == stored
    refused = await client.get(place, headers={"Accept": "application/dicom"})
    assert (refused.status_code, "multipart/related" in refused.text) == (406, True)


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("*/*", 200),
        ("multipart/related", 200),
        ('multipart/related; type="application/dicom"', 200),
        ("multipart/related;type=application/dicom;transfer-syntax=*", 200),
        (f'multipart/related; type="application/dicom"; transfer-syntax={RLELossless}', 200),
        (f'multipart/related; type="application/dicom"; transfer-syntax={ExplicitVRLittleEndian}', 406),
        (
            f'multipart/related; type="application/dicom"; transfer-syntax={ExplicitVRLittleEndian}, '
            f'multipart/related; type="application/dicom"; transfer-syntax={RLELossless}; q=0.1',
            200,
        ),
        ('multipart/related; type="application/dicom+xml"', 406),
        ('multipart/related; type="application/dicom";q=0', 406),
        ("image/jpeg", 406),
        ("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", 200),
        ("this is no media type", 400),
        ("a/b;" * 2000, 400),
    ],
)
async def test_what_is_stored_is_served_or_refused_with_a_reason(
    client: httpx.AsyncClient, shelf: "Shelf", order_factory: Orders, accept: str, status: int
) -> None:
    order = order_factory()
    shelf.keep(shelf.examine(order)[1])
    answer = await client.get(f"/dicom-web/studies/{order.study_uid}", headers={"Accept": accept})
    assert answer.status_code == status
    assert status == 200 or answer.text.startswith("accept: ")


async def test_only_the_headers_are_answered_where_only_they_are_asked(
    client: httpx.AsyncClient, shelf: "Shelf", order_factory: Orders
) -> None:
    order = order_factory()
    stored = shelf.keep(shelf.examine(order)[0])
    answer = await client.head(f"/dicom-web/studies/{order.study_uid}")
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) > len(stored)


async def test_a_study_with_a_lost_file_is_not_served_as_if_it_were_whole(
    ports: Ports, client: httpx.AsyncClient, shelf: "Shelf", order_factory: Orders
) -> None:
    order = order_factory()
    stored = [shelf.keep(dataset) for dataset in shelf.examine(order)[:2]]
    gone, left = shelf.held(order.study_uid)
    ports.files.path(gone.path).unlink()
    study = f"/dicom-web/studies/{order.study_uid}"
    answer = await client.get(study)
    assert (answer.status_code, "gone from the disk" in answer.text) == (404, True)
    alone = await client.get(f"{study}/series/{left.series_uid}/instances/{left.sop_uid}")
    assert [content for _, content in _parts(alone)] == stored[1:]


async def test_who_retrieved_which_study_is_recorded_once_an_hour(
    ports: Ports, client: httpx.AsyncClient, shelf: "Shelf", order_factory: Orders
) -> None:
    order = order_factory()
    shelf.keep(shelf.examine(order)[0])
    (held,) = shelf.held(order.study_uid)

    async def recorded() -> list[tuple[str, str]]:
        assert (await client.get(f"/dicom-web/studies/{order.study_uid}")).status_code == 200
        with ports.database.read() as tx:
            trail = audit.of_subject(tx, f"study:{held.study_id}")
        return [(one.actor, one.action) for one in trail if one.detail == "dicomweb"]

    assert await recorded() == [("token:viewer", "study.retrieve")]
    assert len(await recorded()) == 1
    ports.clock.advance(seconds=3600)  # type: ignore[attr-defined]
    assert len(await recorded()) == 2
