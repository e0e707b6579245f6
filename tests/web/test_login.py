from collections.abc import Callable

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from gateway.flow import admit
from gateway.flow.ports import Ports
from gateway.model.user import Role
from gateway.web.site import local_path

pytestmark = pytest.mark.anyio

Visitor = Callable[..., httpx.AsyncClient]

PASSWORD = "correct-horse-battery"


@pytest.fixture
def anna(ports: Ports) -> None:
    admit.add_user(ports, "anna", Role.RECEPTION, PASSWORD, actor="cli")


@pytest.mark.usefixtures("anna")
async def test_the_right_password_opens_the_page_asked_for(visitor: Visitor) -> None:
    async with visitor() as client:
        asked = await client.get("/orders/7?day=2026-11-23")
        assert asked.headers["location"] == "/login?next=/orders/7%3Fday%3D2026-11-23"
        form = await client.get(asked.headers["location"])
        assert 'name="next" value="/orders/7?day=2026-11-23"' in form.text
        answer = await client.post("/login", data={"name": "anna", "password": PASSWORD, "next": "/messages"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/messages")
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("gateway=")
        assert {"HttpOnly", "SameSite=lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
        assert (await client.get("/")).status_code == 200


@pytest.mark.usefixtures("anna")
async def test_a_wrong_password_shows_the_form_again_without_it(visitor: Visitor) -> None:
    async with visitor() as client:
        answer = await client.post("/login", data={"name": "anna", "password": "secret-guess-1"})
    assert answer.status_code == 403
    assert "the name or the password is wrong" in answer.text
    assert 'value="anna"' in answer.text
    assert "secret-guess-1" not in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.usefixtures("anna")
async def test_by_tls_the_cookie_is_secure_and_bound_to_the_host(make_app: Callable[..., Starlette]) -> None:
    transport = httpx.ASGITransport(make_app(secure_cookies=True))
    async with httpx.AsyncClient(transport=transport, base_url="https://gateway.test") as client:
        answer = await client.post("/login", data={"name": "anna", "password": PASSWORD})
        assert answer.headers["set-cookie"].startswith("__Host-gateway=")
        assert "Secure" in answer.headers["set-cookie"]
        assert "Domain" not in answer.headers["set-cookie"]
        assert "max-age" in answer.headers["strict-transport-security"]
        assert (await client.get("/")).status_code == 200


@pytest.mark.usefixtures("anna")
async def test_logging_out_ends_the_session_on_the_server_too(visitor: Visitor) -> None:
    async with visitor() as client:
        await client.post("/login", data={"name": "anna", "password": PASSWORD})
        session = client.cookies["gateway"]
        assert (await client.post("/logout")).headers["location"] == "/login"
        assert "gateway" not in client.cookies
        answer = await client.get("/", headers={"Cookie": f"gateway={session}"})
    assert answer.status_code == 303


@pytest.mark.usefixtures("anna")
async def test_logging_in_anew_ends_the_session_before(visitor: Visitor) -> None:
    async with visitor() as client:
        await client.post("/login", data={"name": "anna", "password": PASSWORD})
        before = client.cookies["gateway"]
        await client.post("/login", data={"name": "anna", "password": PASSWORD})
        assert client.cookies["gateway"] != before
        client.cookies.clear()
        assert (await client.get("/", headers={"Cookie": f"gateway={before}"})).status_code == 303


@pytest.mark.usefixtures("anna")
@pytest.mark.parametrize(
    "target", ["//evil.example/", "https://evil.example/", "/\\evil.example", "evil", ""]
)
async def test_the_login_leads_nowhere_else(visitor: Visitor, target: str) -> None:
    async with visitor() as client:
        answer = await client.post("/login", data={"name": "anna", "password": PASSWORD, "next": target})
    assert answer.headers["location"] == "/"


@given(st.text() | st.text(alphabet="/\\:.@eh\t\n ").map(lambda text: f"/{text}"))
def test_whatever_is_asked_for_the_way_on_stays_here(text: str) -> None:
    target = httpx.URL("http://gateway.test/").join(local_path(text))
    assert target.host == "gateway.test"


async def test_the_set_up_needs_the_secret_and_works_once(ports: Ports, visitor: Visitor) -> None:
    secret = admit.new_setup_secret(ports)
    assert secret is not None
    form = {"secret": secret, "name": "root", "password": PASSWORD, "again": PASSWORD}
    async with visitor() as client, visitor() as second:
        wrong = await client.post("/setup", data={**form, "secret": "guess"})
        assert wrong.status_code == 403
        assert "set-up secret is wrong" in wrong.text
        differing = await client.post("/setup", data={**form, "again": "something-else"})
        assert (differing.status_code, "the two do not match" in differing.text) == (422, True)
        weak = await client.post("/setup", data={**form, "password": "short", "again": "short"})
        assert (weak.status_code, "at least" in weak.text) == (422, True)
        done = await client.post("/setup", data=form)
        assert (done.status_code, done.headers["location"]) == (303, "/")
        assert "root" in (await client.get("/")).text
        again = await second.post("/setup", data={**form, "name": "other"})
        assert (again.status_code, again.headers["location"]) == (303, "/login")
        assert (await second.get("/setup")).headers["location"] == "/login"
