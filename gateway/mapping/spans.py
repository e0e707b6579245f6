"""Where in a message's text a value stood: offsets of HL7 places, and of the values of a JSON document."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gateway.model.er7 import Message, Segment
from gateway.model.order import Place, Provenance

_LINE_END = re.compile(r"\r\n|\r|\n")
_LAST_NAME = re.compile(r"([A-Za-z_]\w*)(?:\[\d+\])?\s*$")
_CALL = re.compile(r"\.?[A-Za-z_]\w*\([^()]*\)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Characters `start` to `end` of a text, the last one not included."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A value of a JSON document and where it stands in the text; `key` is the name it stands under."""

    key: str
    value: object
    span: Span


def er7_text(text: str) -> str:
    """The text with one line feed between lines, counted as the reader of messages counts them."""
    return "\n".join(line.strip("\0") for line in _LINE_END.split(text.lstrip("\ufeff\0 \t\r\n")))


def er7_span(text: str, message: Message, place: Place) -> Span | None:
    """Where `place` is in `text`, which is of `er7_text`; None when nothing stands there."""
    segment = next((one for one in message.segments if one.line == place.line and place.line), None)
    if segment is None:
        return None
    begin = sum(len(line) + 1 for line in text.split("\n")[: place.line - 1])
    if not place.field:
        return Span(start=begin, end=begin + len(segment.name))
    offset = _field_offset(segment, place.field)
    field = segment.raw(place.field)
    if not field:
        return None
    marks = segment.delimiters
    is_header = segment.name in {"MSH", "FHS", "BHS"} and place.field <= 2
    levels = () if is_header else (
        (marks.repetition, place.repetition),
        (marks.component, place.component),
        (marks.subcomponent, place.subcomponent),
    )  # fmt: skip
    start, part = _within(field, levels)
    return Span(start=begin + offset + start, end=begin + offset + start + len(part)) if part else None


def _field_offset(segment: Segment, number: int) -> int:
    """Where field `number` begins in its segment. MSH-1 is the separator itself."""
    if segment.name in {"MSH", "FHS", "BHS"}:
        before = segment.fields[0:1] + segment.fields[2:number]
        return len(segment.name) if number == 1 else sum(len(one) + 1 for one in before)
    return sum(len(one) + 1 for one in segment.fields[:number])


def _within(text: str, levels: tuple[tuple[str, int], ...]) -> tuple[int, str]:
    """The part that the levels choose, and where it begins. Number 0 takes everything of a level."""
    start = 0
    for separator, number in levels:
        if not number:
            continue
        parts = text.split(separator) if separator else [text]
        if number > len(parts):
            return start, ""
        start += sum(len(part) + len(separator) for part in parts[: number - 1])
        text = parts[number - 1]
    return start, text


def json_nodes(document: object) -> tuple[str, tuple[Node, ...]]:
    """The document as indented text, and every value of it in the order of the text."""
    writer = _Writer()
    writer.write("", document, 0)
    return "".join(writer.parts), tuple(writer.nodes)


def json_spans(nodes: tuple[Node, ...], entry: Provenance) -> Iterator[Span]:
    """Where the values that `entry` was made of stand.

    A FHIRPath result does not say where it was found, so the value is looked for: under the last name of the path
    where it stands there, else anywhere.
    """
    if entry.place is None or not entry.raw:
        return
    name = _last_name(entry.place.path)
    for raw in dict.fromkeys((entry.raw, *entry.raw.split("~"))):
        alike = [node for node in nodes if _raw(node.value) == raw]
        found = [node for node in alike if node.key == name] or alike
        if found:
            yield found[0].span
            if raw == entry.raw:
                return


def _last_name(path: str) -> str:
    """`value` of `identifier.where(system='x').value`; calls at the end are passed over."""
    text = path
    while True:
        shorter = _CALL.sub("", text)
        if shorter == text:
            break
        text = shorter
    match = _LAST_NAME.search(text)
    return match[1] if match else ""


def _raw(value: object) -> str:
    """A value as a trace writes it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict) else str(value)


class _Writer:
    """Writes JSON and remembers where each value went."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.nodes: list[Node] = []
        self._length = 0

    def write(self, key: str, value: Any, depth: int) -> None:
        start, at = self._length, len(self.nodes)
        if isinstance(value, dict) and value:
            self._write_all("{", [(str(k), v, f"{json.dumps(k, ensure_ascii=False)}: ") for k, v in value.items()],
                            "}", depth)  # fmt: skip
        elif isinstance(value, list) and value:
            self._write_all("[", [(key, one, "") for one in value], "]", depth)
        else:
            self._put(json.dumps(value, ensure_ascii=False, default=str))
        quote = 1 if isinstance(value, str) else 0
        span = Span(start=start + quote, end=self._length - quote)
        self.nodes.insert(at, Node(key=key, value=value, span=span))

    def _write_all(self, opening: str, items: list[tuple[str, Any, str]], closing: str, depth: int) -> None:
        self._put(opening)
        for number, (key, value, label) in enumerate(items):
            self._put(f"{',' if number else ''}\n{'  ' * (depth + 1)}{label}")
            self.write(key, value, depth + 1)
        self._put(f"\n{'  ' * depth}{closing}")

    def _put(self, text: str) -> None:
        self.parts.append(text)
        self._length += len(text)
