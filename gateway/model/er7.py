"""An HL7 v2 message as a tree of text, and its reader for the ER7 ("pipe and hat") form.

The reader works on text that is already decoded: characters of Shift-JIS, GB18030 or Big5 contain delimiter
bytes, so decoding comes first. Nothing is checked against a version: what is there can be read. Positions are
1-based as in the HL7 books. Source: HL7 v2.5.1 2.5 and 2.7.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from gateway.model.errors import Malformed

NULL = '""'
"""The value that means "delete what you have". Source: HL7 v2.5.1 2.5.3."""

_NAME = re.compile(r"[A-Z][A-Z0-9]{2}")
_LINE_END = re.compile(r"\r\n|\r|\n")
_HEX = re.compile(r"[0-9A-Fa-f]+")
_NEEDED_DELIMITERS = 4
_MAX_WARNINGS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Delimiters:
    """The message's own delimiters. `truncation` is empty when MSH-2 names none (before v2.7)."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"
    truncation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One segment: its name, its fields as they stood, and the 1-based line of the message it came from."""

    name: str
    fields: tuple[str, ...]  # fields[0] is the segment's name; MSH-1 and MSH-2 stand at 1 and 2
    line: int
    delimiters: Delimiters
    hex_text: Callable[[bytes], str] = field(repr=False, compare=False)  # what \\Xhh..\\ stands for

    def raw(self, number: int) -> str:
        """Field `number` as it stood, repetitions and escapes included; empty when absent."""
        return self.fields[number] if 0 < number < len(self.fields) else ""

    def repetitions(self, number: int) -> tuple[str, ...]:
        """The raw repetitions of field `number`; an absent or empty field has none."""
        text = self.raw(number)
        if not text:
            return ()
        if self.name in _HEADERS and number <= 2:
            return (text,)
        return tuple(text.split(self.delimiters.repetition)) if self.delimiters.repetition else (text,)

    def first(self, number: int) -> str:
        """The raw first repetition of field `number`; empty when absent."""
        text = self.fields[number] if 0 < number < len(self.fields) else ""
        mark = self.delimiters.repetition
        if not mark or mark not in text or (self.name in _HEADERS and number <= 2):
            return text
        return text.partition(mark)[0]

    def value(self, number: int, component: int = 1, subcomponent: int = 1, *, repetition: int = 1) -> str:
        """The unescaped text at a place; empty when there is none. HL7's null comes back as `""` (two quotes)."""
        repetitions = self.repetitions(number)
        if not 0 < repetition <= len(repetitions):
            return ""
        if self.name in _HEADERS and number <= 2:
            return repetitions[0]
        return self.part(repetitions[repetition - 1], component, subcomponent)

    def part(self, repetition: str, component: int, subcomponent: int = 1) -> str:
        """The unescaped text of one component and subcomponent of a raw repetition."""
        text = _nth(repetition, self.delimiters.component, component)
        return self.unescape(_nth(text, self.delimiters.subcomponent, subcomponent))

    def components(self, repetition: str) -> tuple[str, ...]:
        """The raw components of a raw repetition; unescape a part of one with `part` or `unescape`."""
        return tuple(repetition.split(self.delimiters.component)) if repetition else ()

    def unescape(self, text: str) -> str:
        """`text` with this message's escape sequences resolved, once. See `unescape`."""
        return unescape(text, self.delimiters, self.hex_text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A whole message: segments in order, MSH first, and what the reader had to forgive."""

    segments: tuple[Segment, ...]
    delimiters: Delimiters
    warnings: tuple[str, ...] = ()

    @property
    def header(self) -> Segment:
        """The MSH segment."""
        return self.segments[0]

    def named(self, name: str) -> Iterator[Segment]:
        """Every segment called `name`, in order."""
        return (segment for segment in self.segments if segment.name == name)


_HEADERS = frozenset({"MSH", "FHS", "BHS"})  # segments whose field 1 is the separator itself


def read_er7(text: str, *, hex_text: Callable[[bytes], str] = lambda raw: raw.decode("latin-1")) -> Message:
    """The message that `text` holds. `hex_text` decodes the bytes of a \\Xhh..\\ escape in the message's own set.

    Segments may end in CR, LF or CRLF. A line that is no segment is taken as the rest of the one before it, with
    a warning: senders break notes across lines. One that is nothing but a name is a segment, with a warning: it may be
    a word of a note.
    Raises Malformed when there is no readable MSH.
    """
    lines = [line.strip("\0") for line in _LINE_END.split(text.lstrip("\ufeff\0 \t\r\n"))]
    delimiters = _read_delimiters(lines[0])
    segments: list[tuple[int, list[str]]] = []
    warnings: list[str] = []
    for number, line in enumerate(lines, start=1):
        if _is_segment(line, delimiters):
            segments.append((number, [line]))
            if len(line.rstrip()) <= 3:
                warnings.append(f"line {number} is the name of a segment and nothing else")
        elif line.strip():
            first, parts = segments[-1]
            parts.append(line)
            warnings.append(f"line {number} is no segment and was read as the rest of line {first}")
    return Message(
        segments=tuple(
            _read_segment("\n".join(parts), number, delimiters, hex_text) for number, parts in segments
        ),
        delimiters=delimiters,
        warnings=_shortened(warnings),
    )


def unescape(text: str, delimiters: Delimiters, hex_text: Callable[[bytes], str]) -> str:
    """`text` with the escape sequences of HL7 v2.5.1 2.7 resolved, once and from left to right.

    Delimiter escapes give the message's own delimiters, line commands a newline or blanks, highlighting nothing,
    hexadecimal data what `hex_text` makes of it. What is no escape sequence (a Windows path, a lone backslash,
    \\C..\\ \\M..\\ \\Z..\\) stays as it is.
    """
    mark = delimiters.escape
    if not mark or mark not in text:
        return text
    before, *parts = text.split(mark)
    done = [before]
    at = 0
    while at < len(parts):
        is_closed = at + 1 < len(parts)
        meaning = _meaning(parts[at], delimiters, hex_text) if is_closed else None
        done += [mark, parts[at]] if meaning is None else [meaning, parts[at + 1]]
        at += 1 if meaning is None else 2
    return "".join(done)


def escape(text: str, delimiters: Delimiters = Delimiters()) -> str:
    """`text` made safe to stand inside a field: delimiters escaped, line ends as \\.br\\.

    A message without an escape character gets blanks in their place.
    """
    mark = delimiters.escape
    if not mark:
        unsafe = {
            delimiters.field,
            delimiters.component,
            delimiters.subcomponent,
            delimiters.repetition,
            "\r",
            "\n",
        }
        return "".join(" " if char in unsafe else char for char in text)
    table = {
        mark: f"{mark}E{mark}",
        delimiters.field: f"{mark}F{mark}",
        delimiters.component: f"{mark}S{mark}",
        delimiters.subcomponent: f"{mark}T{mark}",
        delimiters.repetition: f"{mark}R{mark}",
        "\r": f"{mark}.br{mark}",
        "\n": f"{mark}.br{mark}",
    }
    return "".join(table.get(char, char) for char in text.replace("\r\n", "\n"))


def _shortened(warnings: list[str]) -> tuple[str, ...]:
    more = len(warnings) - _MAX_WARNINGS
    return (*warnings[:_MAX_WARNINGS], f"and {more} lines more") if more > 0 else tuple(warnings)


def _read_delimiters(line: str) -> Delimiters:
    if not line.startswith("MSH") or len(line) < 5:
        raise Malformed("the message does not begin with an MSH segment")
    mark = line[3]
    if mark.isalnum() or mark.isspace():
        raise Malformed("MSH-1 (field separator): a letter, digit or blank cannot separate fields")
    others = line[4:].split(mark, 1)[0].rstrip()
    if not others:
        raise Malformed("MSH-2 (encoding characters): absent")
    if any(char.isalnum() or char.isspace() or not char.isprintable() for char in others):
        raise Malformed(
            "MSH-2 (encoding characters): a letter, digit or blank cannot separate parts of a field"
        )
    if len(set(others)) != len(others) or mark in others:
        raise Malformed("MSH-2 (encoding characters): one character stands for two things")
    padded = others.ljust(_NEEDED_DELIMITERS, "\0")
    component, repetition, escape_mark, subcomponent = (
        char.replace("\0", "") for char in padded[:_NEEDED_DELIMITERS]
    )
    return Delimiters(
        field=mark,
        component=component,
        repetition=repetition,
        escape=escape_mark,
        subcomponent=subcomponent,
        truncation=others[4:5],
    )


def _is_segment(line: str, delimiters: Delimiters) -> bool:
    """Whether the line is a name with a separator behind it, or a name alone."""
    return _NAME.match(line) is not None and line[3:].rstrip()[:1] in ("", delimiters.field)


def _read_segment(
    line: str, number: int, delimiters: Delimiters, hex_text: Callable[[bytes], str]
) -> Segment:
    fields = line.split(delimiters.field)
    if fields[0] in _HEADERS:
        fields.insert(1, delimiters.field)
    return Segment(
        name=fields[0][:3], fields=tuple(fields), line=number, delimiters=delimiters, hex_text=hex_text
    )


def _nth(text: str, separator: str, number: int) -> str:
    if not separator:
        return text if number == 1 else ""
    parts = text.split(separator, number)
    return parts[number - 1] if 0 < number <= len(parts) else ""


def _meaning(body: str, delimiters: Delimiters, hex_text: Callable[[bytes], str]) -> str | None:
    """What the escape sequence `body` stands for; None when it is none."""
    fixed = {
        "F": delimiters.field,
        "S": delimiters.component,
        "T": delimiters.subcomponent,
        "R": delimiters.repetition,
        "E": delimiters.escape,
        "P": delimiters.truncation or "#",
        "H": "",
        "N": "",
    }
    if body in fixed:
        return fixed[body]
    if body.startswith("."):
        return _line_command(body)
    if body[:1] == "X" and _HEX.fullmatch(body[1:]):
        digits = body[1:]
        return hex_text(bytes.fromhex(digits if len(digits) % 2 == 0 else f"0{digits}")).replace("\0", "")
    return None


def _line_command(body: str) -> str | None:
    """Source: HL7 v2.5.1 2.7.6, formatted text commands."""
    name = body[1:3].lower()
    if name == "br":
        return "\n"
    if name == "sp":
        count = body[3:].strip()
        return "\n" * (int(count) if count.isdecimal() and len(count) < 3 else 1)
    return " " if name in {"in", "ti", "fi", "nf", "ce", "sk"} else None
