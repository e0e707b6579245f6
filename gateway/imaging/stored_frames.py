"""The frames of a stored object as they are stored: cut out, never decoded. Source: DICOM PS3.5 8, A.4."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset
from pydicom.encaps import get_frame
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from gateway.imaging.bounded import Bounded, pieces
from gateway.imaging.part10 import open_object, read_header
from gateway.imaging.pixels import PixelElement, read_pixel_element, transfer_syntax
from gateway.model.errors import Malformed, NotFound

MAX_FRAME_BYTES = 128 * 1024 * 1024
"""A compressed frame is read whole, up to this with the table of where frames begin."""

_MAX_HEADER_BYTES = 64 * 1024 * 1024  # tables of where a million frames begin take a quarter of it
_KEYWORDS = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
)
_UNCOMPRESSED = frozenset({ExplicitVRLittleEndian, ImplicitVRLittleEndian})


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where an object's frames are. `frame_bytes` is None for compressed ones: each has a length of its own."""

    syntax: str  # of the frames: uncompressed ones are the same in implicit and explicit VR
    count: int
    start: int  # of the pixels' value, in the file
    frame_bytes: int | None
    offsets: tuple[bytes, bytes] | None  # the extended offset table and its lengths, None when there is none


def read_layout(path: Path) -> Layout:
    """Where the frames of an object are that is neither deflated nor big endian.

    Raises NotFound when it has none that can be cut out, Malformed when it cannot be read, Unavailable.
    """
    with open_object(path) as file:
        header = read_header(Bounded(file, _MAX_HEADER_BYTES), _KEYWORDS)
        element = read_pixel_element(file, *header.original_encoding)
        if element is None or element.keyword != "PixelData":
            raise NotFound("the object has no frames")
        count = int(header.get("NumberOfFrames") or 1)
        offsets = (header.get("ExtendedOffsetTable"), header.get("ExtendedOffsetTableLengths"))
        syntax = transfer_syntax(header)
        is_compressed = syntax not in _UNCOMPRESSED
        return Layout(
            syntax=str(syntax if is_compressed else ExplicitVRLittleEndian),
            count=count,
            start=file.tell(),
            frame_bytes=None if is_compressed else _frame_bytes(header, element, count),
            offsets=(offsets[0], offsets[1]) if offsets[0] and offsets[1] else None,
        )


def frame(path: Path, layout: Layout, number: int) -> Iterator[bytes]:
    """The frame of that number, counted from 1, in chunks: what is uncompressed is never in memory as a whole.

    Raises Malformed when it cannot be read or is longer than MAX_FRAME_BYTES, Unavailable.
    """
    if layout.frame_bytes is None:
        yield _compressed(path, layout, number)
        return
    with path.open("rb") as file:
        file.seek(layout.start + (number - 1) * layout.frame_bytes)
        yield from pieces(file, layout.frame_bytes)


def _compressed(path: Path, layout: Layout, number: int) -> bytes:
    with open_object(path) as file:
        file.seek(layout.start)
        bounded = Bounded(file, MAX_FRAME_BYTES)
        return get_frame(bounded, number - 1, number_of_frames=layout.count, extended_offsets=layout.offsets)


def _frame_bytes(header: Dataset, element: PixelElement, count: int) -> int:
    """Source: DICOM PS3.3 C.7.6.3.1.2 (YBR_FULL_422 has two samples a pixel), PS3.5 8.1.1."""
    pixels = int(header.get("Rows") or 0) * int(header.get("Columns") or 0)
    samples = int(header.get("SamplesPerPixel") or 1)
    is_subsampled = header.get("PhotometricInterpretation") == "YBR_FULL_422" and samples == 3
    bits = pixels * samples * int(header.get("BitsAllocated") or 0)
    if is_subsampled and element.length < bits // 8 * count:
        bits = bits * 2 // 3
    if bits == 0 or bits % 8:
        raise NotFound("the frames do not begin at whole bytes: retrieve the object whole")
    if count < 1 or element.length < bits // 8 * count:
        raise Malformed("Pixel Data (7FE0,0010): shorter than its frames")
    return bits // 8
