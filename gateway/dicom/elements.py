"""Data elements read from their encoding, without loading what nobody asked for.

One reader serves two needs: a machine's C-FIND keys, read whole as a tree, and a received object, walked from its
first element to its last to see that nothing is missing while only a few values are kept. Values stay bytes.
Source: DICOM PS3.5 7 and annex A.
"""

import struct
import zlib
from collections.abc import Container
from dataclasses import dataclass
from typing import BinaryIO, Final, NoReturn

from pydicom.datadict import dictionary_VR

from gateway.model.errors import Malformed

UNDEFINED: Final = 0xFFFFFFFF
_ITEM: Final = 0xFFFEE000
_ITEM_END: Final = 0xFFFEE00D
_SEQUENCE_END: Final = 0xFFFEE0DD
_PIXELS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_SHORT = frozenset(
    (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
     b"ST", b"TM", b"UI", b"UL", b"US")
)  # fmt: skip
_MAX_VALUE = 64 * 1024  # bytes of one kept value
_MAX_DEPTH = 64
_MAX_ELEMENTS = 5_000_000
_MAX_INFLATED = 16 * 1024**3
_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Syntax:
    """How a data set is encoded. Source: DICOM PS3.5 annex A."""

    is_explicit: bool
    is_big_endian: bool = False
    is_deflated: bool = False


IMPLICIT: Final = Syntax(is_explicit=False)
_EXPLICIT = Syntax(is_explicit=True)
_DEFLATED = Syntax(is_explicit=True, is_deflated=True)
_SYNTAXES = {
    "1.2.840.10008.1.2": IMPLICIT,
    "1.2.840.10008.1.2.2": Syntax(is_explicit=True, is_big_endian=True),
    "1.2.840.10008.1.2.1.99": _DEFLATED,
    "1.2.840.10008.1.2.4.95": _DEFLATED,  # JPIP Referenced Deflate
    "1.2.840.10008.1.2.4.205": _DEFLATED,  # JPIP HTJ2K Referenced Deflate
}


def syntax_of(transfer_syntax: str) -> Syntax:
    """The encoding of a transfer syntax; whatever is not listed is Explicit VR Little Endian. Source: PS3.5 A.4."""
    return _SYNTAXES.get(transfer_syntax, _EXPLICIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """A data element: its value as bytes, or the items of a sequence."""

    tag: int
    vr: str  # of the dictionary where the encoding is implicit; "UN" when neither knows
    value: bytes
    items: "tuple[tuple[Element, ...], ...]" = ()


class _All(Container[int]):
    def __contains__(self, tag: object) -> bool:
        return True


ALL: Final[Container[int]] = _All()
_NOTHING: frozenset[int] = frozenset()


def read_elements(
    stream: BinaryIO,
    size: int,
    syntax: Syntax,
    wanted: Container[int],
    sequences: frozenset[int] = _NOTHING,
) -> tuple[Element, ...]:
    """The `wanted` elements of the data set that fills `stream` from here on for `size` bytes, in order.

    The structure is followed to the last byte whatever is wanted. With `ALL`, sequences are read too; else only
    values of the top level and those of its `sequences` are. A value longer than 64 KiB is passed over.
    Raises Malformed when the data set ends before its elements do, or is none.
    """
    source = _Inflated(stream) if syntax.is_deflated else _Plain(stream, size)
    reader = _Reader(source, sequences)
    found = reader.dataset(syntax, wanted, end=None, depth=0)
    source.finish()
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Header:
    tag: int
    vr: bytes  # empty when implicit
    length: int


class _Reader:
    def __init__(self, source: "_Plain | _Inflated", sequences: frozenset[int]) -> None:
        self._source = source
        self._sequences = sequences
        self._count = 0

    def dataset(self, syntax: Syntax, wanted: Container[int], end: int | None, depth: int) -> list[Element]:
        """Elements up to `end`; None: to the item's delimiter, or at depth 0 to the end of the source."""
        if depth > _MAX_DEPTH:
            raise Malformed("data set: sequences nested too deep")
        found: list[Element] = []
        while end is None or self._source.position < end:
            header = self._header(syntax, is_top=depth == 0)
            if header is None or (header.tag == _ITEM_END and end is None and depth):
                return found
            element = self._element(header, syntax, wanted, depth)
            if element is not None:
                found.append(element)
        if self._source.position != end:
            raise Malformed("data set: an element reaches beyond its item")
        return found

    def _header(self, syntax: Syntax, *, is_top: bool = False) -> _Header | None:
        self._count += 1
        if self._count > _MAX_ELEMENTS:
            raise Malformed("data set: too many elements")
        raw = self._source.take(8, may_end=is_top)
        if is_top and not raw.strip(b"\0"):
            return None  # the end, or the zeros some writers pad with
        if len(raw) < 8:
            _truncated()
        order = ">" if syntax.is_big_endian else "<"
        group, number = struct.unpack_from(f"{order}HH", raw)
        tag, vr = group << 16 | number, raw[4:6]
        if group == 0xFFFE or not syntax.is_explicit:
            return _Header(tag, b"", struct.unpack_from(f"{order}I", raw, 4)[0])
        if vr in _SHORT:
            return _Header(tag, vr, struct.unpack_from(f"{order}H", raw, 6)[0])
        if vr in _LONG or (vr.isalpha() and vr.isupper()):  # future VRs are long. Source: DICOM PS3.5 7.1.2
            return _Header(tag, vr, struct.unpack(f"{order}I", self._source.take(4))[0])
        # Some devices slip implicit elements into explicit data sets, or name the wrong transfer syntax.
        return _Header(tag, b"", struct.unpack_from(f"{order}I", raw, 4)[0])

    def _element(self, header: _Header, syntax: Syntax, wanted: Container[int], depth: int) -> Element | None:
        if header.tag >> 16 == 0xFFFE:
            raise Malformed("data set: a delimiter where an element must stand")
        if header.length == UNDEFINED:
            return self._undefined(header, syntax, wanted, depth)
        vr = _vr(header)
        if vr == "SQ" and self._is_whole(header.tag, wanted):
            items = self._items(syntax, ALL, self._source.position + header.length, depth)
            return Element(tag=header.tag, vr=vr, value=b"", items=items)
        if header.tag in wanted and header.length <= _MAX_VALUE:
            return Element(tag=header.tag, vr=vr, value=self._source.take(header.length))
        self._source.skip(header.length)
        return None

    def _undefined(
        self, header: _Header, syntax: Syntax, wanted: Container[int], depth: int
    ) -> Element | None:
        if header.tag in _PIXELS or header.vr in (b"OB", b"OW"):
            self._skip_fragments(syntax)
            return None
        # An unknown VR of undefined length is an implicit sequence. Source: DICOM PS3.5 6.2.2
        inner = IMPLICIT if header.vr == b"UN" else syntax
        is_whole = self._is_whole(header.tag, wanted)
        items = self._items(inner, ALL if is_whole else _NOTHING, None, depth)
        is_wanted = is_whole or header.tag in wanted
        return Element(tag=header.tag, vr="SQ", value=b"", items=items) if is_wanted else None

    def _is_whole(self, tag: int, wanted: Container[int]) -> bool:
        """Whether a sequence is read with everything in it. Within one that is not, nothing is wanted."""
        return wanted is ALL or (wanted is not _NOTHING and tag in self._sequences)

    def _items(
        self, syntax: Syntax, wanted: Container[int], end: int | None, depth: int
    ) -> tuple[tuple[Element, ...], ...]:
        items: list[tuple[Element, ...]] = []
        while end is None or self._source.position < end:
            header = self._delimiter(syntax)
            if header.tag == _SEQUENCE_END:
                break
            if header.length == UNDEFINED:
                items.append(tuple(self.dataset(syntax, wanted, None, depth + 1)))
            elif wanted is ALL:
                last = self._source.position + header.length
                items.append(tuple(self.dataset(syntax, wanted, last, depth + 1)))
            else:
                self._source.skip(header.length)
        return tuple(items)

    def _delimiter(self, syntax: Syntax) -> _Header:
        header = self._header(syntax)
        if header is None or header.tag not in (_ITEM, _SEQUENCE_END):
            raise Malformed("data set: a sequence without its items or end")
        return header

    def _skip_fragments(self, syntax: Syntax) -> None:
        """Source: DICOM PS3.5 A.4."""
        while (header := self._delimiter(syntax)).tag == _ITEM:
            if header.length == UNDEFINED:
                raise Malformed("pixel data: a fragment without length")
            self._source.skip(header.length)


def _vr(header: _Header) -> str:
    if header.vr and header.vr != b"UN":
        return header.vr.decode("ascii")
    try:
        return dictionary_VR(header.tag) if not header.vr else "UN"
    except KeyError:
        return "UN"


class _Plain:
    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self._size = stream, size
        self.position = 0

    def take(self, count: int, *, may_end: bool = False) -> bytes:
        """The next `count` bytes; fewer only when `may_end`. Raises Malformed."""
        if self.position + count > self._size:
            if not may_end:
                _truncated()
            count = self._size - self.position
        self.position += count
        return self._stream.read(count)

    def skip(self, count: int) -> None:
        """Raises Malformed when there are not so many."""
        if self.position + count > self._size:
            _truncated()
        self.position += count
        self._stream.seek(count, 1)

    def finish(self) -> None:
        """A plain data set has no end of its own."""


class _Inflated:
    """Source: DICOM PS3.5 A.5, RFC 1951."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._ready = b""
        self.position = 0

    def take(self, count: int, *, may_end: bool = False) -> bytes:
        """The next `count` bytes; fewer only when `may_end`. Raises Malformed."""
        while len(self._ready) < count and self._inflate():
            pass
        taken, self._ready = self._ready[:count], self._ready[count:]
        if len(taken) < count and not may_end:
            _truncated()
        self.position += len(taken)
        return taken

    def skip(self, count: int) -> None:
        """Raises Malformed when there are not so many."""
        self.position += count
        while count > len(self._ready):
            count -= len(self._ready)
            self._ready = b""
            if not self._inflate():
                _truncated()
        self._ready = self._ready[count:]

    def finish(self) -> None:
        """Raises Malformed when the deflated stream has no end."""
        if not self._inflater.eof:
            self._ready = b""
            while self._inflate():
                self._ready = b""
        if not self._inflater.eof:
            _truncated()

    def _inflate(self) -> bool:
        if self._inflater.eof or self.position > _MAX_INFLATED:
            return False
        chunk = self._inflater.unconsumed_tail or self._stream.read(_CHUNK)
        try:
            self._ready += self._inflater.decompress(chunk, _CHUNK)
        except zlib.error:
            raise Malformed("data set: the deflated stream cannot be read") from None
        return bool(chunk)


def _truncated() -> NoReturn:
    raise Malformed("data set: ends before its elements do")
