import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx
import pytest
from PIL import Image

from gateway.flow.examine import examine_pending
from gateway.flow.ports import Ports
from gateway.imaging.worker import PictureWorker
from gateway.model.order import Order

if TYPE_CHECKING:
    from tests.web.dicomweb.conftest import Shelf

pytestmark = pytest.mark.anyio


async def test_the_picture_that_was_made_is_served_and_none_is_made_here(
    ports: Ports, client: httpx.AsyncClient, shelf: "Shelf", order_factory: Callable[..., Order]
) -> None:
    order = order_factory()
    dataset = shelf.examine(order)[1]
    shelf.keep(dataset)
    series = f"/dicom-web/studies/{order.study_uid}/series/{dataset.SeriesInstanceUID}"
    place = f"{series}/instances/{dataset.SOPInstanceUID}"
    early = await client.get(f"{place}/rendered")
    assert (early.status_code, early.text) == (404, "the object has no picture, or none yet\n")
    with PictureWorker(time_limit_s=60, max_pixels=10_000_000) as worker:
        examine_pending(ports, worker.examine)
    for name in ("rendered", "thumbnail"):
        for accept in ("image/jpeg", "image/*", "*/*", "image/png, image/jpeg;q=0.1"):
            answer = await client.get(f"{place}/{name}", headers={"Accept": accept})
            assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        assert Image.open(io.BytesIO(answer.content)).size == (200, 150)
        assert (await client.get(f"{place}/{name}", headers={"Accept": "image/gif"})).status_code == 406
        assert (await client.get(f"{place}/{name}?window=1,2,linear")).status_code == 400
