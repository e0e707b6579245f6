import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx
import pytest

from gateway.flow.grant import revoke
from gateway.flow.ports import Ports
from gateway.model.order import Order
from gateway.model.user import Role
from gateway.store import studies
from gateway.web.dicomweb import ROOT
from gateway.web.dicomweb.routes import TABLE

if TYPE_CHECKING:
    from tests.web.dicomweb.conftest import Shelf

pytestmark = pytest.mark.anyio

Orders = Callable[..., Order]
Person = Callable[..., httpx.AsyncClient]

PATHS = [ROOT + path.format(study="1.2", series="1.3", instance="1.4", frames="1") for path, _ in TABLE]


async def test_nobody_reads_anything_unproven(person: Person) -> None:
    async with person() as stranger:
        for path in PATHS:
            answer = await stranger.get(path)
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"] == 'Bearer realm="dicom-web"'
            for shown in ("Bearer iog_made-up", "Basic dXNlcjpwYXNz", "Bearer", ""):
                refused = await stranger.get(path, headers={"Authorization": shown})
                assert refused.status_code == 401, (path, shown)
                assert 'error="invalid_token"' in refused.headers["www-authenticate"]


async def test_nothing_can_be_written(client: httpx.AsyncClient) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert (await client.request(method, "/dicom-web/studies")).status_code == 405


async def test_a_token_is_worth_nothing_from_the_moment_it_is_revoked(
    ports: Ports, client: httpx.AsyncClient
) -> None:
    assert (await client.get("/dicom-web/studies")).status_code == 204
    revoke(ports, "viewer", actor="test")
    assert (await client.get("/dicom-web/studies")).status_code == 401


@pytest.mark.parametrize("role", list(Role))
async def test_whoever_may_see_orders_may_read_studies(
    person: Person, shelf: "Shelf", order_factory: Orders, role: Role
) -> None:
    order = order_factory()
    shelf.keep(shelf.examine(order)[0])
    async with person(role) as somebody:
        assert (await somebody.get(f"/dicom-web/studies/{order.study_uid}")).status_code == 200


async def test_a_bad_token_is_refused_whatever_session_is_open_beside_it(person: Person) -> None:
    async with person(Role.ADMIN) as somebody:
        assert (await somebody.get("/dicom-web/studies")).status_code == 204
        answer = await somebody.get("/dicom-web/studies", headers={"Authorization": "Bearer iog_old"})
    assert answer.status_code == 401


async def test_a_study_in_doubt_is_hidden_from_programs_and_shown_to_people(
    ports: Ports, client: httpx.AsyncClient, person: Person, shelf: "Shelf", order_factory: Orders
) -> None:
    order = order_factory()
    dataset = shelf.examine(order, patient_id="SOMEBODY-ELSE")[0]
    shelf.keep(dataset)
    with ports.database.read() as tx:
        study = studies.of_uid(tx, order.study_uid)
    assert study is not None
    assert "another patient" in study.doubt
    place = f"/dicom-web/studies/{order.study_uid}"
    series = f"{place}/series/{dataset.SeriesInstanceUID}"
    instance = f"{series}/instances/{dataset.SOPInstanceUID}"
    single = [place, f"{place}/metadata", f"{place}/series", series, f"{series}/instances", instance]
    searches = ["/dicom-web/studies", "/dicom-web/series", "/dicom-web/instances"]
    searches.append(f"/dicom-web/studies?StudyInstanceUID={order.study_uid}")
    assert {(await client.get(path)).status_code for path in single} == {404}
    assert {(await client.get(path)).status_code for path in searches} == {204}
    async with person(Role.RECEPTION) as somebody:
        assert {(await somebody.get(path)).status_code for path in (*single, *searches)} == {200}


TRICKS = [
    "/dicom-web/studies/..%2F..%2Fetc%2Fpasswd",
    "/dicom-web/studies/%2e%2e/metadata",
    "/dicom-web/studies/1.2.3%00",
    "/dicom-web/studies/1.2.3'%20OR%20'1'='1",
    "/dicom-web/studies/" + "1" * 65,
    "/dicom-web/studies/١.٢",
    "/dicom-web/studies/1.2/series/*/instances/1.4",
    "/dicom-web/studies/1.2/series/1.3/instances/..%5C1.4/rendered",
    "/dicom-web/studies?StudyInstanceUID=../../x",
]


async def test_what_is_no_uid_goes_no_further_than_its_reading(client: httpx.AsyncClient) -> None:
    for path in TRICKS:
        answer = await client.get(path)
        assert answer.status_code in (400, 404), path
        assert "passwd" not in answer.text


async def test_no_secret_and_no_patient_is_in_the_log(
    client: httpx.AsyncClient,
    person: Person,
    shelf: "Shelf",
    order_factory: Orders,
    secret: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="gateway")
    order = order_factory()
    shelf.keep(shelf.examine(order)[0])
    await client.get("/dicom-web/studies", params={"PatientName": "Doe^Jane", "PatientID": "MRN1"})
    await client.get("/dicom-web/studies", params={"PatientNames": "Doe^Jane"})
    async with person() as stranger:
        await stranger.get("/dicom-web/studies", headers={"Authorization": f"Bearer {secret}x"})
    told = str([record.__dict__ for record in caplog.records])
    assert "dicomweb.refused" in told
    assert not any(word in told for word in (secret, "Doe", "MRN1", order.study_uid))
