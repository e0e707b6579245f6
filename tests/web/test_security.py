from collections.abc import Callable

import httpx
import pytest
from starlette.applications import Starlette
from starlette.datastructures import Headers

from gateway.flow.ports import Ports
from gateway.model.lifecycle import State
from gateway.model.order import Order
from gateway.model.user import Role
from gateway.store import orders
from gateway.web.security import is_our_own

pytestmark = pytest.mark.anyio

Visitor = Callable[..., httpx.AsyncClient]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "http://gw:5000"}, False),
        ({"origin": "http://gw:5000"}, True),
        ({"origin": "http://gw:5000", "cookie": "gateway=x"}, True),
        ({"origin": "https://GW:5000"}, True),
        ({"origin": "http://gw"}, False),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "http://gw:5000.evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({"origin": "http://[oops"}, False),
        ({"cookie": "gateway=x"}, False),
        ({}, True),
    ],
)
async def test_only_our_own_pages_may_act(headers: dict[str, str], expected: bool) -> None:
    assert is_our_own(Headers({"host": "gw:5000", **headers})) is expected


async def test_without_a_host_no_origin_is_ours() -> None:
    assert not is_our_own(Headers({"origin": ""}))


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
async def test_a_form_of_another_site_changes_nothing(
    app: Starlette,
    ports: Ports,
    token: Callable[[Role], str],
    order_factory: Callable[..., Order],
    headers: dict[str, str],
) -> None:
    order = order_factory(state=State.SCHEDULED)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://gateway.test",
        cookies={"gateway": token(Role.ADMIN)},
    ) as client:
        answer = await client.post(f"/orders/{order.id}/send", data={"station": "US1"}, headers=headers)
    assert answer.status_code == 403
    with ports.database.read() as tx:
        assert orders.show(tx, order.id).state is State.SCHEDULED


async def test_pages_carry_the_security_headers_and_are_not_kept(visitor: Visitor) -> None:
    async with visitor(Role.VIEWER) as client:
        for path in ("/", "/login", "/healthz", "/nothing", "/orders/99"):
            headers = (await client.get(path)).headers
            assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"
            assert headers["cache-control"] == "no-store"


async def test_pages_have_no_inline_script_or_style(
    visitor: Visitor, order_factory: Callable[..., Order]
) -> None:
    order = order_factory(state=State.SCHEDULED)
    async with visitor(Role.ADMIN) as client:
        for path in ("/", f"/orders/{order.id}", "/messages", f"/messages/{order.message_id}", "/deliveries"):
            text = (await client.get(path)).text
            assert text.count("<script") == 1
            assert '<script type="module" src="/static/live.js?v=' in text
            assert "<style" not in text
            assert " style=" not in text
            assert "onclick" not in text


async def test_assets_named_by_their_content_are_kept(visitor: Visitor) -> None:
    async with visitor(Role.VIEWER) as client:
        page = (await client.get("/")).text
        address = page.split('rel="stylesheet" href="')[1].split('"')[0]
        named, bare = await client.get(address), await client.get("/static/style.css")
        missing = await client.get("/static/..%2froutes.py")
    assert "immutable" in named.headers["cache-control"]
    assert named.headers["content-type"].startswith("text/css")
    assert bare.headers["cache-control"] == "no-cache"
    assert missing.status_code == 404


async def test_a_form_that_is_too_large_is_refused(visitor: Visitor) -> None:
    async with visitor() as client:
        answer = await client.post("/login", data={"name": "x" * 100_000})
    assert answer.status_code == 413


async def test_a_fault_of_our_own_is_answered_with_the_headers(make_app: Callable[..., Starlette]) -> None:
    def broken() -> dict[str, str]:
        raise RuntimeError("broken")

    app = make_app()
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
        app.routes[:] = [route for route in app.routes if getattr(route, "path", "") != "/healthz"]
        app.router.add_route("/healthz", lambda request: broken())  # type: ignore[arg-type,return-value]
        answer = await client.get("/healthz")
    assert answer.status_code == 500
    assert "broken" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
