"""A receipt: what a machine asked of its worklist, what it was given, and what was left out."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from gateway.model.ids import OrderId
from gateway.model.worklist import WorklistQuery


class Ending(StrEnum):
    """How the answer to a query ended."""

    ANSWERED = "answered"  # to the last match
    CANCELLED = "cancelled"  # the machine had enough (C-CANCEL), or went away
    REFUSED = "refused"  # the keys could not be read
    FAILED = "failed"  # our store or our code did not do it


class Cause(StrEnum):
    """Why an order that the query's indexed keys found was not among the answers."""

    KEY = "key"  # a further key excludes it; `detail` is its keyword
    PROFILE = "profile"  # the machine could not take it; `detail` is the rule's sentence
    LIMIT = "limit"  # the machine's list was full
    FAULT = "fault"  # it could not be put into an answer: a fault of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """An order that was kept back. `detail` names fields, never a patient's values."""

    order_id: OrderId
    cause: Cause
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asked."""

    calling_ae: str
    called_ae: str
    address: str
    implementation_uid: str  # empty when it did not say
    implementation_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One query and its answer. Keys may hold a patient's data: they go to the store, never to a log."""

    asker: Asker
    at: datetime  # when it asked, aware UTC
    ending: Ending
    keys: tuple[tuple[str, str], ...]  # keyword and text of every key with a value, as asked
    query: WorklistQuery | None  # the keys as we understood them; None when they could not be read
    profile: str = ""  # the name of the machine profile used, "" for none
    sent: tuple[OrderId, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    reason: str = ""  # why it was refused or failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """A stored receipt. The same question with the same answer is one, however often it was asked."""

    asker: Asker
    first_at: datetime
    last_at: datetime
    times: int
    ending: Ending
    reason: str
    profile: str
    keys: tuple[tuple[str, str], ...]
    query: WorklistQuery | None
    matches: int  # how many orders were sent
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What became of one order in the answers to one station."""

    order_id: OrderId
    station: str  # AE title
    seen_at: datetime | None  # when it was last among the answers; None for never
    missed_at: datetime | None  # when it was last kept out of them; None for never
    cause: Cause | None  # of the last time it was kept out
    detail: str
    profile: str  # in use the last time it was seen or kept out

    def is_seen_since(self, moment: datetime | None) -> bool:
        """Whether the station got it after `moment`, and was not denied it later for what it is."""
        if self.seen_at is None or (moment is not None and self.seen_at < moment):
            return False
        return self.missed_at is None or self.missed_at <= self.seen_at or self.cause is Cause.KEY


Note: TypeAlias = Callable[[Receipt], None]
"""Takes a receipt and returns at once: it is written later, by somebody else. Never raises."""
