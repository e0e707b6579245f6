"""Follow: whether everything of a record system was heard; where that is in doubt, a poll of all changes is owed."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gateway.flow.ports import Ports
from gateway.model.errand import ErrandKind, Wanted
from gateway.model.following import Following, Heard
from gateway.store import errands, following
from gateway.store.database import Tx

log = logging.getLogger(__name__)

_POLL = Wanted(kind=ErrandKind.POLL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """When a source is polled without being asked to. A zero is never."""

    every: timedelta = timedelta()
    heartbeat: timedelta = timedelta()  # how often it says that it is there


def hear(tx: Tx, source: str, heard: Heard, at: datetime) -> bool:
    """Whether notifications were missed: then a poll is owed. Part of the message's own transaction.

    Each subscription counts for itself. Numbers that go back are those of a new one, or of a notification that was sent
    again; looking once too often costs little. Source: Subscriptions R5 Backport, errors: eventsSinceSubscriptionStart.
    """
    following.save(tx, replace(following.to_change(tx, source), heard_at=at))
    before = following.event_number(tx, source, heard.subscription)
    first, last = _span(heard)
    if last is not None:
        following.save_event_number(tx, source, heard.subscription, last)
    if heard.kind == "handshake" or before is None or first is None or last is None:
        return False
    is_gap = first > before + 1 or last < before
    if is_gap:
        log.warning("fhir.gap", extra={"source": source, "after": before, "first": first})
        errands.add(tx, source, _POLL, at)
    return is_gap


def _span(heard: Heard) -> tuple[int | None, int | None]:
    """The first number that is new, and the last; a heartbeat says how many there were before it."""
    if heard.numbers:
        return min(heard.numbers), max(heard.numbers)
    if heard.since_start is None:
        return None, None
    return heard.since_start + (1 if heard.kind != "event-notification" else 0), heard.since_start


def since(ports: Ports, source: str, first: timedelta) -> datetime:
    """From when on changes have to be read; `first` is how far back the first look goes.

    Where that look begins is kept before it ends well: a later one would begin later, and miss what was between.
    """
    with ports.database.write() as tx:
        known = following.to_change(tx, source)
        if known.cursor is None:
            known = replace(known, cursor=ports.clock() - first)
            following.save(tx, known)
    assert known.cursor is not None
    return known.cursor


def reached(ports: Ports, source: str, cursor: datetime | None, *, is_done: bool) -> None:
    """Everything that changed before `cursor` was read and kept; None: nothing newer was there."""
    with ports.database.write() as tx:
        known = following.to_change(tx, source)
        newest = max((one for one in (known.cursor, cursor) if one is not None), default=None)
        polled_at = ports.clock() if is_done else known.polled_at
        following.save(tx, replace(known, cursor=newest, polled_at=polled_at, poll_error=""))


def stopped(ports: Ports, source: str, error: str) -> None:
    """The poll did not end well."""
    with ports.database.write() as tx:
        following.save(tx, replace(following.to_change(tx, source), poll_error=error))


class Follower:
    """Polls that nothing asks for: at the start, at times, and when a source fell silent."""

    def __init__(self, ports: Ports, rhythms: Mapping[str, Rhythm]) -> None:
        self._ports = ports
        self._rhythms = rhythms

    def start(self) -> None:
        """What changed while nobody listened is read."""
        for source in self._rhythms:
            self._owe(source)

    def look(self) -> None:
        """What is due now is owed."""
        for source, rhythm in self._rhythms.items():
            with self._ports.database.read() as tx:
                known, is_owed = following.of(tx, source), errands.is_open(tx, source, ErrandKind.POLL)
            if not is_owed and (_is_due(known, rhythm, self._ports.clock()) or self._fell_silent(known)):
                self._owe(source)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know of the sources."""
        return tuple(self._troubles())

    def _troubles(self) -> Iterator[str]:
        for source in self._rhythms:
            with self._ports.database.read() as tx:
                known = following.of(tx, source)
            if known.poll_error:
                yield f"fhir.sources.{source}.poll: what changed there could not be read: {known.poll_error}"
            if _is_silent(known, self._rhythms[source], self._ports.clock()):
                yield f"fhir.sources.{source}: its subscription has fallen silent"

    def _fell_silent(self, known: Following) -> bool:
        """Silence is answered by one poll, until the source is heard again."""
        is_silent = _is_silent(known, self._rhythms[known.source], self._ports.clock())
        return is_silent and (
            known.polled_at is None or known.heard_at is None or known.polled_at < known.heard_at
        )

    def _owe(self, source: str) -> None:
        with self._ports.database.write() as tx:
            errands.add(tx, source, _POLL, self._ports.clock())


def _is_due(known: Following, rhythm: Rhythm, now: datetime) -> bool:
    return bool(rhythm.every) and (known.polled_at is None or now - known.polled_at >= rhythm.every)


def _is_silent(known: Following, rhythm: Rhythm, now: datetime) -> bool:
    """Source: `heartbeat` of the subscription; twice its period is too long."""
    if not rhythm.heartbeat or known.heard_at is None:
        return False
    return now - known.heard_at > 2 * rhythm.heartbeat
