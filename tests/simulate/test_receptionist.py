"""The simulated receptionist on a page of our own."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from gateway.model.errors import NotFound, Refused, Unavailable
from gateway.simulate.ehr import Ehr, serving
from gateway.simulate.receptionist import Receptionist

LOGIN = """<form method="post" action="/login"><input type="hidden" name="next" value="/">
<input name="name"><input name="password" type="password"><button>Log in</button></form>"""
ORDERS = """<script>hidden()</script><p>Two   orders</p><form method="post" action="/logout"><button>Out</button></form>
<table><tr><th>Who</th></tr><tr><td>DOE, JANE</td><td>A1</td><td>
<form method="post" action="/orders/7/send"><input type="hidden" name="version" value="3">
<button name="station" value="US1">Send</button></form></td></tr></table>
<a href="/studies/2"><img src="/studies/2/thumbnail" alt=""></a><a href="#x">up</a>"""


class Site:
    """A page that remembers the forms it was sent."""

    def __init__(self) -> None:
        self.forms: list[dict[str, str]] = []
        self.origins: list[str] = []

    async def page(self, request: Request) -> Response:
        """Every address."""
        if request.method == "POST":
            form = await request.form()
            self.forms.append({name: str(value) for name, value in form.items()})
            self.origins.append(request.headers.get("origin", ""))
        if request.url.path == "/studies/2/thumbnail":
            return Response(b"PNG", media_type="image/png")
        if request.url.path == "/login" and request.method == "GET":
            return HTMLResponse(LOGIN)
        if request.url.path == "/login" and self.forms[-1]["password"] != "right":
            return HTMLResponse(LOGIN)
        if request.method == "POST":
            return RedirectResponse("/", 303)
        return HTMLResponse(ORDERS) if request.url.path == "/" else Response("no", 404)


@contextmanager
def _served(site: Site) -> Iterator[str]:
    ehr = Ehr()  # its server serves any application
    ehr.app = Starlette(routes=[Route("/{path:path}", site.page, methods=["GET", "POST"])])
    with serving(ehr) as base:
        yield base.removesuffix("/fhir")


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def receptionist(site: Site) -> Iterator[Receptionist]:
    with _served(site) as base, Receptionist(base) as person:
        yield person


def test_logging_in_sends_the_form_as_the_page_has_it(site: Site, receptionist: Receptionist) -> None:
    assert receptionist.log_in("anna", "right").path == "/"
    assert site.forms == [{"next": "/", "name": "anna", "password": "right"}]
    assert site.origins[0].startswith("http://127.0.0.1:")


def test_a_wrong_password_is_refused(receptionist: Receptionist) -> None:
    with pytest.raises(Refused, match="asks again"):
        receptionist.log_in("anna", "wrong")


def test_sending_an_order_keeps_the_hidden_fields(site: Site, receptionist: Receptionist) -> None:
    receptionist.send_order(7, "US1")
    assert site.forms == [{"version": "3", "station": "US1"}]


def test_an_order_that_cannot_be_sent_has_no_form(receptionist: Receptionist) -> None:
    with pytest.raises(NotFound, match="/orders/8/send"):
        receptionist.send_order(8, "US1")


def test_a_page_is_read_as_a_person_sees_it(receptionist: Receptionist) -> None:
    page = receptionist.open("/")
    assert page.text.startswith("Two orders")
    assert page.rows == ("Who", "DOE, JANE A1 Send")
    assert page.images == ("/studies/2/thumbnail",)
    assert page.links == ("/studies/2", "/#x")
    assert page.form("/orders/7/send").buttons == [("station", "US1")]


def test_a_picture_is_fetched(receptionist: Receptionist) -> None:
    assert receptionist.picture("/studies/2/thumbnail") == b"PNG"
    with pytest.raises(Refused, match="something else"):
        receptionist.picture("/")


def test_a_missing_page_is_refused(receptionist: Receptionist) -> None:
    with pytest.raises(Refused, match="404"):
        receptionist.open("/none")


def test_nobody_listening_is_unavailable(free_port: int) -> None:
    with Receptionist(f"http://127.0.0.1:{free_port}") as person, pytest.raises(Unavailable):
        person.open("/")
