"""Transforms of telephone numbers, addresses, measurements and answers.

Source: HL7 v2.5.1 2.A.89 (XTN), 2.A.84 (XAD), tables 0001 and 0136; FHIR R4 ContactPoint, Address, Quantity.
"""

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from gateway.mapping.scope import Data, Datum, Element, Piece, Run, Unfit, text_of
from gateway.mapping.transforms.shape import (
    Apply,
    Arguments,
    Parameter,
    Setting,
    Transform,
    each_text,
    whole,
)
from gateway.model.er7 import Delimiters, unescape

UNITS: Mapping[str, tuple[str, Decimal]] = {
    "kg": ("g", Decimal(1000)),
    "g": ("g", Decimal(1)),
    "lb": ("g", Decimal("453.59237")),
    "oz": ("g", Decimal("28.349523125")),
    "m": ("m", Decimal(1)),
    "cm": ("m", Decimal("0.01")),
    "mm": ("m", Decimal("0.001")),
    "in": ("m", Decimal("0.0254")),
    "ft": ("m", Decimal("0.3048")),
}
"""Unit -> what it measures in, and how much of that it is."""

_SPELLINGS = {
    "lbs": "lb", "[lb_av]": "lb", "[oz_av]": "oz", "[in_i]": "in", "inch": "in", "[ft_i]": "ft",
    "kgs": "kg", "cms": "cm",
}  # fmt: skip
_NUMBER = re.compile(r"([+-]?\d{1,15}(?:[.,]\d{1,15})?)\s*([A-Za-z\[\]_]*)")
_ANSWERS = {
    "y": True, "yes": True, "true": True, "t": True, "1": True,
    "n": False, "no": False, "false": False, "f": False, "0": False,
}  # fmt: skip
_SEXES = {
    "m": "M", "male": "M", "f": "F", "female": "F", "o": "O", "other": "O", "a": "O", "n": "O",
    "u": "", "unknown": "",
}  # fmt: skip


def _phone(datum: Datum) -> str:
    """The number in component 1, else 12, else what 5 to 8 make; a ContactPoint of another system has none."""
    if isinstance(datum, Piece):
        number, *_, country, area, local, extension, _, _, _, plain = datum.texts(12)
        if number.strip() or plain.strip():
            return " ".join((number.strip() or plain).split())
        parts = [f"+{country.lstrip('+')}" if country.strip() else "", area, local]
        made = " ".join(part.strip() for part in parts if part.strip())
        return f"{made} x{extension.strip()}" if made and extension.strip() else made
    if isinstance(datum, Mapping):
        return _string(datum, "value") if datum.get("system", "phone") in {"phone", "sms"} else ""
    return " ".join(datum.split())


def _address(datum: Datum) -> str:
    """Street, other line, postal code and city, state, country in one line."""
    if isinstance(datum, Piece):
        street, other, city, state, code, country = datum.texts(6)
        return _line([street, other], code, city, state, country)
    if isinstance(datum, Mapping):
        lines = datum.get("line")
        texts = [line for line in lines if isinstance(line, str)] if isinstance(lines, list) else []
        named = [_string(datum, key) for key in ("postalCode", "city", "state", "country")]
        return _line(texts, named[0], named[1], named[2], named[3]) or _string(datum, "text")
    return " ".join(datum.split())


def _line(streets: list[str], code: str, city: str, state: str, country: str) -> str:
    parts = [*streets, f"{code} {city}", state, country]
    return ", ".join(" ".join(part.replace("\\", "/").split()) for part in parts if part.strip())


def _string(element: Element, key: str) -> str:
    value = element.get(key)
    return value if isinstance(value, str) else ""


def _number(arguments: Arguments, setting: Setting) -> Apply:
    wanted, decimals = _unit(arguments["to"]), int(arguments["decimals"])
    given = _unit(arguments["from"])
    if decimals > 6:
        raise ValueError("decimals is 0 to 6")
    if wanted and given and UNITS[wanted][0] != UNITS[given][0]:
        raise ValueError(f"{given} does not measure what {wanted} measures")

    def converted(datum: Datum) -> str:
        text, own = _quantity(datum)
        match = _NUMBER.fullmatch(text.strip()) if text.isascii() else None
        if text.strip() and not match:
            raise Unfit("is no number")
        if not match:
            return ""
        unit = own or match[2] or given
        number = Decimal(match[1].replace(",", "."))
        return _written(number * _factor(unit, wanted) if wanted else number, decimals)

    return lambda data, run: tuple(text for text in map(converted, data) if text)


def _quantity(datum: Datum) -> tuple[str, str]:
    """The number and the unit of a value; a FHIR Quantity tells both."""
    if not isinstance(datum, Mapping):
        return text_of(datum), ""
    value = datum.get("value")
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return f"{value}" if is_number else "", _string(datum, "code") or _string(datum, "unit")


def _unit(text: str) -> str:
    """The unit as UNITS has it; "" for none. Raises ValueError for one that is not known."""
    plain = text.strip().lower()
    unit = _SPELLINGS.get(plain, plain)
    if unit and unit not in UNITS:
        raise ValueError(f"'{text}' is none of the units {', '.join(UNITS)}")
    return unit


def _factor(given: str, wanted: str) -> Decimal:
    try:
        unit = _unit(given)
    except ValueError:
        unit = ""
    if not unit or UNITS[unit][0] != UNITS[wanted][0]:
        raise Unfit(f"has no unit that becomes {wanted}")
    return UNITS[unit][1] / UNITS[wanted][1]


def _written(number: Decimal, decimals: int) -> str:
    try:
        text = f"{round(number, decimals):f}"
    except InvalidOperation:
        raise Unfit("is no number") from None
    return text.rstrip("0").rstrip(".") if "." in text else text


def _bool(arguments: Arguments, setting: Setting) -> Apply:
    def answer(text: str) -> str:
        plain = text.strip().lower()
        if plain and plain not in _ANSWERS:
            raise Unfit("is neither yes nor no")
        return arguments["yes" if _ANSWERS[plain] else "no"] if plain else ""

    return each_text(answer)


def _sex(text: str) -> str:
    plain = text.strip().lower()
    if plain and plain not in _SEXES:
        raise Unfit("is no administrative sex", code="103")
    return _SEXES[plain] if plain else ""


def _unescaped(data: Data, run: Run) -> Data:
    return tuple(unescape(text_of(datum), Delimiters(), lambda raw: raw.decode("latin-1")) for datum in data)


def _made(data: Data, *, phone: bool) -> Data:
    read = _phone if phone else _address
    return tuple(text for text in map(read, data) if text)


TRANSFORMS = (
    Transform(
        name="phone",
        about="the number of an XTN field or a FHIR ContactPoint; e-mail addresses are dropped",
        make=lambda a, s: whole(lambda data: _made(data, phone=True)),
    ),
    Transform(
        name="address",
        about="an XAD field or a FHIR Address in one line",
        make=lambda a, s: whole(lambda data: _made(data, phone=False)),
    ),
    Transform(
        name="number",
        about="a decimal number, from one unit to another where `to` says so (kg g lb oz, m cm mm in ft);"
        " a unit that the value itself names wins over `from`",
        make=_number,
        parameters=(
            Parameter(name="to", default=""),
            Parameter(name="from", default=""),
            Parameter(name="decimals", is_number=True, default="3"),
        ),
    ),
    Transform(
        name="bool",
        about="an answer (Y, yes, true, 1 or N, no, false, 0) as the texts `yes` and `no`",
        make=_bool,
        parameters=(Parameter(name="yes", default="YES"), Parameter(name="no", default="NO")),
    ),
    Transform(
        name="sex",
        about="M, F or O of HL7 table 0001 or FHIR; unknown is left out, anything else is a fault",
        make=lambda a, s: each_text(_sex),
    ),
    Transform(
        name="unescape_text",
        about="HL7 escape sequences resolved once more, for senders that escape twice",
        make=lambda a, s: _unescaped,
    ),
)
