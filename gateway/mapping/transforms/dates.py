"""Transforms of dates and times, HL7 and FHIR forms alike.

Source: HL7 v2.5.1 2.A.22 (DTM), FHIR R4 datatypes date, dateTime, instant. Seconds or zone that a FHIR dateTime
should have and an EHR left out are forgiven; `24:00` is the midnight that ends the day.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.mapping.scope import Data, Run, Unfit, text_of
from gateway.mapping.transforms.shape import Apply, Arguments, Parameter, Setting, Transform, each_text
from gateway.model.order import Severity

_HL7 = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:\.\d{1,6})?)?)?)?)?)?(Z|[+-]\d\d:?\d\d)?"
)
_ISO = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.\d{1,9})?)?)?)?)?(Z|[+-]\d\d:?\d\d)?"
)
_TIME = re.compile(r"(\d\d):?(\d\d)?(?::?(\d\d)(?:\.\d+)?)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """A date as far as it was given: `day` None when only year or month were, `clock` None when no hour was."""

    day: date | None
    clock: time | None
    zone: timezone | None


@lru_cache(
    maxsize=256
)  # a message's own date is read for itself and for each table, its sender's days all day
def read_stamp(text: str) -> Stamp:
    """What a date or date and time says.

    Raises Unfit when it is neither the HL7 nor the FHIR form, or no day of the calendar.
    """
    match = _HL7.fullmatch(text.strip()) or _ISO.fullmatch(text.strip())
    if not match or not text.isascii():
        raise Unfit("is no date or time in the HL7 or FHIR form")
    try:
        day = date(int(match[1]), int(match[2] or 1), int(match[3] or 1))
        if match[4] is None:
            return Stamp(day=day if match[3] else None, clock=None, zone=None)
        is_end = match[4] == "24" and {match[5] or "00", match[6] or "00"} == {"00"}
        clock = time(0 if is_end else int(match[4]), int(match[5] or 0), int(match[6] or 0))
        return Stamp(day=day + timedelta(days=is_end), clock=clock, zone=_read_zone(match[7]))
    except (ValueError, OverflowError):
        raise Unfit("is no day or hour of the calendar") from None


def day_of(run: Run) -> date | None:
    """The message's own day; None when it names none that can be read."""
    try:
        return read_stamp(run.scope.sent_at).day
    except Unfit:
        return None


def _read_zone(text: str | None) -> timezone | None:
    if not text:
        return None
    if text == "Z":
        return UTC
    hours, minutes = int(text[1:3]), int(text[-2:])
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if text[0] == "-" else offset)


def _read_full(text: str, partial: str) -> tuple[date, Stamp]:
    stamp = read_stamp(text)
    if stamp.day is None:
        severity = Severity.WARN if partial == "drop" else None
        raise Unfit("is a date without its day", severity=severity)
    return stamp.day, stamp


def _date(arguments: Arguments, setting: Setting) -> Apply:
    return each_text(lambda text: f"{_read_full(text, arguments['partial'])[0]:%Y%m%d}".rjust(8, "0"))


def _datetime(arguments: Arguments, setting: Setting) -> Apply:
    try:
        zone = ZoneInfo(arguments["tz"]) if arguments["tz"] else setting.zone
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"'{arguments['tz']}' is no time zone") from None

    def aware(text: str) -> str:
        day, stamp = _read_full(text, arguments["partial"])
        if stamp.clock is None:
            return day.isoformat()
        return datetime.combine(day, stamp.clock, stamp.zone or zone).isoformat(timespec="seconds")

    return each_text(aware)


def _read_time(text: str) -> str:
    match = _TIME.fullmatch(text.strip())
    if match and text.isascii():
        digits = "".join(match.group(number) or "00" for number in (1, 2, 3))
    else:
        clock = read_stamp(text).clock
        if clock is None:
            return ""
        digits = f"{clock:%H%M%S}"
    if digits[:2] > "23" or digits[2:4] > "59" or digits[4:] > "59":
        raise Unfit("is no hour of the day")
    return digits


def _now(arguments: Arguments, setting: Setting) -> Apply:
    """The message's own time and not the clock's, so that the same message always maps alike."""

    def sent(data: Data, run: Run) -> Data:
        stamp = read_stamp(run.scope.sent_at)
        if stamp.day is None:
            raise Unfit("cannot be made: the message does not say when it was sent")
        if stamp.clock is None:
            return (stamp.day.isoformat(),)
        instant = datetime.combine(stamp.day, stamp.clock, stamp.zone or setting.zone)
        return (instant.isoformat(timespec="seconds"),)

    return sent


def _age_from(data: Data, run: Run) -> Data:
    """Source: DICOM PS3.5 6.2, Age String."""
    today = day_of(run)
    ages = []
    for datum in data:
        born = _read_full(text_of(datum), "hold")[0]
        if today is None:
            raise Unfit("has no age: the message does not say when it was sent")
        if born > today:
            raise Unfit("is later than the message")
        ages.append(_age(born, today))
    return tuple(ages)


def _age(born: date, today: date) -> str:
    """Years from two years on, below that months, below three months days."""
    months = (today.year - born.year) * 12 + today.month - born.month - (today.day < born.day)
    if months >= 24:
        return f"{months // 12:03d}Y"
    return f"{months:03d}M" if months >= 3 else f"{(today - born).days:03d}D"


def _add_minutes(arguments: Arguments, setting: Setting) -> Apply:
    """Works on what `datetime` made; a bare date stays."""
    span = timedelta(minutes=int(arguments["n"]))

    def later(text: str) -> str:
        if "T" not in text:
            return text
        try:
            return (datetime.fromisoformat(text) + span).isoformat(timespec="seconds")
        except (ValueError, OverflowError):
            raise Unfit("is no date and time; add_minutes follows datetime") from None

    return each_text(later)


_PARTIAL = Parameter(name="partial", default="hold", choices=("hold", "drop"))

TRANSFORMS = (
    Transform(
        name="date",
        about="a DICOM date; a date without its day holds the order, or is dropped with a remark",
        make=_date,
        parameters=(_PARTIAL,),
    ),
    Transform(
        name="datetime",
        about="ISO date and time with its zone, or a bare date; without a zone the site's time zone counts",
        make=_datetime,
        parameters=(Parameter(name="tz", default=""), _PARTIAL),
    ),
    Transform(
        name="now",
        about="when the message was sent (MSH-7, meta.lastUpdated, authoredOn), as datetime writes it",
        make=_now,
    ),
    Transform(
        name="age_from",
        about="the age of a birth date on the day the message was sent, such as 046Y or 011M",
        make=lambda a, s: _age_from,
    ),
    Transform(name="time", about="a DICOM time", make=lambda a, s: each_text(_read_time)),
    Transform(
        name="add_minutes",
        about="n minutes later",
        make=_add_minutes,
        parameters=(Parameter(name="n", is_number=True),),
    ),
)
