"""What every page is given: the site it belongs to, and the visit it answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from jinja2 import Environment
from starlette.responses import HTMLResponse, RedirectResponse, Response

from gateway.flow.admit import admitted
from gateway.flow.ports import Ports
from gateway.flow.replay import Rework
from gateway.flow.watch_feeds import Watcher
from gateway.mapping.replay import Readable
from gateway.mapping.watch import Watch
from gateway.model.errors import NotFound
from gateway.model.ids import StudyId
from gateway.model.message import Message
from gateway.model.user import User
from gateway.web.events import Feed

SAID = "gateway-said"
"""The cookie that carries one short code ("sent.12") from an action to the page shown after it."""

_SAID_S = 20
_LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The gateway as the pages know it."""

    ports: Ports
    name: str
    pages: Environment
    feed: Feed
    ready: Callable[[], Mapping[str, str]]  # name of a part -> "" or its trouble
    complete: Callable[[StudyId, str], None]  # the study is whole, says this actor
    warnings: Callable[[], Sequence[str]]  # shown on top of every page
    secure_cookies: bool
    mappings: Watch | None  # None: this process maps nothing
    read: Callable[[Message], Readable] | None  # a stored message read again; it raises Malformed
    rework: Rework | None = None  # None: messages are only looked at here
    watcher: Watcher | None = None  # None: nothing is watched here
    expected: Callable[[str, str], Mapping[str, str]] = lambda _title, _implementation: {}
    """What a machine does beside the worklist, by its AE title and implementation class UID."""
    metrics_token: str = ""  # asked for at /metrics; "": only programs on this computer may read them

    @property
    def cookie(self) -> str:
        """The session cookie's name."""
        return session_cookie(is_secure=self.secure_cookies)

    def admitted(self, token: str, *, is_use: bool = True) -> User | None:
        """The user whose session that is; `is_use` is False for what a page does on its own."""
        return admitted(self.ports, token, is_use=is_use) if token else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request of a browser."""

    path: str
    query: Mapping[str, str]
    params: Mapping[str, str | int]  # of the path
    form: Mapping[str, str]
    said: str  # the code an action left behind, "" when none did
    last_event: str  # Last-Event-ID, "" when the browser sent none
    token: str
    peer: str
    user: User | None
    bearer: str = ""  # the token of the Authorization header, "" when there is none
    is_forwarded: bool = False  # a proxy says that it asks for somebody else

    @property
    def person(self) -> User:
        """The user; only for pages that ask for a permission."""
        assert self.user is not None
        return self.user

    @property
    def actor(self) -> str:
        """The user as the audit trail names one."""
        return f"user:{self.person.name}"

    @property
    def is_fragment(self) -> bool:
        """Whether only the live parts of the page are wanted."""
        return "fragment" in self.query

    @property
    def here(self) -> str:
        """This page's address with its filters, for coming back to it."""
        query = "&".join(f"{key}={value}" for key, value in self.query.items() if key in _KEPT and value)
        return f"{self.path}?{query}" if query else self.path

    def number(self, name: str) -> int:
        """The id in the path. Raises NotFound for one that no row can have."""
        value = int(self.params[name])
        if value > _LARGEST_ID:
            raise NotFound("there is nothing with that number")
        return value

    def back(self, otherwise: str) -> str:
        """Where the form says it came from, when that is a page of ours."""
        return local_path(self.form.get("back", ""), otherwise)


def session_cookie(*, is_secure: bool) -> str:
    """The session cookie's name on a site that is reached by TLS only, or not. Source: RFC 6265bis 4.1.3.2."""
    return "__Host-gateway" if is_secure else "gateway"


_KEPT = ("day", "state", "station")


def local_path(text: str, otherwise: str = "/") -> str:
    """`text` when it is a path on this site, else `otherwise`: nobody is sent elsewhere by a link to us."""
    is_plain = text.isascii() and text.isprintable() and "\\" not in text
    if not is_plain or not text.startswith("/") or text.startswith("//"):
        return otherwise
    try:
        parts = urlsplit(text)
    except ValueError:
        return otherwise
    return otherwise if parts.scheme or parts.netloc or parts.path in {"/login", "/setup"} else text


def render(site: Site, visit: Visit, template: str, *, status: int = 200, **context: object) -> Response:
    """The page, or only its live parts when the visit asks for those."""
    layout = "fragment.html" if visit.is_fragment else "base.html"
    text = site.pages.get_template(template).render(
        site=site, visit=visit, user=visit.user, layout=layout, warnings=site.warnings(), **context
    )
    response = HTMLResponse(text, status)
    if visit.said and not visit.is_fragment:
        response.delete_cookie(SAID, httponly=True, samesite="lax", secure=site.secure_cookies)
    return response


def go(target: str) -> Response:
    """The answer that makes the browser ask for `target` with GET."""
    return RedirectResponse(target, 303)


def go_saying(site: Site, target: str, said: str) -> Response:
    """As `go`, and the next page says what was done."""
    response = go(target)
    response.set_cookie(
        SAID, said, max_age=_SAID_S, httponly=True, samesite="lax", secure=site.secure_cookies
    )
    return response
