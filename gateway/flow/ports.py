"""What the verbs need from outside: handed over once, at the composition root."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from gateway.model.delivery import Change, Outgoing
from gateway.model.ids import Uid
from gateway.model.lifecycle import State
from gateway.model.station import Station
from gateway.model.tally import Tally
from gateway.store.database import Database
from gateway.store.files import Files

Clock = Callable[[], datetime]
"""The present instant, aware UTC."""


Announce = Callable[[Change], tuple[Outgoing, ...]]
"""The news that other systems want of a change: a pure function of it."""


def unheard(_: Change) -> tuple[Outgoing, ...]:
    """No news: nobody wants to hear of changes."""
    return ()


def both(one: Announce, other: Announce) -> Announce:
    """The news of the one, then that of the other."""
    return lambda change: (*one(change), *other(change))


class Release(StrEnum):
    """Who puts an order on the machine's worklist."""

    MANUAL = "manual"  # the receptionist
    ON_RECEIPT = "on_receipt"
    ON_ARRIVAL = "on_arrival"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The store, the clock and the site's rules, for every verb."""

    database: Database
    files: Files
    clock: Clock
    new_uid: Callable[[], Uid]  # a fresh one under 2.25 at each call
    zone: ZoneInfo  # the site's
    stations: tuple[Station, ...]
    release: Release
    listed: frozenset[State]  # which orders answer a machine's query
    quiet: timedelta  # a study is complete after this long without a new image
    expire_after: timedelta  # an order nobody came for leaves the list this long after its day
    tally: Tally = field(default_factory=Tally)  # what is counted while the gateway runs
    announce: Announce = unheard  # what a change makes us owe; queued in the transaction of the change
