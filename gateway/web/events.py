"""Server-sent events: one reader of the changes for every open page."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from threading import Event as Flag

from starlette.concurrency import run_in_threadpool

from gateway.model.errors import Unavailable
from gateway.store import changes
from gateway.store.changes import Change
from gateway.store.database import Database

POLL_S = 0.6
MAX_LISTENERS = 200
# Two transactions may commit in another order than they took their numbers in: look a little behind the newest.
_OVERLAP = 50

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Something changed: the number of the newest change and the topics touched since the last news."""

    number: int
    topics: frozenset[str]

    @property
    def text(self) -> str:
        """The event's data: what kinds of things changed, never which."""
        return json.dumps({"topics": sorted(self.topics)})


@dataclass(slots=True, eq=False)
class Listener:
    """One open page's letter box: what it has not been told yet, in one piece however slow it is."""

    feed: "Feed"
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    topics: set[str] = field(default_factory=set)

    async def wait(self, timeout_s: float) -> News | None:
        """What changed since the last call, as soon as something does; None after `timeout_s` without."""
        try:
            await asyncio.wait_for(self.woken.wait(), timeout_s)
        except TimeoutError:
            return None
        self.woken.clear()
        news = News(number=self.feed.number, topics=frozenset(self.topics))
        self.topics.clear()
        return news


class Feed:
    """Reads the changes every POLL_S while anybody listens, and wakes every listener."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: set[Listener] = set()
        self._poller: asyncio.Task[None] | None = None
        self._seen: frozenset[int] = frozenset()
        self._closed = Flag()
        self.number = 0  # of the newest change seen

    @property
    def is_full(self) -> bool:
        """Whether no more listeners are taken."""
        return len(self._listeners) >= MAX_LISTENERS

    @property
    def is_closed(self) -> bool:
        """Whether the gateway is stopping."""
        return self._closed.is_set()

    def close(self) -> None:
        """Every stream ends within POLL_S. May be called from any thread."""
        self._closed.set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Listener]:
        """A letter box that is filled from now on; `number` is that of the newest change at this moment."""
        listener = Listener(self)
        with self._registered(listener):
            if self._poller is None:
                self._seen, self.number = await run_in_threadpool(self._present)
                self._poller = self._poller or asyncio.create_task(self._poll())
            yield listener

    @contextmanager
    def _registered(self, listener: Listener) -> Iterator[None]:
        self._listeners.add(listener)
        try:
            yield
        finally:
            self._listeners.discard(listener)
            if not self._listeners and self._poller is not None:
                self._poller.cancel()
                self._poller = None

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            if self.is_closed:
                self._wake(set())
                return
            try:
                self._tell(await run_in_threadpool(self._read, max(0, self.number - _OVERLAP)))
            except Unavailable:
                log.warning("events.store_unavailable")

    def _tell(self, recent: tuple[Change, ...]) -> None:
        fresh = [change for change in recent if change.id not in self._seen]
        if fresh:
            self._seen = frozenset(change.id for change in recent)
            self.number = max(self.number, fresh[-1].id)
            self._wake({change.topic for change in fresh})

    def _wake(self, topics: set[str]) -> None:
        for listener in self._listeners:
            listener.topics |= topics
            listener.woken.set()

    def _present(self) -> tuple[frozenset[int], int]:
        with self._database.read() as tx:
            newest = changes.latest(tx)
            recent = changes.since(tx, max(0, newest - _OVERLAP))
        return frozenset(change.id for change in recent), newest

    def _read(self, number: int) -> tuple[Change, ...]:
        with self._database.read() as tx:
            return changes.since(tx, number)
