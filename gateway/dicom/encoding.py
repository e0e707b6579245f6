"""Data sets of ours as bytes, little endian. Source: DICOM PS3.5 7.1 and annex A."""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.dicom import charset
from gateway.dicom.elements import Syntax

TEXT_VRS: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})  # Source: DICOM PS3.5 6.1.2.3
_NUMBERS: Final = {
    "FD": "<d", "FL": "<f", "SL": "<i", "SS": "<h", "SV": "<q", "UL": "<I", "US": "<H", "UV": "<Q",
}  # fmt: skip
_OPAQUE: Final = frozenset({"AT", "OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_LONG: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
_MAX_LENGTH = (
    0xFFFE // 2
)  # bytes; half of what a short VR can say, room for escapes. Source: DICOM PS3.5 7.1.2
_MAX_DECIMAL = 16  # characters of one DS. Source: DICOM PS3.5 6.2
_CHARSET = 0x00080005
_ITEM = struct.pack("<HH", 0xFFFE, 0xE000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """An element to be said: its text, several values parted by a backslash, or its items."""

    tag: int
    keyword: str
    vr: str
    text: str = ""
    items: "tuple[tuple[Field, ...], ...]" = ()


def is_sayable(vr: str, text: str) -> bool:
    """Whether the VR can hold the text."""
    if not text:
        return True
    if vr in _OPAQUE:
        return False
    try:
        if vr in _NUMBERS:
            _numbers(vr, text)
        elif vr in ("DS", "IS"):
            for part in text.split("\\"):
                float(part) if vr == "DS" else int(part)
    except (ValueError, OverflowError, struct.error):
        return False
    if vr == "DS" and any(len(part.strip()) > _MAX_DECIMAL for part in text.split("\\")):
        return False
    return (vr in TEXT_VRS or text.isascii()) and len(text.encode("utf-8", "replace")) <= _MAX_LENGTH


def encode(fields: Iterable[Field], terms: Sequence[str], syntax: Syntax) -> bytes:
    """The data set of `fields`, which are sayable, in the character set `terms`; an element that stands twice counts
    once.
    """
    own = {field.tag: field for field in fields}
    if terms:
        own[_CHARSET] = Field(tag=_CHARSET, keyword="SpecificCharacterSet", vr="CS", text="\\".join(terms))
    return _dataset(own, terms, is_explicit=syntax.is_explicit)


def _dataset(fields: dict[int, Field], terms: Sequence[str], *, is_explicit: bool) -> bytes:
    return b"".join(_element(fields[tag], terms, is_explicit=is_explicit) for tag in sorted(fields))


def _element(field: Field, terms: Sequence[str], *, is_explicit: bool) -> bytes:
    value = _items(field, terms, is_explicit=is_explicit) if field.vr == "SQ" else _value(field, terms)
    group, number = field.tag >> 16, field.tag & 0xFFFF
    if not is_explicit:
        return struct.pack("<HHI", group, number, len(value)) + value
    vr = field.vr.encode("ascii")
    if field.vr in _LONG:
        return struct.pack("<HH2sHI", group, number, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


def _items(field: Field, terms: Sequence[str], *, is_explicit: bool) -> bytes:
    found = [
        _dataset({inner.tag: inner for inner in item}, terms, is_explicit=is_explicit) for item in field.items
    ]
    return b"".join(_ITEM + struct.pack("<I", len(item)) + item for item in found)


def _value(field: Field, terms: Sequence[str]) -> bytes:
    if not field.text:
        return b""
    if field.vr in _NUMBERS:
        return _numbers(field.vr, field.text)
    value = (
        charset.encode(field.text, terms) if field.vr in TEXT_VRS else field.text.encode("ascii", "replace")
    )
    return value + (b"\0" if field.vr == "UI" else b" ") * (len(value) % 2)


def _numbers(vr: str, text: str) -> bytes:
    read = float if vr in ("FD", "FL") else int
    return b"".join(struct.pack(_NUMBERS[vr], read(part)) for part in text.split("\\"))
