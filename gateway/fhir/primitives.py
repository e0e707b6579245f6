"""What stands in a FHIR element: texts, numbers and instants as FHIR allows them, and nothing that is empty.

Source: FHIR R4 datatypes.html, json.html.
"""

from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any

Json = dict[str, Any]

_MAX_UNSIGNED = 2**31 - 1
_LARGEST_EXPONENT = 300
_FURTHEST = timedelta(hours=14)


def clean(text: str) -> str:
    """Text as FHIR's string allows it: no control characters, no blanks around."""
    return "".join(char if char.isprintable() else " " for char in text).strip()


def token(text: str) -> str:
    """Text as FHIR's code allows it: single blanks within."""
    return " ".join(clean(text).split())


def unsigned(text: str) -> int | None:
    """An IS value as FHIR's unsignedInt, None when it is none: DICOM allows negative ones."""
    digits = text.strip().removeprefix("+")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 12):
        return None
    number = int(digits)
    return number if number <= _MAX_UNSIGNED else None


def decimal(text: str) -> Decimal | None:
    """A DS value, all its digits kept; None when it is none, or larger than any reader takes.

    Source: FHIR R4 datatypes.html, decimal: the precision is significant.
    """
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) <= _LARGEST_EXPONENT else None


def instant(moment: datetime, zone: tzinfo) -> str:
    """The instant as the zone has it, to the millisecond where there is more than seconds.

    Before zones were agreed on their offsets had seconds, and headers hold offsets of more than 14 hours, neither of
    which FHIR can write: such a moment is in UTC.
    """
    local = moment.astimezone(zone) if 1900 < moment.year < 9999 else moment
    offset = local.utcoffset()
    if offset is None or offset.total_seconds() % 60 or abs(offset) > _FURTHEST:
        local = moment.astimezone(UTC)
    return local.isoformat(timespec="milliseconds" if local.microsecond >= 1000 else "seconds")


def local_instant(day: str, time: str, zone: tzinfo) -> datetime | None:
    """The instant of a DA and a TM value; None without a day, an hour and a minute."""
    digits = time.partition(".")[0].replace(":", "").strip()
    found = read_day(day)
    if not found or not (len(digits) in (4, 6) and digits.isascii() and digits.isdigit()):
        return None
    try:
        return datetime.strptime(f"{found}T{digits.ljust(6, '0')}", "%Y-%m-%dT%H%M%S").replace(tzinfo=zone)
    except ValueError:
        return None


def read_day(text: str) -> str:
    """A DA value as FHIR's date; "" for none."""
    digits = text.replace(".", "").strip()  # ACR-NEMA wrote 1993.08.22
    if not (len(digits) == 8 and digits.isascii() and digits.isdigit()):
        return ""
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).isoformat()
    except ValueError:
        return ""


def person(name: str) -> str:
    """A PN value as people write it: "Dr Jane Doe". "" for none. Source: DICOM PS3.5 6.2.1."""
    parts = [clean(part) for part in name.partition("=")[0].split("^")]
    family, given, middle, prefix, suffix = (parts + [""] * 5)[:5]
    return " ".join(filter(None, (prefix, given, middle, family, suffix)))


def without_empty(element: Json) -> Json:
    """FHIR has neither empty texts nor empty lists nor null. Source: FHIR R4 json.html."""
    kept = ((name, _pruned(value)) for name, value in element.items())
    return {name: value for name, value in kept if value not in (None, "", [], {})}


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return without_empty(value)
    if isinstance(value, list):
        return [kept for kept in map(_pruned, value) if kept not in (None, "", [], {})]
    return value
