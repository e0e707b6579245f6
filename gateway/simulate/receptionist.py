"""The simulated receptionist: reads the gateway's real pages over HTTP and presses their buttons."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from types import TracebackType
from typing import Self
from urllib.parse import urljoin, urlsplit

import httpx

from gateway.model.errors import NotFound, Refused, Unavailable

TIMEOUT_S = 30.0

_SILENT = frozenset({"script", "style"})
_VOID_TEXT = " "


@dataclass(slots=True, kw_only=True)
class Form:
    """A form of a page: where it goes, what it holds already, and its named buttons."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)  # name and value


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page as a person sees it."""

    path: str
    status: int
    text: str  # blanks collapsed
    forms: tuple[Form, ...]
    images: tuple[str, ...]  # their addresses
    links: tuple[str, ...]
    rows: tuple[str, ...]  # the text of each table row, blanks collapsed

    def form(self, action: str) -> Form:
        """The form that goes to `action`. Raises NotFound."""
        found = next((form for form in self.forms if urlsplit(form.action).path == action), None)
        if found is None:
            raise NotFound(f"page {self.path}: no form for {action}")
        return found


class Receptionist:
    """A person with a browser, at the gateway whose address is `base`."""

    def __init__(self, base: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._client = httpx.Client(
            base_url=base, timeout=timeout_s, follow_redirects=True, headers={"Accept": "text/html"}
        )
        self._origin = base.rstrip("/")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def log_in(self, name: str, password: str) -> Page:
        """The page after the login form was sent. Raises Refused when it says no, Unavailable."""
        form = self.open("/login").form("/login")
        page = self.submit(form, {"name": name, "password": password})
        if any("password" in each.fields for each in page.forms):
            raise Refused(f"login: the page answered {page.status} and asks again")
        return page

    def set_up(self, secret: str, name: str, password: str) -> Page:
        """The page after the first administrator was made with the one-time secret. Raises Refused, Unavailable."""
        form = self.open("/setup").form("/setup")
        filled = {"secret": secret, "name": name, "password": password, "again": password}
        return self.submit(form, filled)

    def log_out(self) -> Page:
        """The page after the button that ends the session was pressed. Raises NotFound, Refused, Unavailable."""
        return self.submit(self.open("/").form("/logout"), {})

    def open(self, path: str) -> Page:
        """The page at `path`. Raises Refused when the gateway does not show it, Unavailable."""
        return self._page(self._ask("GET", path))

    def submit(self, form: Form, filled: Mapping[str, str]) -> Page:
        """The page that comes of a form sent with `filled` in its fields. Raises Refused, Unavailable."""
        return self._page(self._ask("POST", form.action, {**form.fields, **filled}))

    def send_order(self, order_id: int, station: str) -> Page:
        """The page after "Send" was pressed for an order, with `station` chosen. Raises NotFound, Refused."""
        return self.submit(self.open("/").form(f"/orders/{order_id}/send"), {"station": station})

    def picture(self, path: str) -> bytes:
        """The bytes of an image of a page. Raises Refused, Unavailable."""
        answer = self._ask("GET", path)
        if not answer.headers.get("content-type", "").startswith("image/"):
            raise Refused("image: the address answered with something else")
        return answer.content

    def _ask(self, method: str, path: str, form: Mapping[str, str] | None = None) -> httpx.Response:
        # a browser says where a form comes from; without it the gateway takes the form for another site's
        headers = {"Origin": self._origin} if form is not None else {}
        try:
            answer = self._client.request(method, path, data=form, headers=headers)
        except httpx.TransportError as error:
            raise Unavailable(f"page: {type(error).__name__}") from error
        if answer.is_error:
            raise Refused(f"page {urlsplit(path).path}: HTTP {answer.status_code}")
        return answer

    def _page(self, answer: httpx.Response) -> Page:
        reader = _Reader()
        reader.feed(answer.text)
        reader.close()
        return Page(
            path=answer.url.path,
            status=answer.status_code,
            text=_collapsed(reader.text),
            forms=tuple(reader.forms),
            images=tuple(urljoin(answer.url.path, image) for image in reader.images),
            links=tuple(urljoin(answer.url.path, link) for link in reader.links),
            rows=tuple(_collapsed(row) for row in reader.rows),
        )


class _Reader(HTMLParser):
    """Takes a page apart; only what a receptionist needs of it."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.forms: list[Form] = []
        self.images: list[str] = []
        self.links: list[str] = []
        self.rows: list[list[str]] = []
        self._form: Form | None = None
        self._is_in_row = False
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by the parser at every opening tag."""
        given = {name: value or "" for name, value in attrs}
        self._silent += tag in _SILENT
        self._note(_VOID_TEXT)
        if tag == "form":
            self._form = Form(action=given.get("action", ""), method=given.get("method", "get").lower())
            self.forms.append(self._form)
        elif tag == "tr":
            self._is_in_row = True
            self.rows.append([])
        elif tag == "img":
            self.images.append(given.get("src", ""))
        elif tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif self._form is not None and given.get("name"):
            self._note_field(self._form, tag, given)

    def handle_endtag(self, tag: str) -> None:
        """Called by the parser at every closing tag."""
        self._silent -= tag in _SILENT
        self._note(_VOID_TEXT)
        if tag == "form":
            self._form = None
        elif tag == "tr":
            self._is_in_row = False

    def handle_data(self, data: str) -> None:
        """Called by the parser for text."""
        self._note(data)

    def _note(self, text: str) -> None:
        if not self._silent:
            self.text.append(text)
            if self._is_in_row:
                self.rows[-1].append(text)

    def _note_field(self, form: Form, tag: str, given: dict[str, str]) -> None:
        if tag == "button":
            form.buttons.append((given["name"], given.get("value", "")))
        elif tag in {"input", "select", "textarea"}:
            form.fields[given["name"]] = given.get("value", "")


def _collapsed(parts: list[str]) -> str:
    return " ".join("".join(parts).split())
