"""Batches: a frame that holds several messages, taken apart at each MSH.

Source: HL7 v2.5.1 2.10.3 (batch protocol), 2.14.2 (BHS), 2.14.3 (BTS), 2.14.6 (FHS), 2.14.7 (FTS).
"""

import re
from dataclasses import dataclass, replace

MAX_MESSAGES = 10_000

_HEADS = (b"MSH", b"FHS", b"BHS")
_PADDING = b"\0 \t\r\n"
_BOM = b"\xef\xbb\xbf"
_LINE = re.compile(rb"(?:\A|(?<=[\r\n]))[\0 \t]*(MSH|FHS|BHS|BTS|FTS)(?=([^A-Za-z0-9\s]))")
_COUNT = re.compile(rb"[0-9]{1,9}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One message of a frame."""

    raw: bytes
    remarks: tuple[str, ...] = ()  # what is odd about the batch around it
    refusal: str = ""  # why it cannot be taken as one message; empty when it can


def split(raw: bytes) -> tuple[Part, ...]:
    """The messages of a frame in order; one with the frame's own bytes when it is no batch.

    The lines of the envelope belong to no message. A count in BTS-1 or FTS-1 that does not fit is a remark on each
    message it is about; an absent one is none.
    """
    bare = raw.removeprefix(_BOM).lstrip(_PADDING)
    if not bare.startswith(_HEADS) or (bare.startswith(b"MSH") and bare.count(b"MSH") == 1):
        return (Part(raw=raw),)
    lines = _lines(raw)
    messages = sum(line.name == b"MSH" for line in lines)
    if messages == 0 or (messages == 1 and lines[0].name == b"MSH"):
        return (Part(raw=raw),)
    if messages > MAX_MESSAGES:
        return (Part(raw=raw, refusal=f"the batch holds more than {MAX_MESSAGES} messages"),)
    return _parts(raw, lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A line that begins or ends something: its name and where it stands."""

    name: bytes
    start: int
    text: int  # where its name begins, after padding
    mark: bytes  # its field separator


def _lines(raw: bytes) -> list[_Line]:
    """The lines that part messages. A line that says MSH with another separator is text of a broken note."""
    bare = raw.removeprefix(_BOM)
    skipped = len(raw) - len(bare)
    found = [
        _Line(name=m[1], start=m.start() + skipped, text=m.start(1) + skipped, mark=m[2])
        for m in _LINE.finditer(bare)
    ]
    first = next((line.mark for line in found if line.name == b"MSH"), b"")
    return [line for line in found if line.name != b"MSH" or line.mark == first]


def _parts(raw: bytes, lines: list[_Line]) -> tuple[Part, ...]:
    parts: list[Part] = []
    begin, batches = 0, 0  # where the open batch begins among the parts; how many there were
    ends = [*(line.start for line in lines[1:]), len(raw)]
    for line, end in zip(lines, ends, strict=True):
        if line.name == b"MSH":
            parts.append(Part(raw=raw[line.text : end]))
        elif line.name == b"BHS":
            begin, batches = len(parts), batches + 1
        elif line.name == b"BTS":
            _remark(parts, begin, "BTS-1 (messages in the batch)", _count(raw, line), len(parts) - begin)
            begin = len(parts)
        elif line.name == b"FTS":
            _remark(parts, 0, "FTS-1 (batches in the file)", _count(raw, line), batches)
    return tuple(parts)


def _count(raw: bytes, line: _Line) -> int | None:
    """Field 1 of a trailer; None when it says no number."""
    text = re.split(rb"[\r\n]", raw[line.text : line.text + 64], maxsplit=1)[0]
    fields = text.split(line.mark)
    number = fields[1].strip() if len(fields) > 1 else b""
    return int(number) if _COUNT.fullmatch(number) else None


def _remark(parts: list[Part], begin: int, field: str, said: int | None, found: int) -> None:
    if said is None or said == found:
        return
    text = f"{field}: says {said}, there are {found}"
    parts[begin:] = [replace(part, remarks=(*part.remarks, text)) for part in parts[begin:]]
