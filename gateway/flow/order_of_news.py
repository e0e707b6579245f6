"""The order of news: messages overtake each other, and the older one must not undo the newer."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.mapping.scope import Unfit
from gateway.mapping.transforms.dates import read_stamp

STALE = "older than what is stored"

_ZONE = re.compile(r"(Z|[+-]\d\d:?\d\d)$")
_FRACTION = re.compile(r"\.(\d{1,6})")
_SECOND = timedelta(seconds=1)
_LONGEST_AHEAD = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """When a message was sent: from `first` to before `last`, as exact as its sender said."""

    first: datetime
    last: datetime

    def is_older(self, told_at: datetime | None) -> bool:
        """Whether the message was sent before that moment beyond doubt."""
        return told_at is not None and self.last <= told_at


def read_sent(text: str, zone: ZoneInfo, at: datetime) -> Sent | None:
    """The moment that MSH-7 or a FHIR instant names; `zone` is that of a text without one.

    None where it says no hour or cannot be read, and for one that lies more than a day after `at`: by such a clock
    every later message would be old.
    """
    try:
        stamp = read_stamp(text)
    except Unfit:
        return None
    if stamp.day is None or stamp.clock is None:
        return None
    local = datetime.combine(stamp.day, stamp.clock, tzinfo=stamp.zone or zone)
    fraction = _FRACTION.search(text)
    local = local.replace(microsecond=int(fraction[1].ljust(6, "0")) if fraction else 0)
    # An hour that a clock put back shows twice may be either.
    first, last = (local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    width = timedelta(0) if fraction else _SECOND if _has_seconds(text) else timedelta(minutes=1)
    found = Sent(first=min(first, last), last=max(first, last) + width)
    return None if found.first > at + _LONGEST_AHEAD else found


def sent_exactly(moment: datetime, at: datetime) -> Sent | None:
    """A message of that very moment; None for one that lies more than a day after `at`, as for `read_sent`."""
    first = moment.astimezone(UTC)
    return None if first > at + _LONGEST_AHEAD else Sent(first=first, last=first + timedelta.resolution)


def newest(told_at: datetime | None, sent: Sent | None) -> datetime | None:
    """The later of the moment known and that of a message."""
    return max((it for it in (told_at, sent.first if sent else None) if it is not None), default=None)


def _has_seconds(text: str) -> bool:
    return sum(char.isdigit() for char in _ZONE.sub("", text.strip())) >= len("YYYYMMDDHHMMSS")
