"""What a compressed frame says in its own header, read before anything is decoded.

A frame of a few bytes may claim four thousand million pixels whatever the data set's Rows and Columns say.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_JPEG_2000_START = b"\xff\x4f\xff\x51"  # SOC, SIZ. Source: ISO/IEC 15444-1 A.4.1, A.5.1
_JPEG_START = b"\xff\xd8"  # SOI. Source: ISO/IEC 10918-1 B.1.1.3
_FRAME_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}  # SOFn; F7 is SOF55 of JPEG-LS
_SEQUENTIAL_MARKERS = frozenset({0xC0, 0xC1})
_SCAN_MARKER = 0xDA
_BARE_MARKERS = frozenset({0x01, 0xFF, *range(0xD0, 0xD9)})  # no length follows
_JP2_BOX_LIMIT = 4096  # JP2 boxes, which DICOM forbids and some write, stand before the codestream


@dataclass(frozen=True, slots=True, kw_only=True)
class CodestreamSize:
    """What a JPEG, JPEG-LS or JPEG 2000 codestream says of itself. `rows` is 0 when a DNL marker gives it later."""

    rows: int
    columns: int
    components: int


def read_codestream_size(frame: bytes) -> CodestreamSize | None:
    """The size in the frame's header; None when it has none (RLE) or no header can be found."""
    start = frame.find(_JPEG_2000_START, 0, _JP2_BOX_LIMIT)
    if start >= 0 and len(frame) >= start + 42:
        return _read_siz(frame, start)
    return _read_jpeg(frame) if frame.startswith(_JPEG_START) else None


def mend_scan(frame: bytes) -> bytes:
    """`frame` with the end of its spectral selection as the standard wants it in a sequential JPEG: 63.

    Some encoders of 12-bit JPEG write 0, which the decoder refuses. Source: ISO/IEC 10918-1 B.2.3.
    """
    if not frame.startswith(_JPEG_START):
        return frame
    is_sequential = False
    for marker, at in _segments(frame):
        is_sequential = is_sequential or marker in _SEQUENTIAL_MARKERS
        if marker == _SCAN_MARKER and is_sequential and at + 4 < len(frame):
            selection = at + 5 + 2 * frame[at + 4]
            if frame[selection : selection + 2] == b"\0\0":
                return frame[: selection + 1] + b"\x3f" + frame[selection + 2 :]
    return frame


def _read_siz(frame: bytes, start: int) -> CodestreamSize:
    x_size, y_size, x_offset, y_offset = struct.unpack_from(">4I", frame, start + 8)
    (components,) = struct.unpack_from(">H", frame, start + 40)
    return CodestreamSize(rows=y_size - y_offset, columns=x_size - x_offset, components=components)


def _read_jpeg(frame: bytes) -> CodestreamSize | None:
    for marker, at in _segments(frame):
        if marker in _FRAME_MARKERS and at + 10 <= len(frame):
            rows, columns, components = struct.unpack_from(">HHB", frame, at + 5)
            return CodestreamSize(rows=rows, columns=columns, components=components)
    return None


def _segments(frame: bytes) -> Iterator[tuple[int, int]]:
    """Marker and place of each segment up to the first scan. Source: ISO/IEC 10918-1 B.1.1.2."""
    at = len(_JPEG_START)
    while at + 4 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _BARE_MARKERS:
            at += 2
        else:
            yield marker, at
            if marker == _SCAN_MARKER:
                return
            at += 2 + int.from_bytes(frame[at + 2 : at + 4])
