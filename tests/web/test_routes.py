from collections.abc import Callable
from typing import get_args

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from gateway.model.order import Order
from gateway.model.user import PERMISSIONS, Permission, Role
from gateway.web.guard import EVERYONE, Entry
from gateway.web.routes import TABLE

pytestmark = pytest.mark.anyio

Visitor = Callable[..., httpx.AsyncClient]

OPEN = {
    ("GET", "/login"),
    ("POST", "/login"),
    ("POST", "/logout"),
    ("GET", "/setup"),
    ("POST", "/setup"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/static/{name}"),
}
GUARDED = [entry for entry in TABLE if entry.needs != EVERYONE]


def _path(path: str) -> str:
    return path.replace("{id:int}", "1").replace("{iid:int}", "1")


def test_every_route_stands_in_the_table_with_what_it_needs(app: Starlette) -> None:
    declared = {f"{entry.method} {entry.path}": entry.needs for entry in TABLE}
    assert [route.name for route in app.routes if isinstance(route, Route)] == list(declared)
    assert len(app.routes) == len(declared)
    assert all(
        needs == EVERYONE or needs in get_args(Permission) + tuple(Permission) for needs in declared.values()
    )


def test_only_these_pages_are_open_to_everyone() -> None:
    assert {(entry.method, entry.path) for entry in TABLE if entry.needs == EVERYONE} == OPEN


@pytest.mark.parametrize("entry", GUARDED, ids=lambda entry: f"{entry.method} {entry.path}")
async def test_a_stranger_is_led_to_the_login(
    visitor: Visitor, order_factory: Callable[..., Order], entry: Entry
) -> None:
    order_factory()
    async with visitor(Role.ADMIN) as known, visitor() as stranger:
        assert (await known.get("/healthz")).status_code == 200
        answer = await stranger.request(entry.method, _path(entry.path))
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login")


@pytest.mark.parametrize("role", list(Role))
async def test_a_role_is_refused_what_its_permissions_lack(
    visitor: Visitor, order_factory: Callable[..., Order], role: Role
) -> None:
    order_factory()
    async with visitor(role) as client:
        for entry in GUARDED:
            if entry.path == "/events":
                continue
            answer = await client.request(entry.method, _path(entry.path))
            is_refused = answer.status_code == 403
            assert is_refused == (entry.needs not in PERMISSIONS[role]), (entry.method, entry.path)


async def test_a_session_that_never_was_is_a_stranger(app: Starlette, visitor: Visitor) -> None:
    async with visitor(Role.ADMIN), visitor() as stranger:
        answer = await stranger.get("/", headers={"Cookie": "gateway=made-up"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")


async def test_where_nobody_can_log_in_yet_everything_leads_to_the_set_up(visitor: Visitor) -> None:
    async with visitor() as stranger:
        assert (await stranger.get("/")).headers["location"] == "/setup"
        assert (await stranger.get("/login")).headers["location"] == "/setup"


async def test_routes_of_other_rooms_are_served_with_the_headers_and_without_the_login(
    make_app: Callable[..., Starlette],
) -> None:
    async def theirs(request: Request) -> PlainTextResponse:
        return PlainTextResponse("theirs")

    app = make_app(more=[Route("/fhir/{source}", theirs, methods=["POST"])])
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://gateway.test"
    ) as client:
        answer = await client.post("/fhir/ehr", headers={"Origin": "https://ehr.example", "Cookie": "a=b"})
    assert (answer.status_code, answer.text) == (200, "theirs")
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_an_address_without_a_page_says_so_to_people_and_programs(visitor: Visitor) -> None:
    async with visitor() as client:
        program = await client.get("/nothing")
        person = await client.get("/nothing", headers={"Accept": "text/html"})
    assert (program.status_code, program.headers["content-type"]) == (404, "text/plain; charset=utf-8")
    assert (person.status_code, "Not found" in person.text) == (404, True)


async def test_numbers_no_row_can_have_are_not_found(visitor: Visitor) -> None:
    async with visitor(Role.ADMIN) as client:
        for path in ("/orders/99", f"/orders/{10**30}", "/studies/99", "/messages/99"):
            assert (await client.get(path)).status_code == 404
