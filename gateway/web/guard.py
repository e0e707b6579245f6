"""The door of every page: who asks, whether they may, and what an error looks like."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, TypeAlias
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from gateway.flow.ports import Ports
from gateway.model.errors import (
    Conflict,
    GatewayError,
    Invalid,
    Malformed,
    NotFound,
    Refused,
    Unavailable,
)
from gateway.model.user import Permission, User
from gateway.store import users
from gateway.web.security import HEADERS
from gateway.web.site import SAID, Site, Visit, go, render

EVERYONE: Final = "everyone"
"""Said of a page that needs no login."""

Access: TypeAlias = Permission | Literal["everyone"]
Page: TypeAlias = Callable[[Site, Visit], Response]

log = logging.getLogger(__name__)

STATUS: dict[type[GatewayError], int] = {
    Malformed: 400,
    Refused: 403,
    NotFound: 404,
    Conflict: 409,
    Invalid: 422,
    Unavailable: 503,
}
_TITLES = {
    400: "That could not be read",
    403: "You may not do that",
    404: "Not found",
    405: "That does not work here",
    409: "Someone was quicker",
    413: "That is too much",
    422: "Something is missing or wrong",
    500: "Something went wrong",
    503: "Not available now",
}
_MAX_FIELDS = 20
_FORWARDED = frozenset({"forwarded", "x-forwarded-for", "x-real-ip"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One page or action: its address, its method, what answers it and what that asks of the visitor."""

    path: str
    method: Literal["GET", "POST"]
    page: Page
    needs: Access
    is_use: bool = True  # False: what an open page asks on its own, which keeps no session alive


def endpoint(site: Site, entry: Entry) -> Callable[[Request], Awaitable[Response]]:
    """What Starlette calls for the entry. The page itself runs in a thread."""

    async def answer(request: Request) -> Response:
        token = request.cookies.get(site.cookie, "")
        is_use = entry.is_use and "fragment" not in request.query_params
        admitted = partial(site.admitted, token, is_use=is_use)
        try:
            user = None if entry.needs == EVERYONE else await run_in_threadpool(admitted)
        except GatewayError as error:
            return refusal(site, _visit(request, None, token, {}), error)
        if entry.needs != EVERYONE:
            if user is None:
                return await run_in_threadpool(_to_login, site.ports, request)
            if not user.may(entry.needs):
                reason = Refused(f"your role ({user.role}) does not allow it; ask an administrator")
                return refusal(site, _visit(request, user, token, {}), reason)
        form = await _form(request) if entry.method == "POST" else {}
        return await run_in_threadpool(_answered, site, entry, _visit(request, user, token, form))

    return answer


def refusal(site: Site, visit: Visit, error: GatewayError) -> Response:
    """The page that says what went wrong and where to go on."""
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
    return error_page(site, visit, status, str(error))


def error_page(site: Site, visit: Visit, status: int, text: str) -> Response:
    """A page for a status that is no success."""
    title = _TITLES.get(status, "That did not work")
    return render(
        site, visit, "error.html", status=status, title=title, lines=text.splitlines(), back=visit.back("/")
    )


def http_error(site: Site) -> Callable[[Request, Exception], Response]:
    """What answers Starlette's own errors (no such page, wrong method): a page for people, a line for programs."""

    def answer(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if "text/html" not in request.headers.get("accept", ""):
            return PlainTextResponse(f"{error.detail}\n", error.status_code, headers=error.headers)
        return error_page(site, _visit(request, None, "", {}), error.status_code, "Check the address.")

    return answer


async def crashed(request: Request, error: Exception) -> Response:
    """The answer to a fault of our own; the server logs the traceback."""
    log.error("web.crashed", extra={"error": type(error).__name__})
    return PlainTextResponse(
        "Something went wrong in the gateway. Its log says what.\n", 500, headers=HEADERS
    )


def _answered(site: Site, entry: Entry, visit: Visit) -> Response:
    try:
        return entry.page(site, visit)
    except GatewayError as error:
        return refusal(site, visit, error)


def _visit(request: Request, user: User | None, token: str, form: dict[str, str]) -> Visit:
    return Visit(
        path=request.url.path,
        query=request.query_params,
        params=request.path_params,
        form=form,
        said=request.cookies.get(SAID, ""),
        last_event=request.headers.get("last-event-id", ""),
        token=token,
        peer=request.client.host if request.client else "",
        user=user,
        bearer=_bearer(request),
        is_forwarded=not _FORWARDED.isdisjoint(request.headers),
    )


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def _form(request: Request) -> dict[str, str]:
    async with request.form(max_files=0, max_fields=_MAX_FIELDS) as fields:
        return {name: value for name, value in fields.items() if isinstance(value, str)}


def _to_login(ports: Ports, request: Request) -> Response:
    with ports.database.read() as tx:
        if not users.count(tx):
            return go("/setup")
    here = request.url.path if request.method == "GET" else "/"
    query = f"?{request.url.query}" if request.method == "GET" and request.url.query else ""
    return go("/login" if here == "/" and not query else f"/login?next={quote(here + query)}")
