"""Machine profiles from YAML, each fault with its place, in the manner of the mapping modules.

A profile says only what is otherwise than the default; every key is in `SECTIONS`.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeAlias

from pydicom.charset import python_encoding
from pydicom.datadict import tag_for_keyword

from gateway.dicom import status
from gateway.dicom.charset import ASKED
from gateway.dicom.keys import KEYWORDS
from gateway.dicom.profiles import EXPLICIT, IMPLICIT, Expected, Groups, Profile, Station
from gateway.mapping.loader import MAX_BYTES, Entries, Items, Problems, Text, Tree, did_you_mean, read_yaml
from gateway.model.errors import Invalid

Read: TypeAlias = Callable[[Tree, Problems], Any]
"""The value of a key; None after a problem was noted."""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_UID = re.compile(r"\d[\d.]*\*?")
_SYNTAXES = {"explicit": EXPLICIT, "implicit": IMPLICIT}
_PENDING = {"FF00": status.FIND_PENDING, "FF01": status.FIND_PENDING_UNSUPPORTED}
_YES = {"yes": True, "no": False}
_MOST = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """The profiles that were read, by name, and what is wrong with their files."""

    profiles: Mapping[str, Profile]
    faults: tuple[str, ...] = ()


def read_library(folder: Path) -> Library:
    """Every profile of the folder's YAML files that has no fault, and the faults of the others."""
    profiles: dict[str, Profile] = {}
    faults: list[str] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            with path.open("rb") as stream:
                profile = read_profile(stream.read(MAX_BYTES + 1), f"{folder.name}/{path.name}")
        except OSError:
            faults.append(f"{folder.name}/{path.name}:1:1: cannot be read")
        except Invalid as fault:
            faults.extend(fault.faults)
        else:
            profiles[profile.name] = profile
    return Library(profiles=profiles, faults=tuple(faults))


def read_profile(content: bytes, file: str) -> Profile:
    """The profile of a file. Raises Invalid with every fault, each "file:line:col: text"."""
    tree = read_yaml(content, file)
    problems = Problems()
    values = _section(tree, _TOP, problems)
    for key in ("profile", "about"):
        if tree.find(key) is None:
            problems.add(tree.mark, f"the key '{key}' is missing")
    name = values.get("name")
    if name and name != Path(file).stem:
        problems.add(tree.mark, f"profile: '{name}' stands in a file of another name")
    for section, keys in SECTIONS.items():
        found = tree.find(section)
        if isinstance(found, Entries):
            values |= _section(found, keys, problems)
        elif found is not None:
            problems.add(found.mark, f"'{section}' is a mapping of keys to values")
    if problems.lines():
        raise Invalid(*problems.lines())
    days = values.pop("days_before", None), values.pop("days_after", None)
    if days != (None, None):
        values["days"] = (days[0] or 0, days[1] or 0)
    return Profile(**values, version=hashlib.sha256(content).hexdigest()[:12])


def _section(tree: Entries, keys: Mapping[str, tuple[str, Read]], problems: Problems) -> dict[str, Any]:
    """Each attribute of the profile that the section speaks of."""
    values: dict[str, Any] = {}
    known = tuple(keys) if keys is not _TOP else (*keys, *SECTIONS)
    for entry in tree:
        if entry.key in keys:
            attribute, read = keys[entry.key]
            values[attribute] = read(entry.value, problems)
        elif entry.key not in known:
            problems.add(entry.mark, f"unknown key '{entry.key}'{did_you_mean(entry.key, known)}")
    return values


def _text(tree: Tree, problems: Problems) -> str | None:
    if isinstance(tree, Text) and tree.text:
        return tree.text
    problems.add(tree.mark, "a text is wanted here")
    return None


def _name(tree: Tree, problems: Problems) -> str | None:
    text = _text(tree, problems)
    if text and not _NAME.fullmatch(text):
        problems.add(tree.mark, "a name has small letters, digits and single hyphens between them")
    return text


def _one_of(choices: Mapping[str, Any]) -> Read:
    def read(tree: Tree, problems: Problems) -> Any:
        text = _text(tree, problems)
        if text is not None and text not in choices:
            near = did_you_mean(text, tuple(choices))
            problems.add(tree.mark, f"'{text}' is none of {', '.join(choices)}{near}")
        return choices.get(text or "")

    return read


def _word(kind: type[StrEnum], *allowed: StrEnum) -> Read:
    return _one_of({str(word): word for word in (allowed or tuple(kind))})


def _number(least: int, most: int) -> Read:
    def read(tree: Tree, problems: Problems) -> int | None:
        text = tree.text if isinstance(tree, Text) else None
        if text and text.isascii() and text.isdigit() and len(text) < 8 and least <= int(text) <= most:
            return int(text)
        problems.add(tree.mark, f"a whole number from {least} to {most} is wanted here")
        return None

    return read


def _each(read: Read) -> Read:
    """A list, or one value alone."""

    def read_all(tree: Tree, problems: Problems) -> tuple[Any, ...]:
        items = tree.items if isinstance(tree, Items) else (tree,)
        return tuple(read(item, problems) for item in items)

    return read_all


def _all_different(read: Read) -> Read:
    return lambda tree, problems: frozenset(_each(read)(tree, problems))


def _pairs(read_key: Read, read: Read) -> Read:
    def read_all(tree: Tree, problems: Problems) -> dict[Any, Any]:
        if not isinstance(tree, Entries):
            problems.add(tree.mark, "a mapping of keys to values is wanted here")
            return {}
        return {
            read_key(Text(text=entry.key, mark=entry.mark), problems): read(entry.value, problems)
            for entry in tree
        }

    return read_all


def _keyword(tree: Tree, problems: Problems) -> str | None:
    text = _text(tree, problems)
    if text and tag_for_keyword(text) is None:
        problems.add(tree.mark, f"'{text}' is no DICOM keyword{did_you_mean(text, KEYWORDS)}")
    return text


def _uid(tree: Tree, problems: Problems) -> str | None:
    text = _text(tree, problems)
    if text and not _UID.fullmatch(text):
        problems.add(tree.mark, "a UID, or the beginning of one before a '*', is wanted here")
    return text


def _character(tree: Tree, problems: Problems) -> str | None:
    text = tree.text if isinstance(tree, Text) else None
    if text is None or len(text) != 1:
        problems.add(tree.mark, "one character is wanted here")
    return text


def _any_text(tree: Tree, problems: Problems) -> str:
    if not isinstance(tree, Text):
        problems.add(tree.mark, "a text is wanted here")
        return ""
    return tree.text or ""


def _charset(tree: Tree, problems: Problems) -> tuple[str, ...]:
    text = _any_text(tree, problems)
    terms = tuple(term.strip() for term in text.split("\\"))
    known = [term for term in python_encoding if term]
    for term in terms if terms != (ASKED,) else ():
        if term and term not in known:
            near = did_you_mean(term, tuple(known))
            problems.add(tree.mark, f"'{term}' is no defined term of a character set{near}")
    return terms


_TOP: Final[Mapping[str, tuple[str, Read]]] = {
    "profile": ("name", _name),
    "about": ("about", _text),
}
SECTIONS: Final[Mapping[str, Mapping[str, tuple[str, Read]]]] = {
    "detect": {
        "implementation": ("implementations", _each(_uid)),
        "calling_ae": ("callers", _each(_text)),
    },
    "text": {
        "character_sets": ("charsets", _each(_charset)),
        "transliterate": ("is_transliterated", _one_of(_YES)),
        "replace": ("replaced", _pairs(_character, _any_text)),
        "longest": ("longest", _pairs(_keyword, _number(1, 10_240))),
        "too_long": ("is_cut", _one_of({"cut": True, "keep_back": False})),
    },
    "names": {
        "groups": ("groups", _word(Groups)),
        "case": ("is_upper", _one_of({"upper": True, "as_it_is": False})),
        "components": ("components", _number(1, 5)),
    },
    "keys": {
        "required": ("required", _all_different(_keyword)),
        "omitted": ("omitted", _all_different(_keyword)),
        "omitted_when_empty": ("omitted_when_empty", _all_different(_keyword)),
        "filled": ("filled", _pairs(_keyword, _text)),
    },
    "query": {
        "station": ("asked_station", _word(Station, Station.ASKED, Station.CALLING, Station.ANY)),
        "days_before": ("days_before", _number(0, 366)),
        "days_after": ("days_after", _number(0, 366)),
    },
    "answers": {
        "transfer_syntaxes": ("syntaxes", _each(_one_of(_SYNTAXES))),
        "pending": ("pending", _one_of(_PENDING)),
        "limit": ("limit", _number(0, _MOST)),
        "beyond_limit": ("is_limit_silent", _one_of({"end": True, "refuse": False})),
        "station": ("answered_station", _word(Station, Station.SCHEDULED, Station.CALLING, Station.ASKED)),
    },
    "expect": {
        "mpps": ("mpps", _word(Expected)),
        "reports": ("reports", _word(Expected)),
        "commitment": ("commitment", _word(Expected)),
        "commitment_association": (
            "commitment_association",
            _one_of({word: word for word in ("same", "new", "any")}),
        ),
    },
}
