"""The keys of a search, read from its address. Source: DICOM PS3.18 8.3.4, 10.6.1; PS3.4 C.2.2.2."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from typing import Any

from pydicom.datadict import keyword_for_tag, tag_for_keyword

from gateway.model.errors import Malformed
from gateway.model.ids import MAX_UID
from gateway.model.study_search import Wanted
from gateway.model.worklist import Match, Range

MAX_LIMIT = 1000
MAX_OFFSET = 1_000_000
_MOST_UIDS = 500
_LONGEST = 256


class Level(IntEnum):
    """What is searched for. A search takes the keys of its own level and of those above it."""

    STUDIES = 0
    SERIES = 1
    INSTANCES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search that was understood. `limit` is within bounds."""

    wanted: Mapping[str, Any]  # fields of `Wanted`
    limit: int = MAX_LIMIT
    offset: int = 0
    is_fuzzy: bool = False  # names were to be matched more or less: they are matched as they stand


def read_search(parameters: Iterable[tuple[str, str]], level: Level) -> Search:
    """What the query parameters ask for. Raises Malformed for those that are not understood, naming the key alone."""
    wanted: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in parameters:
        if name in _OTHERS:
            others |= _OTHERS[name](value)
            continue
        keyword = _keyword(name)
        known = _KEYS.get(keyword)
        if known is None or known[0] > level:
            raise Malformed(f"{keyword}: cannot be searched for here")
        if not value.strip("*"):
            continue  # universal matching. Source: DICOM PS3.4 C.2.2.2.3
        _, field, read = known
        if field in wanted:
            raise Malformed(f"{keyword}: stands twice")
        if len(value) > (_LONGEST if read is not _uids else _MOST_UIDS * (MAX_UID + 1)):
            raise Malformed(f"{keyword}: too long")
        wanted[field] = read(keyword, value)
    return Search(wanted=wanted, **others)


def read_uid(text: str, field: str) -> str:
    """The UID. Leading zeros in a component are illegal and common: they are taken. Raises Malformed."""
    if not 0 < len(text) <= MAX_UID or not text.isascii() or not text.replace(".", "").isdigit():
        raise Malformed(f"{field}: not a UID")
    return text


def narrowed(search: Search, **named: str) -> Wanted:
    """What is wanted of the study and series that the address names ("" names none).

    Raises Malformed when a key asks for another one than the address.
    """
    wanted = dict(search.wanted)
    for field, uid in named.items():
        if uid and uid not in wanted.get(field, (uid,)):
            raise Malformed(f"{field}: another one than the address names")
        if uid:
            wanted[field] = (uid,)
    return Wanted(**wanted)


def _keyword(name: str) -> str:
    """The keyword of an attribute that is named by it or by its tag, eight hexadecimal digits."""
    if len(name) == 8 and all(digit in "0123456789abcdefABCDEF" for digit in name):
        name = keyword_for_tag(int(name, 16))
    if not name.isascii() or not name.isalnum() or tag_for_keyword(name) is None:
        raise Malformed("query: a key that is no attribute of DICOM's dictionary, or one inside a sequence")
    return name


def _text(keyword: str, value: str) -> Match:
    """Source: DICOM PS3.4 C.2.2.2.4, wild cards."""
    return Match(values=(value,), is_wild="*" in value or "?" in value)


def _any_of(keyword: str, value: str) -> Match:
    return Match(values=tuple(value.replace("\\", ",").split(",")), is_wild="*" in value or "?" in value)


def _name(keyword: str, value: str) -> Match:
    """A name whatever its letters' case, its empty last parts and its other groups. Source: DICOM PS3.5 6.2.1."""
    bare = value.rstrip("^")
    values = (bare, *(bare + "^" * count for count in range(1, 5)), f"{bare}=*")
    return Match(values=values, is_wild=True, ignore_case=True)


def _days(keyword: str, value: str) -> Range:
    """Source: DICOM PS3.4 C.2.2.2.5, range matching."""
    first, dash, last = value.partition("-")
    if not first and not last:
        raise Malformed(f"{keyword}: no date and no range of dates")
    for day in filter(None, (first, last)):
        try:
            if len(day) != 8:
                raise ValueError
            date.fromisoformat(day)
        except ValueError:
            raise Malformed(f"{keyword}: not YYYYMMDD, nor a range with a hyphen") from None
    return Range(first=first, last=last if dash else first)


def _uids(keyword: str, value: str) -> tuple[str, ...]:
    """Source: DICOM PS3.18 8.3.4.1: a list of UIDs has commas; PS3.4 C.2.2.2.2 has backslashes."""
    found = value.replace("\\", ",").split(",")
    if len(found) > _MOST_UIDS:
        raise Malformed(f"{keyword}: more than {_MOST_UIDS} of them")
    return tuple(read_uid(uid, keyword) for uid in found)


def _number(name: str, most: int, least: int, *, is_cut: bool) -> Callable[[str], Mapping[str, Any]]:
    def read(value: str) -> Mapping[str, Any]:
        if not (value.isascii() and value.isdigit() and len(value) < 10) or int(value) < least:
            raise Malformed(f"{name}: no number from {least} up")
        if int(value) > most and not is_cut:
            raise Malformed(f"{name}: more than {most}")
        return {name: min(int(value), most)}

    return read


def _fuzzy(value: str) -> Mapping[str, Any]:
    if value not in ("true", "false"):
        raise Malformed("fuzzymatching: neither true nor false")
    return {"is_fuzzy": value == "true"}


_OTHERS: dict[str, Callable[[str], Mapping[str, Any]]] = {
    "limit": _number("limit", MAX_LIMIT, 1, is_cut=True),
    "offset": _number("offset", MAX_OFFSET, 0, is_cut=False),
    "fuzzymatching": _fuzzy,
    "includefield": lambda _: {},  # everything that is known is told in any case
    "accept": lambda _: {},  # see accept.py
}

_KEYS: dict[str, tuple[Level, str, Callable[[str, str], Any]]] = {
    "StudyInstanceUID": (Level.STUDIES, "study_uids", _uids),
    "StudyDate": (Level.STUDIES, "study_date", _days),
    "AccessionNumber": (Level.STUDIES, "accession", _text),
    "ModalitiesInStudy": (Level.STUDIES, "modalities", _any_of),
    "PatientName": (Level.STUDIES, "patient_name", _name),
    "PatientID": (Level.STUDIES, "patient_id", _text),
    "IssuerOfPatientID": (Level.STUDIES, "issuer", _text),
    "PatientBirthDate": (Level.STUDIES, "birth_date", _days),
    "PatientSex": (Level.STUDIES, "sex", _text),
    "StudyID": (Level.STUDIES, "study_id", _text),
    "StudyDescription": (Level.STUDIES, "study_description", _text),
    "Modality": (Level.SERIES, "modality", _any_of),
    "SeriesInstanceUID": (Level.SERIES, "series_uids", _uids),
    "SeriesNumber": (Level.SERIES, "series_number", _text),
    "SeriesDescription": (Level.SERIES, "series_description", _text),
    "SOPInstanceUID": (Level.INSTANCES, "sop_uids", _uids),
    "SOPClassUID": (Level.INSTANCES, "sop_classes", _uids),
    "InstanceNumber": (Level.INSTANCES, "instance_number", _text),
}
"""What can be searched for, by keyword: from which level on, the field of `Wanted`, and how it is read."""
