"""Watch: whether each feed is heard, whether queues grow, and which codes nobody knows."""

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.flow.ports import Ports
from gateway.model.hours import ALWAYS, Hours
from gateway.store import codes, figures
from gateway.store.codes import Sighting
from gateway.store.database import Tx
from gateway.store.figures import Figures

LOOK_S = 15.0
CODES_FOR = timedelta(days=7)
"""A code that was not seen for so long was mapped, or is used no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """A listener that is watched. `quiet_after` None: it may be silent as long as it likes."""

    name: str
    quiet_after: timedelta | None = None
    hours: Hours = ALWAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a number is too large."""

    held: int = 20  # messages that wait for a person
    connects: int = 20  # of one listener `within` that time
    within: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What is known of one feed."""

    name: str
    last_at: datetime | None  # when its newest message came; None when none ever did
    quiet_for: timedelta | None  # how long it has been silent in business hours; None when that is no worry
    connects: int  # in the time of the limits
    is_flapping: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Everything that is watched, as it stands now."""

    at: datetime
    feeds: tuple[Heard, ...]
    figures: Figures
    is_held_long: bool
    codes: tuple[Sighting, ...]  # the newest first
    limits: Limits


class Watcher:
    """Keeps what must be remembered between two looks: how many connections there were before."""

    def __init__(self, ports: Ports, feeds: Iterable[Feed], limits: Limits = Limits()) -> None:
        self._ports = ports
        self._feeds = tuple(feeds)
        self._limits = limits
        self._since = ports.clock()
        self._lock = threading.Lock()
        self._before: deque[tuple[datetime, dict[tuple[str, ...], int]]] = deque([(self._since, {})])

    def look(self) -> None:
        """The connections counted until now are remembered, for as long as the limits look back."""
        now = self._ports.clock()
        with self._lock:
            self._before.append((now, self._ports.tally.counts("connections")))
            while len(self._before) > 1 and self._before[1][0] <= now - self._limits.within:
                self._before.popleft()

    def standing(self) -> Standing:
        """How everything stands. Raises Unavailable when the store does not answer."""
        now = self._ports.clock()
        with self._ports.database.read() as tx:
            numbers = figures.read_figures(tx, self._ports.listed)
            return Standing(
                at=now,
                feeds=tuple(self._heard(tx, feed, now) for feed in self._feeds),
                figures=numbers,
                is_held_long=numbers.held > self._limits.held,
                codes=codes.seen_since(tx, now - CODES_FOR),
                limits=self._limits,
            )

    def _heard(self, tx: Tx, feed: Feed, now: datetime) -> Heard:
        last = figures.last_message(tx, feed.name)
        connects = self._connects(feed.name)
        return Heard(
            name=feed.name,
            last_at=last,
            quiet_for=self._quiet_for(feed, last or self._since, now),
            connects=connects,
            is_flapping=connects >= self._limits.connects,
        )

    def _quiet_for(self, feed: Feed, last: datetime, now: datetime) -> timedelta | None:
        """How long the feed has been silent in the present business hours, when that is too long."""
        opened = feed.hours.opened(now, self._ports.zone)
        if feed.quiet_after is None or opened is None:
            return None
        silent = now - max(last, opened)
        return silent if silent > feed.quiet_after else None

    def _connects(self, listener: str) -> int:
        with self._lock:
            before = self._before[0][1].get((listener,), 0)
        return self._ports.tally.counts("connections").get((listener,), 0) - before
