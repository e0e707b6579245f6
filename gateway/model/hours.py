"""Business hours as a site writes them: "Mon-Fri 07:00-19:00, Sat 08:00-12:00"."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.model.errors import Invalid

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_PART = re.compile(
    r"(?:([a-z]{3})(?:-([a-z]{3}))?\s+)?(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})", re.IGNORECASE
)
_DAY_MINUTES = 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span of minutes that begins on some days of the week (Monday is 0); it may end past midnight."""

    days: frozenset[int]
    first: int  # minutes after midnight
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """When something is open. No spans at all mean always."""

    spans: tuple[Span, ...] = ()

    def opened(self, now: datetime, zone: ZoneInfo) -> datetime | None:
        """When the hours that `now` lies in began, as `zone`'s clocks say; None outside of them."""
        if not self.spans:
            return datetime.min.replace(tzinfo=UTC)
        local = now.astimezone(zone)
        minutes = local.hour * 60 + local.minute
        for span in self.spans:
            for back in (0, 1):
                day = local.date() - timedelta(days=back)
                if day.weekday() in span.days and span.first <= minutes + back * _DAY_MINUTES < span.last:
                    begin = datetime(day.year, day.month, day.day, tzinfo=zone)
                    return (begin + timedelta(minutes=span.first)).astimezone(UTC)
        return None


ALWAYS = Hours()


def read_hours(text: str) -> Hours:
    """The hours that `text` says; "" is always. Raises Invalid."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return Hours(spans=tuple(_read_span(part) for part in parts))


def _read_span(part: str) -> Span:
    match = _PART.fullmatch(part)
    if match is None:
        raise Invalid("hours: written as Mon-Fri 07:00-19:00, several with commas between them")
    first, last = _minutes(match[3], match[4]), _minutes(match[5], match[6])
    if first in (last, _DAY_MINUTES):
        raise Invalid("hours: they begin before they end")
    return Span(
        days=_days(match[1], match[2]), first=first, last=last if last > first else last + _DAY_MINUTES
    )


def _minutes(hours: str, minutes: str) -> int:
    found = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or found > _DAY_MINUTES:
        raise Invalid("hours: a time of day is between 00:00 and 24:00")
    return found


def _days(first: str | None, last: str | None) -> frozenset[int]:
    if first is None:
        return frozenset(range(7))
    names = [name.lower() for name in (first, last or first)]
    if not set(names) <= set(_DAYS):
        raise Invalid(f"hours: the days are {', '.join(day.capitalize() for day in _DAYS)}")
    begin, end = (_DAYS.index(name) for name in names)
    return frozenset((begin + step) % 7 for step in range((end - begin) % 7 + 1))
