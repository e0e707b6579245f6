"""MLLP framing without sockets: bytes in, frames out.

A frame is VT, the message, FS, CR. Source: HL7 Transport Specification MLLP, Release 1, 2.
Frames are found on raw bytes, before decoding: neither VT nor FS occurs inside a character of any set in MSH-18
except UTF-16 and UTF-32, which are refused.
"""

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from enum import StrEnum

VT = b"\x0b"
FS = b"\x1c"
CR = b"\r"
MAX_BYTES = 16 * 1024 * 1024

_MARK = re.compile(rb"[\x0b\x1c]")
_PADDING = b"\0\t\n\r "  # what senders put between frames without meaning anything by it
_HEAD = 64 * 1024


class End(StrEnum):
    """How a frame ended."""

    WHOLE = "whole"
    TRUNCATED = "truncated"  # the next frame began before this one's FS
    OVERSIZED = "oversized"  # it grew past the limit; `payload` is its head, and nothing more is read


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What stood between VT and FS."""

    payload: bytes
    end: End = End.WHOLE


class Oddity(StrEnum):
    """What a sender does wrong without harm."""

    JUNK = "junk"  # bytes outside frames that are no padding
    MISSING_CR = "missing_cr"  # something else than CR follows an FS


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """An oddity and how often it was seen (for junk: bytes). The bytes are not told: they may name a patient."""

    oddity: Oddity
    count: int


class Framer:
    """Cuts one connection's bytes into frames, in time linear in the bytes fed."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        """`max_bytes` is the longest payload taken, frame bytes not counted."""
        self._max_bytes = max_bytes
        self._body = bytearray()
        self._is_inside = False
        self._is_after_fs = False
        self._is_over = False
        self._junk = 0

    @property
    def is_inside(self) -> bool:
        """Whether a frame has begun and its end is still to come."""
        return self._is_inside

    @property
    def pending_bytes(self) -> int:
        """How much of an unfinished frame is held."""
        return len(self._body)

    @property
    def unframed_bytes(self) -> int:
        """How much junk there was since the last frame."""
        return self._junk

    def feed(self, chunk: bytes) -> Iterator[Frame | Noted]:
        """The frames that `chunk` completes and the oddities it shows, in order.

        A frame is complete with its FS, so that a sender which leaves out the CR still gets its answer. Junk is
        counted, and told when the next frame begins. After an OVERSIZED frame nothing more comes: where it ends
        is not known. The chunk is read as the iterator is drawn: draw it to its end before feeding the next.
        """
        at = 0
        while at < len(chunk) and not self._is_over:
            if self._is_after_fs:
                at = yield from self._after_fs(chunk, at)
            elif self._is_inside:
                at = yield from self._inside(chunk, at)
            else:
                at = yield from self._outside(chunk, at)

    def finish(self) -> Noted | None:
        """The junk counted since the last frame; None when there was none. For the end of a connection."""
        junk, self._junk = self._junk, 0
        return Noted(oddity=Oddity.JUNK, count=junk) if junk else None

    def _after_fs(self, chunk: bytes, at: int) -> Generator[Noted, None, int]:
        self._is_after_fs = False
        if chunk[at : at + 1] == CR:
            return at + 1
        yield Noted(oddity=Oddity.MISSING_CR, count=1)
        return at

    def _outside(self, chunk: bytes, at: int) -> Generator[Noted, None, int]:
        """Past the next VT, or to the end of the chunk."""
        start = chunk.find(VT, at)
        skipped = chunk[at:] if start < 0 else chunk[at:start]
        self._junk += len(skipped.translate(None, _PADDING))
        if start < 0:
            return len(chunk)
        self._is_inside = True
        noted = self.finish()
        if noted is not None:
            yield noted
        return start + 1

    def _inside(self, chunk: bytes, at: int) -> Generator[Frame, None, int]:
        """Past the mark that ends the body, or to the end of the chunk."""
        mark = _MARK.search(chunk, at)
        end = mark.start() if mark else len(chunk)
        if len(self._body) + end - at > self._max_bytes:
            self._body += chunk[at : at + self._max_bytes - len(self._body)]
            self._is_inside, self._is_over = False, True
            yield Frame(payload=self._taken()[:_HEAD], end=End.OVERSIZED)
            return len(chunk)
        self._body += chunk[at:end]
        if mark and mark.group() == FS:
            self._is_inside, self._is_after_fs = False, True
            yield Frame(payload=self._taken())
        elif mark:
            body = self._taken()
            if body.strip(_PADDING):  # else it is one VT too many, not a lost message
                yield Frame(payload=body, end=End.TRUNCATED)
        return end + 1

    def _taken(self) -> bytes:
        body = bytes(self._body)
        self._body.clear()
        return body


def frame(payload: bytes) -> bytes:
    """`payload` between its frame bytes."""
    return VT + payload + FS + CR
