"""Why each value of an order is what it is: the message in pieces, each with the attributes made of it.

The same for the terminal and for the page: `trace` marks the text, whoever shows it chooses how.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from gateway.mapping.fhir_paths import Graph
from gateway.mapping.registry import Modules
from gateway.mapping.replay import Readable, map_again
from gateway.mapping.spans import Span, er7_span, er7_text, json_nodes, json_spans
from gateway.model.order import Mapped, Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some characters of a line. `uses` are the numbers of the entries that were made of them, () for the rest."""

    text: str
    uses: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of the message, cut where the marked places begin and end."""

    number: int  # from 1
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A message with the places that were used. Entry i stands in the lines that use i."""

    lines: tuple[Line, ...]
    entries: tuple[Provenance, ...]

    def line_of(self, number: int) -> int:
        """The first line that holds something of entry `number`, 0 when none does."""
        return next((ln.number for ln in self.lines for piece in ln.pieces if number in piece.uses), 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What became of a message: a trace for each order of it, in the order of `mapped.requests`."""

    mapped: Mapped
    traces: tuple[Trace, ...]


def explain(modules: Modules, readable: Readable) -> Explanation:
    """What the modules make of the message, and of which of its characters."""
    mapped = map_again(modules, readable)
    traces = tuple(trace(readable, request.provenance) for request in mapped.requests)
    return Explanation(mapped=mapped, traces=traces)


def trace(readable: Readable, entries: Sequence[Provenance]) -> Trace:
    """The message's text with the places that `entries` name."""
    text, spans = _spans(readable, entries)
    return Trace(lines=_lines(text, spans), entries=tuple(entries))


def _spans(readable: Readable, entries: Sequence[Provenance]) -> tuple[str, list[tuple[int, Span]]]:
    """The text to show, and each place with the number of the entry it belongs to."""
    content = readable.content
    if isinstance(content, Graph):
        text, nodes = json_nodes(readable.document)
        return text, [(at, span) for at, entry in enumerate(entries) for span in json_spans(nodes, entry)]
    text = er7_text(readable.text).rstrip("\n")
    found = [
        (at, er7_span(text, content, entry.place))
        for at, entry in enumerate(entries)
        if entry.place is not None
    ]
    return text, [(at, span) for at, span in found if span and _is_there(text, span, entries[at])]


def _is_there(text: str, span: Span, entry: Provenance) -> bool:
    """Whether the entry was made of this very message: a later one may have another text at the place."""
    return text[span.start : span.end] in entry.raw


def _lines(text: str, spans: list[tuple[int, Span]]) -> tuple[Line, ...]:
    lines = []
    begin = 0
    for number, line in enumerate(text.split("\n"), start=1):
        end = begin + len(line)
        inside = [
            (at, Span(start=max(span.start, begin) - begin, end=min(span.end, end) - begin))
            for at, span in spans
            if span.start < end and span.end > begin
        ]
        lines.append(Line(number=number, pieces=_pieces(line, inside)))
        begin = end + 1
    return tuple(lines)


def _pieces(line: str, spans: list[tuple[int, Span]]) -> tuple[Piece, ...]:
    """The line cut at every edge of a span; the indentation of a marked JSON line stays unmarked."""
    indent = len(line) - len(line.lstrip(" "))
    edges = sorted({0, len(line), *(max(e, indent) for _, span in spans for e in (span.start, span.end))})
    pieces = []
    for start, end in pairwise(edges):
        uses = tuple(
            dict.fromkeys(
                at for at, span in spans if span.start <= start and end <= span.end and end > indent
            )
        )
        pieces.append(Piece(text=line[start:end], uses=uses))
    return tuple(pieces)
