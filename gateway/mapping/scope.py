"""What a path reads from and what it finds."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

from gateway.model.er7 import NULL, Segment
from gateway.model.order import Place, Severity, UnknownCode, Value


@dataclass(
    slots=True, kw_only=True
)  # not frozen: many are made for every order, and freezing doubles their cost
class Piece:
    """A repetition, component or subcomponent of an HL7 field as it stood, or a whole segment by its name."""

    raw: str
    segment: Segment
    level: int  # -1 a segment, 0 a repetition, 1 a component, 2 a subcomponent

    def part(self, number: int) -> "Piece":
        """Part `number` of the next level down; empty when there is none."""
        marks = self.segment.delimiters
        if self.level < 0:
            first = self.segment.repetitions(number)[:1]
            return Piece(raw=first[0] if first else "", segment=self.segment, level=0)
        separator = (marks.component, marks.subcomponent, "")[self.level]
        parts = self.raw.split(separator) if separator else [self.raw]
        raw = parts[number - 1] if 0 < number <= len(parts) else ""
        return Piece(raw=raw, segment=self.segment, level=min(self.level + 1, 2))

    def texts(self, count: int) -> list[str]:
        """The texts of the first `count` parts of the next level down, empty where there is none."""
        marks = self.segment.delimiters
        separator = (marks.component, marks.subcomponent, "")[self.level]
        parts = self.raw.split(separator, count)[:count] if separator else [self.raw]
        if self.level == 0 and marks.subcomponent and marks.subcomponent in self.raw:
            parts = [part.partition(marks.subcomponent)[0] for part in parts]
        if marks.escape and marks.escape in self.raw:
            parts = [self.segment.unescape(part) for part in parts]
        return parts + [""] * (count - len(parts))

    @property
    def text(self) -> str:
        """The unescaped text of the first part of every level down."""
        raw, marks = self.raw, self.segment.delimiters
        if self.level < 1 and marks.component:
            raw = raw.partition(marks.component)[0]
        if self.level < 2 and marks.subcomponent:
            raw = raw.partition(marks.subcomponent)[0]
        return self.segment.unescape(raw) if marks.escape and marks.escape in raw else raw

    @property
    def is_null(self) -> bool:
        """Whether the sender asks to delete the value. Source: HL7 v2.5.1 2.5.3."""
        return self.raw.startswith(NULL) and self.raw.rstrip("^&") == NULL


Element: TypeAlias = Mapping[str, Any]
"""A JSON object: a FHIR element on its way in, a DICOM item on its way out."""

Datum: TypeAlias = str | Piece | Element
Data: TypeAlias = tuple[Datum, ...]


@dataclass(slots=True, kw_only=True)  # not frozen, as Piece
class Found:
    """A value that a path found, the text as the sender wrote it, and where it stood."""

    datum: Datum
    raw: str
    place: Place

    @property
    def is_null(self) -> bool:
        """Whether it is HL7's request to delete."""
        return isinstance(self.datum, Piece) and self.datum.is_null


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The segments of one order, and those that all orders of the patient share."""

    own: Mapping[str, tuple[Segment, ...]]
    shared: Mapping[str, tuple[Segment, ...]]
    ordinals: Mapping[int, int]  # line of a segment -> which of its name in the whole message
    item: Found | None = None  # what the item at hand is made from; None outside `item`

    def segments(self, name: str) -> tuple[Segment, ...]:
        """The order's own segments called `name`, else the shared ones.

        A note (NTE) of the patient is no note of the order, so NTE is never taken from the shared ones.
        """
        own = self.own.get(name)
        if own:
            return own
        return () if name == "NTE" and self.own else self.shared.get(name, ())

    @property
    def sent_at(self) -> str:
        """The message's own time as its sender wrote it; empty when there is none. Source: HL7 v2.5.1 2.15.9.7."""
        headers = self.shared.get("MSH") or self.own.get("MSH")
        return headers[0].value(7) if headers else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Focus:
    """A FHIR order and what its expressions may name with a percent sign."""

    order: Element
    variables: Mapping[str, Any]

    @property
    def sent_at(self) -> str:
        """When the order was last changed at its sender, else when it was written; empty when it does not say."""
        meta = self.order.get("meta")
        changed = meta.get("lastUpdated") if isinstance(meta, Mapping) else None
        told = (changed, self.order.get("authoredOn"))
        return next((text for text in told if isinstance(text, str) and text), "")


Scope: TypeAlias = Group | Focus

ITEM = "item"
"""The variable (`%item`) that stands for the element an item is made from."""


def standing_at(scope: Scope, found: Found) -> Scope:
    """`scope` for the paths of an item that is made from what was found."""
    if isinstance(scope, Group):
        return replace(scope, item=found)
    return replace(scope, variables={**scope.variables, ITEM: found.datum})


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One order being mapped: where paths read, and the attributes made so far."""

    scope: Scope
    values: Mapping[str, Value]
    unknown: list[UnknownCode] = field(default_factory=list)  # codes that a table did not know


class Path(Protocol):
    """A compiled path of either language."""

    @property
    def text(self) -> str:
        """The path as the module's author wrote it."""

    def read(self, scope: Scope) -> tuple[Found, ...]:
        """What stands there, in order; nothing when it is absent. Never raises."""

    def place(self, scope: Scope) -> Place:
        """Where one would look for it, as precisely as the order at hand allows."""


class Unfit(Exception):
    """A value that cannot be used.

    `severity` None leaves the choice to the field. `code` is of HL7 table 0357. The text names no value.
    """

    def __init__(self, text: str, *, code: str = "102", severity: Severity | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.code = code
        self.severity = severity


def text_of(datum: Datum) -> str:
    """The text of a value.

    Raises Unfit for an element that has parts: a transform must say which of them is meant.
    """
    if isinstance(datum, str):
        return datum
    if isinstance(datum, Piece):
        return datum.text
    raise Unfit("is an element with parts; a transform must make a text of it")


def raw_of(datum: Datum) -> str:
    """A value as the sender wrote it; an element as JSON."""
    if isinstance(datum, str):
        return datum
    return datum.raw if isinstance(datum, Piece) else json.dumps(datum, ensure_ascii=False, default=str)
