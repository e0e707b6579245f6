"""HL7 paths: `SEG[n]-F[r].C.S`, counted from 1 as in the HL7 books.

`PID-5.1`, `PID.5.1`, `PID-3[2].1`, `PID-3[*].1`, `PID-3[4.1=GENHOSP].1`, `PID-3[4.1=$mrn_authority].1`,
`OBX[3.1=8302-2]-5`, `NTE[*]-3`. A segment alone (`ZDS`) asks whether it is there. Without a number the first segment
and the first repetition are meant; without a component the whole field, whose text is that of its first component
(HL7 v2.5.1 2.8.2: what was simple and became composite keeps its old meaning there).

Inside an `item` a path that begins with a dot reads the repetition or segment the item is made from: `.1`, `.4.1`;
`.` alone is all of it.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from gateway.mapping.scope import Datum, Found, Group, Piece, Scope
from gateway.model.er7 import Segment
from gateway.model.order import Place

_PATH = re.compile(
    r"(?P<segment>[A-Z][A-Z0-9]{2})(?:\[(?P<which>[^\]]*)\])?"
    r"(?:[-.](?P<field>[1-9]\d{0,2})(?:\[(?P<repetition>[^\]]*)\])?"
    r"(?:\.(?P<component>[1-9]\d?))?(?:\.(?P<subcomponent>[1-9]\d?))?)?"
)
_RELATIVE = re.compile(r"\.|(?:\.[1-9]\d{0,2}){1,3}")
_TEST = re.compile(r"([1-9]\d{0,2})(?:\.([1-9]\d?))?(?:\.([1-9]\d?))?=(.+)", re.DOTALL)
_HEADERS = frozenset({"MSH", "FHS", "BHS"})

EVERY = 0
MAX_PLACES = 200
"""How many places a path remembers: line, which segment of its name, repetition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """A condition on a part of the same segment or repetition. `wanted` None matches nothing.

    `numbers` are field, component, subcomponent for a segment, and component, subcomponent for a repetition.
    """

    __test__ = False  # no test case, whatever pytest takes the name for

    numbers: tuple[int, int, int]
    wanted: str | None


Pick: TypeAlias = int | Test
"""Which of several: a number from 1, EVERY, or those that pass a test."""


class BadPath(ValueError):
    """The text is no HL7 path; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hl7Path:
    """A compiled HL7 path. `field`, `component`, `subcomponent` are 0 where the path names none."""

    text: str
    segment: str
    which: Pick
    field: int
    repetition: Pick
    component: int
    subcomponent: int
    is_plain: bool  # the first repetition of the first segment: nearly every path of nearly every module
    # Most messages of a sender are built alike, so their places are too; making them anew took a tenth of the time.
    places: dict[tuple[int, int, int], Place] = dataclasses.field(
        default_factory=dict, repr=False, compare=False
    )

    def read(self, scope: Scope) -> tuple[Found, ...]:
        """What stands at the path. Never raises."""
        if not isinstance(scope, Group):
            return ()
        segments = scope.segments(self.segment)
        if not segments:
            return ()
        if self.is_plain:
            raw = segments[0].first(self.field)
            found = self._read_one(scope, segments[0], 1, raw) if raw else None
            return (found,) if found else ()
        return tuple(self._read_several(scope, segments))

    def place(self, scope: Scope) -> Place:
        """The place that the path means, with the line of its segment when that is there."""
        segments = scope.segments(self.segment) if isinstance(scope, Group) else ()
        segment = next(_picked_segments(segments, self.which), None) or next(iter(segments), None)
        repetition = self.repetition if isinstance(self.repetition, int) else 0
        return self._place(scope, segment, repetition)

    def _read_several(self, group: Group, segments: tuple[Segment, ...]) -> Iterator[Found]:
        for segment in _picked_segments(segments, self.which):
            if not self.field:
                piece = Piece(raw=segment.name, segment=segment, level=-1)
                yield Found(datum=piece, raw=segment.name, place=self._place(group, segment, 0))
                continue
            for number, raw in _picked_repetitions(segment, self.field, self.repetition):
                if found := self._read_one(group, segment, number, raw):
                    yield found

    def _read_one(self, group: Group, segment: Segment, number: int, raw: str) -> Found | None:
        """What one repetition holds at the path; None when it is empty there."""
        datum: Datum = raw
        if self.field > 2 or segment.name not in _HEADERS:
            marks = segment.delimiters
            if self.component:
                raw = _part(raw, marks.component, self.component)
            if self.subcomponent:
                raw = _part(raw, marks.subcomponent, self.subcomponent)
            level = 2 if self.subcomponent else 1 if self.component else 0
            datum = Piece(raw=raw, segment=segment, level=level) if raw else ""
        return Found(datum=datum, raw=raw, place=self._place(group, segment, number)) if raw else None

    def _place(self, scope: Scope, segment: Segment | None, repetition: int) -> Place:
        line = segment.line if segment else 0
        ordinal = scope.ordinals.get(line, 0) if isinstance(scope, Group) else 0
        known = self.places.get((line, ordinal, repetition))
        if known:
            return known
        place = Place(
            line=line,
            segment=self.segment,
            segment_repetition=ordinal,
            field=self.field,
            repetition=repetition,
            component=self.component,
            subcomponent=self.subcomponent,
            path=self.text,
        )
        if len(self.places) < MAX_PLACES:
            self.places[line, ordinal, repetition] = place
        return place


@dataclass(frozen=True, slots=True, kw_only=True)
class RelativePath:
    """A compiled path that begins with a dot; `numbers` are empty for the whole."""

    text: str
    numbers: tuple[int, ...]

    def read(self, scope: Scope) -> tuple[Found, ...]:
        """What stands there in the part of the message that the item is made from. Never raises."""
        at = scope.item if isinstance(scope, Group) else None
        if at is None or not isinstance(at.datum, Piece):
            return ()
        piece = at.datum
        for number in self.numbers:
            piece = piece.part(number)
        return (Found(datum=piece, raw=piece.raw, place=self.place(scope)),) if piece.raw else ()

    def place(self, scope: Scope) -> Place:
        """The place of the item's source, narrowed down by the path."""
        at = scope.item if isinstance(scope, Group) else None
        if at is None:
            return Place(path=self.text)
        numbers = list(self.numbers)
        place = at.place
        parts = [
            given or (numbers.pop(0) if numbers else 0)
            for given in (place.field, place.component, place.subcomponent)
        ]
        return replace(
            place,
            field=parts[0],
            component=parts[1],
            subcomponent=parts[2],
            path=f"{place.path}{self.text}" if self.numbers else place.path,
        )


def compile_relative(text: str) -> RelativePath:
    """The path that `text`, which begins with a dot, writes.

    Raises BadPath.
    """
    if not _RELATIVE.fullmatch(text):
        raise BadPath(f"'{text}' is no path inside an item such as .1 or .4.1")
    return RelativePath(text=text, numbers=tuple(int(part) for part in text.split(".") if part))


def compile_hl7(text: str, site: Mapping[str, str]) -> Hl7Path:
    """The path that `text` writes. `$name` in a test stands for a site value; an empty one matches nothing.

    Raises BadPath.
    """
    match = _PATH.fullmatch(text.strip())
    if not match:
        raise BadPath(f"'{text}' is no HL7 path such as PID-3[5=MR].1")
    parts = match.groupdict()
    which = _pick(parts["which"], site, is_segment=True)
    repetition = _pick(parts["repetition"], site, is_segment=False)
    return Hl7Path(
        text=text.strip(),
        segment=parts["segment"],
        which=which,
        field=int(parts["field"] or 0),
        repetition=repetition,
        is_plain=bool(parts["field"]) and which == 1 and repetition == 1,
        component=int(parts["component"] or 0),
        subcomponent=int(parts["subcomponent"] or 0),
    )


def _pick(text: str | None, site: Mapping[str, str], *, is_segment: bool) -> Pick:
    if text is None:
        return 1
    if text == "*":
        return EVERY
    if text.isdecimal() and text.isascii() and 0 < int(text) < 1000:
        return int(text)
    match = _TEST.fullmatch(text)
    if not match:
        raise BadPath(f"'[{text}]' is neither a number nor * nor a test such as 4.1=GENHOSP")
    first, second, third = int(match[1]), int(match[2] or 1), int(match[3] or 1)
    numbers = (first, second, third) if is_segment else (0, first, second)
    if not is_segment and match[3]:
        raise BadPath(f"'[{text}]': a repetition has components and subcomponents, no third level")
    return Test(numbers=numbers, wanted=_wanted(match[4], site))


def _part(raw: str, separator: str, number: int) -> str:
    """Part `number` of a text cut at the separator; empty when there is none."""
    if not separator:
        return raw if number == 1 else ""
    parts = raw.split(separator, number)
    return parts[number - 1] if number <= len(parts) else ""


def _wanted(text: str, site: Mapping[str, str]) -> str | None:
    if not text.startswith("$"):
        return text
    if text[1:] not in site:
        raise BadPath(f"'{text}' is no site value of this module")
    return site[text[1:]] or None


def _picked_segments(segments: tuple[Segment, ...], pick: Pick) -> Iterator[Segment]:
    if isinstance(pick, Test):
        field, component, subcomponent = pick.numbers
        for segment in segments:
            if pick.wanted is not None and segment.value(field, component, subcomponent) == pick.wanted:
                yield segment
    elif pick == EVERY:
        yield from segments
    elif pick <= len(segments):
        yield segments[pick - 1]


def _picked_repetitions(segment: Segment, field: int, pick: Pick) -> Iterator[tuple[int, str]]:
    """The raw repetitions that `pick` chooses, each with its number."""
    repetitions = segment.repetitions(field)
    if isinstance(pick, Test):
        _, component, subcomponent = pick.numbers
        for number, raw in enumerate(repetitions, start=1):
            if pick.wanted is not None and segment.part(raw, component, subcomponent) == pick.wanted:
                yield number, raw
    elif pick == EVERY:
        yield from enumerate(repetitions, start=1)
    elif pick <= len(repetitions):
        yield pick, repetitions[pick - 1]
