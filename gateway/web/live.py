"""The stream of news that an open page listens to."""

from collections.abc import AsyncIterator
from functools import partial

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response

from gateway.web.events import News
from gateway.web.site import Site, Visit

RECHECK_S = 30.0
"""How often a stream asks whether its session still holds."""

_RETRY_MS = 2000
_TOPICS = frozenset({"order", "study", "message", "delivery", "station"})


def stream(site: Site, visit: Visit) -> Response:
    """`change` events, each with the newest change's number as its id. Source: HTML Living Standard 9.2.

    A page says with `after` (or, on reconnecting, Last-Event-ID) up to which change it is drawn; when there are
    newer ones it is told at once. `ended` says that the session is over.
    """
    if site.feed.is_full:
        return PlainTextResponse("Too many pages are open.\n", 503, headers={"Retry-After": "30"})
    return EventSourceResponse(_events(site, visit.token, _after(visit)))


def _after(visit: Visit) -> int | None:
    text = visit.last_event or visit.query.get("after", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None


async def _events(site: Site, token: str, after: int | None) -> AsyncIterator[ServerSentEvent]:
    async with site.feed.listening() as listener:
        drawn = site.feed.number if after is None else after
        if drawn != site.feed.number:
            yield _change(News(number=site.feed.number, topics=_TOPICS))
        else:
            yield ServerSentEvent(comment="listening", retry=_RETRY_MS)
        while True:
            news = await listener.wait(RECHECK_S)
            if site.feed.is_closed:
                return
            if await run_in_threadpool(partial(site.admitted, token, is_use=False)) is None:
                yield ServerSentEvent(event="ended", data="")
                return
            if news is not None:
                yield _change(news)


def _change(news: News) -> ServerSentEvent:
    return ServerSentEvent(event="change", id=str(news.number), data=news.text, retry=_RETRY_MS)
