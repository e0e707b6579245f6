"""Reads from one record system, within bounds of time, size and number; never from another host.

Source: FHIR R4 http.html: read, search, paging; RFC 9110 13.1.2 If-None-Match, 10.2.3 Retry-After.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from gateway.fhir.classify import entries_of, read_resource, resource_of, text_at
from gateway.fhir.exchange import Answer, Connection
from gateway.fhir.verdict import judge_fhir
from gateway.mapping.fhir_paths import Resource
from gateway.model.errors import Malformed, NotFound, Refused, Unavailable

MAX_PAGE_BYTES = 8 * 1024 * 1024
MAX_PAGES = 200
TRIES = 3
LONGEST_PAUSE_S = 10.0
"""A server that asks for more patience is asked again by a later try of the errand."""
FRESH_S = 24 * 3600.0
"""So long an answer is remembered; it is used only when the server says that it still stands (304)."""
MOST_CACHED = 200

_GONE = frozenset({404, 410})
_OUTCOME = b"OperationOutcome"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cached:
    answer: Answer
    until: float


class Reader:
    """Reads below one FHIR base. Safe to use from several threads."""

    def __init__(
        self,
        base: str,
        connection: Connection,
        *,
        sleep: Callable[[float], object] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base = base
        self._connection = connection
        self._sleep = sleep
        self._monotonic = monotonic
        self._cache: OrderedDict[str, _Cached] = OrderedDict()
        self._lock = Lock()

    def read(self, target: str) -> Resource:
        """The resource that "Patient/7" names, or the only one that "Patient?identifier=system|value" finds.

        Raises NotFound when the server has none, Unavailable when trying again later may help, else Refused.
        """
        kind, is_search, token = target.partition("?identifier=")
        if is_search:
            return self._only(kind, token)
        found = self._fetched(f"{self._base}/{target}")
        kind, _, own_id = target.partition("/")
        if text_at(found, "resourceType") != kind:
            raise Refused("answered with another type of resource")
        if text_at(found, "id") != own_id:
            raise Refused("answered with a resource of another id")
        return found

    def pages(self, query: str) -> Iterator[Resource]:
        """The pages of a search, as long as the server has a next one on its own host.

        Source: FHIR R4 bundle.html, paging. Raises as `read`.
        """
        url = f"{self._base}/{query}"
        seen: set[str] = set()
        for _ in range(MAX_PAGES):
            page = self._fetched(url, is_cached=False)
            if text_at(page, "resourceType") != "Bundle":
                raise Refused("answered a search without a Bundle")
            yield page
            seen.add(url)
            url = self._next(page, url)
            if not url:
                return
            if url in seen:
                raise Refused("the pages of a search lead in a circle")
        raise Refused(f"a search has more than {MAX_PAGES} pages")

    def close(self) -> None:
        """No connection is open any more."""
        self._connection.close()

    def _only(self, kind: str, token: str) -> Resource:
        page = next(self.pages(f"{kind}?identifier={quote(token, safe='')}&_count=2"))
        inner = (resource_of(entry) for entry in entries_of(page))
        found = [one for one in inner if one is not None and text_at(one, "resourceType") == kind]
        if len(found) > 1:
            raise Refused("several there have the same identifier")
        if not found:
            raise NotFound("found none with that identifier")
        return found[0]

    def _fetched(self, url: str, *, is_cached: bool = True) -> Resource:
        answer = self._asked(url, is_cached=is_cached)
        if answer.status in _GONE:
            raise _gone(answer)
        judge_fhir(answer)
        try:
            return read_resource(answer.body)
        except Malformed:
            raise Unavailable(f"answered {answer.status} with something that is no FHIR") from None

    def _asked(self, url: str, *, is_cached: bool) -> Answer:
        """The answer after some tries; what it says is not judged. Raises Unavailable."""
        for attempt in range(1, TRIES + 1):
            try:
                answer = self._tried(url, is_cached=is_cached)
                asked_s = answer.retry_after_s
                if answer.status != 429 and answer.status < 500:
                    return answer
            except Unavailable as error:
                asked_s = error.retry_after_s
                if attempt == TRIES or (asked_s or 0.0) > LONGEST_PAUSE_S:
                    raise
            pause_s = max(asked_s or 0.0, 0.25 * 2.0**attempt)
            if attempt == TRIES or pause_s > LONGEST_PAUSE_S:
                return answer
            self._sleep(pause_s)
        raise AssertionError("every try returns or raises")

    def _tried(self, url: str, *, is_cached: bool) -> Answer:
        known = self._remembered(url) if is_cached else None
        headers = {"If-None-Match": known.etag} if known is not None else None
        answer = self._connection.ask("GET", url, headers=headers, max_bytes=MAX_PAGE_BYTES)
        if known is not None and answer.status == 304:
            return known
        if is_cached and answer.status == 200 and answer.etag:
            self._remember(url, answer)
        return answer

    def _remembered(self, url: str) -> Answer | None:
        with self._lock:
            found = self._cache.get(url)
            if found is None or found.until < self._monotonic():
                return None
            return replace(found.answer)

    def _remember(self, url: str, answer: Answer) -> None:
        with self._lock:
            self._cache[url] = _Cached(answer=answer, until=self._monotonic() + FRESH_S)
            self._cache.move_to_end(url)
            while len(self._cache) > MOST_CACHED:
                self._cache.popitem(last=False)

    def _next(self, page: Resource, url: str) -> str:
        """The address of the next page; "" after the last. Raises Refused when it leads to another host."""
        links: Any = page.get("link")
        for link in links if isinstance(links, list) else ():
            if isinstance(link, dict) and link.get("relation") == "next" and text_at(link, "url"):
                following = urljoin(url, text_at(link, "url"))
                if urlsplit(following)[:2] != urlsplit(self._base)[:2]:
                    raise Refused("the next page of a search is on another host")
                return following
        return ""


def _gone(answer: Answer) -> NotFound | Unavailable:
    """What a 404 or 410 means: only a FHIR server knows what it has, and a page that stands in between does not.

    Source: FHIR R4 http.html, read: servers answer it with nothing or with an OperationOutcome.
    """
    text = f"answered {answer.status}"
    if not answer.body or _OUTCOME in answer.body:
        return NotFound(text)
    return Unavailable(f"{text} with something that is no FHIR")
