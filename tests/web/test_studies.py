from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx
import pytest

from gateway.flow.ports import Ports
from gateway.model.measurement import Measurement
from gateway.model.order import Order
from gateway.model.study import StudyState
from gateway.model.user import Role
from gateway.store import aside, audit, studies

if TYPE_CHECKING:
    from tests.web.conftest import Machine

pytestmark = pytest.mark.anyio

Visitor = Callable[..., httpx.AsyncClient]
Orders = Callable[..., Order]


async def test_a_study_shows_every_picture_and_measurement(
    ports: Ports,
    visitor: Visitor,
    order_factory: Orders,
    machine: "Machine",
    measurement: Callable[[str, str], Measurement],
) -> None:
    order = order_factory()
    sent = [machine.send(order) for _ in range(6)]
    for image in sent[:5]:
        machine.examine(image, found=(measurement("Biparietal Diameter", "52.10"),))
    async with visitor(Role.VIEWER) as client:
        page = (await client.get(f"/studies/{sent[0].study}")).text
    assert page.count("/thumbnail") == 5
    assert "being read" in page
    assert "Biparietal Diameter" in page
    assert "52.10 mm" in page
    assert "Fetal Biometry" in page
    assert f'href="/orders/{order.id}"' in page
    with ports.database.read() as tx:
        assert [e.action for e in audit.of_subject(tx, f"study:{sent[0].study}")] == ["study.view"]


async def test_a_thumbnail_is_served_as_what_it_is(
    visitor: Visitor, order_factory: Orders, machine: "Machine", jpeg: bytes
) -> None:
    order = order_factory()
    png, other, odd, none = (machine.send(order) for _ in range(4))
    machine.examine(png)
    machine.examine(other, jpeg)
    machine.examine(odd, b"<svg onload=alert(1)>")
    async with visitor(Role.VIEWER) as client:
        answers = [
            await client.get(f"/studies/{sent.study}/instances/{sent.instance}/thumbnail")
            for sent in (png, other, odd, none)
        ]
    assert [answer.status_code for answer in answers] == [200, 200, 404, 404]
    assert [answer.headers["content-type"] for answer in answers[:2]] == ["image/png", "image/jpeg"]
    assert answers[1].content == jpeg
    assert answers[0].headers["cache-control"].startswith("private")


async def test_a_picture_that_is_gone_is_not_found(
    ports: Ports, visitor: Visitor, order_factory: Orders, machine: "Machine"
) -> None:
    sent = machine.send(order_factory())
    machine.examine(sent)
    next(ports.files.path(sent.path).parent.glob("*.thumb")).unlink()
    async with visitor(Role.VIEWER) as client:
        path = f"/studies/{sent.study}/instances/{sent.instance}/thumbnail"
        assert (await client.get(path)).status_code == 404


async def test_a_technologist_completes_a_study(
    ports: Ports, visitor: Visitor, order_factory: Orders, machine: "Machine"
) -> None:
    sent = machine.send(order_factory())
    async with visitor(Role.TECHNOLOGIST) as client:
        assert "complete it now" in (await client.get(f"/studies/{sent.study}")).text
        answer = await client.post(f"/studies/{sent.study}/complete")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/studies/{sent.study}")
        page = (await client.get(f"/studies/{sent.study}")).text
    assert "The study is complete." in page
    assert "complete it now" not in page
    with ports.database.read() as tx:
        assert studies.show(tx, sent.study).state is StudyState.COMPLETE


async def test_an_object_kept_aside_is_told(
    ports: Ports, visitor: Visitor, order_factory: Orders, machine: "Machine"
) -> None:
    sent = machine.send(order_factory())
    async with visitor(Role.VIEWER) as client:
        assert "kept aside" not in (await client.get(f"/studies/{sent.study}")).text
        with ports.database.write() as tx:
            uid = studies.instance(tx, sent.instance).sop_uid
            stored = studies.StoredFile(path="aside/x.dcm", size=1, sha256="0" * 64)
            aside.add(tx, uid, stored, calling_ae="US2", at=ports.clock())
        page = (await client.get(f"/studies/{sent.study}")).text
    assert "1 object came under the UID of another image with other content, and was kept aside" in page
