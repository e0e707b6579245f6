"""What DICOM allows in an attribute, by keyword. Source: DICOM PS3.6 chapter 6 and PS3.5 6.2."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache

from pydicom import datadict

from gateway.model.ids import is_uid
from gateway.model.order import Value

START = "ScheduledProcedureStepStartDateTime"
"""The one attribute that is ISO 8601 inside the gateway; see model.order.Attributes."""

LENGTHS = {
    "AE": 16, "AS": 4, "CS": 16, "DA": 8, "DS": 16, "IS": 12, "LO": 64, "LT": 10240, "SH": 16, "ST": 1024,
    "TM": 14, "DT": 26, "UI": 64,
}  # fmt: skip

_PATTERNS = {
    "AS": re.compile(r"\d{3}[DWMY]"),
    "CS": re.compile(r"[A-Z0-9 _]+"),
    "DA": re.compile(r"\d{8}"),
    "DS": re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"),
    "DT": re.compile(r"\d{4}(\d\d){0,5}(\.\d{1,6})?([+-]\d{4})?"),
    "FD": re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"),
    "FL": re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"),
    "IS": re.compile(r"[+-]?\d+"),
    "TM": re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?"),
}
_WHOLE_NUMBERS = {"US": (0, 2**16), "UL": (0, 2**32), "SS": (-(2**15), 2**15), "SL": (-(2**31), 2**31)}
_ONE_LINE = frozenset({"AE", "CS", "LO", "SH", "PN", "UC", "UR"})
_MANY_LINES = frozenset({"ST", "LT", "UT"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CONTROL_BUT_LINES = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
_USABLE = frozenset(LENGTHS) | frozenset(_WHOLE_NUMBERS) | _ONE_LINE | _MANY_LINES | {"SQ", "FL", "FD"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A DICOM attribute that a mapping fills."""

    keyword: str
    vr: str
    most: int  # how many values it takes; 0 means any number

    @property
    def is_sequence(self) -> bool:
        """Whether its value is a tuple of items."""
        return self.vr == "SQ"

    @property
    def is_text_block(self) -> bool:
        """Whether line ends may stand in it."""
        return self.vr in _MANY_LINES


OWN_TARGETS = {
    name: Target(keyword=name, vr="LO", most=1) for name in ("PriorPatientID", "PriorIssuerOfPatientID")
}
"""What a merge of patients needs besides DICOM's keywords: the identifier that is given up."""


@cache
def find_target(keyword: str) -> Target | None:
    """The attribute that `keyword` names; None when the dictionary has none a mapping could fill."""
    if keyword in OWN_TARGETS:
        return OWN_TARGETS[keyword]
    tag = (
        datadict.tag_for_keyword(keyword) if keyword else None
    )  # some retired elements have an empty keyword
    if tag is None or datadict.dictionary_VR(tag) not in _USABLE:
        return None
    multiplicity = datadict.dictionary_VM(tag)
    last = multiplicity.rpartition("-")[2]
    return Target(keyword=keyword, vr=datadict.dictionary_VR(tag), most=int(last) if last.isdecimal() else 0)


@cache
def keywords() -> tuple[str, ...]:
    """Every keyword of the dictionary, for suggestions."""
    return (*datadict.keyword_dict, *OWN_TARGETS)


def fault_in(target: Target, value: Value, limit: int | None = None) -> str:
    """Why `value` cannot stand in the attribute, without naming it; empty when it can.

    `limit` is a length below DICOM's own that the module asks for.
    """
    if not isinstance(value, str):
        return _fault_in_items(target, value)
    if target.is_sequence:
        return "is a text where a sequence of items is wanted"
    if target.keyword == START:
        return "" if _is_iso_start(value) else "is no ISO 8601 date or date and time with a zone"
    if target.most == 1:
        return _fault_in_text(target.vr, value, limit)
    parts = value.split("\\")
    if target.most and len(parts) > target.most:
        return f"has {len(parts)} values; {target.keyword} takes {target.most}"
    faults = (_fault_in_text(target.vr, part, limit) for part in parts)
    return next((fault for fault in faults if fault), "")


def _fault_in_items(target: Target, items: tuple[Mapping[str, Value], ...]) -> str:
    if not target.is_sequence:
        return "is a sequence of items where a text is wanted"
    for keyword, value in ((keyword, value) for item in items for keyword, value in item.items()):
        inner = find_target(keyword)
        fault = fault_in(inner, value) if inner else "is no DICOM keyword"
        if fault:
            return f"{keyword}: {fault}"
    return ""


def _fault_in_text(vr: str, text: str, limit: int | None) -> str:
    if vr == "PN":
        fault = _fault_in_name(text)
    elif vr in _WHOLE_NUMBERS:
        fault = _fault_in_number(vr, text)
    else:
        fault = _fault_in_form(vr, text)
    if not fault and limit is not None and len(text) > limit:
        fault = f"is longer than {limit} characters"
    return fault


def _fault_in_form(vr: str, text: str) -> str:
    longest = LENGTHS.get(vr)
    if longest is not None and len(text) > longest:
        return f"is longer than the {longest} characters that {vr} allows"
    if vr in _ONE_LINE and _breaks_a_line(text):
        return "holds a backslash or a control character"
    if vr in _MANY_LINES and _CONTROL_BUT_LINES.search(text):
        return "holds a control character"
    pattern = _PATTERNS.get(vr)
    if pattern and (not text.isascii() or not pattern.fullmatch(text)):
        return f"holds what {vr} does not allow"
    if (vr == "DA" and not _is_date(text)) or (vr == "UI" and not is_uid(text)):
        return f"is no {'date' if vr == 'DA' else 'UID'}"
    return ""


def _fault_in_name(text: str) -> str:
    """Source: DICOM PS3.5 6.2.1."""
    if _breaks_a_line(text):
        return "holds a backslash or a control character"
    groups = text.split("=")
    if len(groups) > 3 or any(group.count("^") > 4 for group in groups):
        return "has more parts than a person name"
    return (
        "is longer than the 64 characters that PN allows" if any(len(group) > 64 for group in groups) else ""
    )


def _breaks_a_line(text: str) -> bool:
    """Whether it holds a backslash or a control character; what is printable, nearly every text, holds none."""
    return "\\" in text or (not text.isprintable() and _CONTROL.search(text) is not None)


def _fault_in_number(vr: str, text: str) -> str:
    low, high = _WHOLE_NUMBERS[vr]
    is_number = text.isascii() and re.fullmatch(r"-?\d{1,11}", text) is not None
    return "" if is_number and low <= int(text) < high else f"is no whole number that {vr} allows"


def _is_date(text: str) -> bool:
    try:
        date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return False
    return True


def _is_iso_start(text: str) -> bool:
    try:
        if len(text) == 10:
            return date.fromisoformat(text).isoformat() == text
        return len(text) > 10 and text[10] == "T" and datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
