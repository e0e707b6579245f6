"""The first frame of a stored object as 8-bit pixels, whatever its transfer syntax and photometric interpretation.

Only the header and the first frame are read: an object of 2 GB costs no more than its first frame.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import as_pixel_options
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from gateway.imaging.codestream import mend_scan, read_codestream_size
from gateway.imaging.greyscale import GREYSCALE_KEYWORDS, functional_groups, render_greys
from gateway.imaging.part10 import open_object, read_header
from gateway.imaging.tables import read_palette
from gateway.model.errors import Malformed, Refused

MAX_PIXELS = 64 * 1024 * 1024
"""Rows times columns a frame may have unless the caller says otherwise."""

_KEYWORDS = (
    *GREYSCALE_KEYWORDS,
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelAspectRatio",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    *(
        f"{segmented}{colour}PaletteColorLookupTable{part}"
        for segmented, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
        for colour in ("Red", "Green", "Blue")
    ),
)
_PIXEL_KEYWORDS = {
    (0x7FE0, 0x0008): "FloatPixelData",
    (0x7FE0, 0x0009): "DoubleFloatPixelData",
    (0x7FE0, 0x0010): "PixelData",
}
_UNDEFINED_LENGTH = 0xFFFFFFFF
_MAX_COMPONENTS = 4
_ASPECTS = (0.1, 10.0)  # a pixel stretched further than this is a writer's mistake


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A frame ready to be shown."""

    pixels: NDArray[np.uint8]  # (rows, columns) greys or (rows, columns, 3) red, green, blue
    aspect: float  # a pixel's height over its width


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelElement:
    """The element that holds the pixels; the file stands at its value."""

    keyword: str
    vr: str
    length: int  # bytes; _UNDEFINED_LENGTH when encapsulated


def read_first_frame(path: Path, *, max_pixels: int = MAX_PIXELS) -> Frame | None:
    """The first frame of the object at `path`; None when the object has no pixels (reports, documents, plans).

    Raises Refused when a frame has more than `max_pixels` rows times columns, before anything is decoded;
    Malformed when the pixels cannot be decoded; Unavailable when the file cannot be opened.
    """
    with open_object(path) as file:
        header = read_header(file, _KEYWORDS)
        element = read_pixel_element(file, *header.original_encoding)
        if element is None:
            return None
        _check_size(header, max_pixels)
        stored, photometric = _decode(file, header, element)
        return Frame(pixels=_render(stored, photometric, header), aspect=_read_aspect(header))


def read_pixel_element(file: BinaryIO, is_implicit: bool, is_little_endian: bool) -> PixelElement | None:
    """The element `file` stands at, read up to its value; None at the data set's end. Source: DICOM PS3.5 7.1."""
    order = "<" if is_little_endian else ">"
    start = file.read(8)
    if len(start) < 8:
        return None
    group, number, vr, length = struct.unpack(f"{order}HH2sH", start)
    keyword = _PIXEL_KEYWORDS.get((group, number))
    if keyword is None:
        return None
    if is_implicit or not vr.isalpha():  # some data sets are not as explicit as their meta says
        return PixelElement(keyword=keyword, vr="OW", length=struct.unpack(f"{order}I", start[4:])[0])
    length = struct.unpack(f"{order}I", file.read(4))[0]
    return PixelElement(keyword=keyword, vr=vr.decode("ascii"), length=length)


def _check_size(header: Dataset, max_pixels: int) -> None:
    rows, columns = header.get("Rows"), header.get("Columns")
    if not isinstance(rows, int) or not isinstance(columns, int) or rows < 1 or columns < 1:
        raise Malformed("Rows (0028,0010), Columns (0028,0011): absent or not a number above 0")
    if rows * columns > max_pixels:
        raise Refused("Rows (0028,0010), Columns (0028,0011): more pixels than the limit")
    if header.get("SamplesPerPixel", 1) not in {1, 3}:
        raise Malformed("Samples per Pixel (0028,0002): neither 1 nor 3")


def _decode(file: BinaryIO, header: Dataset, element: PixelElement) -> tuple[NDArray[np.generic], str]:
    """The first frame's stored values, colours as RGB or palette indices, and what they then are.

    Raises Malformed for a transfer syntax without a decoder.
    """
    syntax = transfer_syntax(header)
    try:
        decoder = get_decoder(syntax)
    except (NotImplementedError, ValueError):
        raise Malformed("Transfer Syntax UID (0002,0010): no decoder for it") from None
    options: dict[str, Any] = {"samples_per_pixel": 1, "pixel_representation": 0}
    options |= as_pixel_options(header, pixel_keyword=element.keyword, pixel_vr=element.vr)
    source: BinaryIO | bytes = file
    if decoder.is_native:
        options |= _native_options(options, element)
    else:
        source = encapsulate([_read_compressed(file, options, syntax)], has_bot=False)
        options = options | {"number_of_frames": 1, "extended_offsets": None}
    stored, properties = decoder.as_array(source, index=0, **options)
    return stored, str(properties["photometric_interpretation"])


def transfer_syntax(header: Dataset) -> UID:
    """The one named, or what the bytes looked like when none is."""
    named = header.file_meta.get("TransferSyntaxUID")
    if named:
        return UID(named)
    is_implicit, is_little_endian = header.original_encoding
    if is_implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if is_little_endian else ExplicitVRBigEndian


def _native_options(options: Mapping[str, Any], element: PixelElement) -> dict[str, Any]:
    """One frame is enough, however many are missing; YBR_FULL_422 that is not subsampled is YBR_FULL."""
    changed: dict[str, Any] = {"number_of_frames": 1}
    whole = options["rows"] * options["columns"] * 3 * options["number_of_frames"]
    is_subsampled = options.get("photometric_interpretation") == "YBR_FULL_422"
    if is_subsampled and element.length != _UNDEFINED_LENGTH and element.length >= whole:
        changed["photometric_interpretation"] = "YBR_FULL"
    return changed


def _read_compressed(file: BinaryIO, options: Mapping[str, Any], syntax: UID) -> bytes:
    """The first frame's codestream.

    Raises Malformed when its own header is missing or claims more pixels than the data set, or none.
    """
    frame = get_frame(
        file,
        0,
        number_of_frames=options["number_of_frames"],
        extended_offsets=options.get("extended_offsets"),
    )
    if syntax == RLELossless:
        return frame
    size = read_codestream_size(frame)
    if size is None or size.rows < 1 or size.columns < 1:
        raise Malformed("Pixel Data (7FE0,0010): the compressed frame does not say its size")
    if size.rows * size.columns > options["rows"] * options["columns"] or size.components > _MAX_COMPONENTS:
        raise Malformed("Pixel Data (7FE0,0010): the compressed frame is larger than Rows and Columns say")
    return mend_scan(frame)


def _render(stored: NDArray[np.generic], photometric: str, header: Dataset) -> NDArray[np.uint8]:
    """Raises Malformed for a photometric interpretation that is none of grey, palette and RGB."""
    is_little_endian = bool(header.original_encoding[1])
    if stored.ndim == 3 and photometric == "RGB":
        return _colours(stored, header)
    if stored.ndim == 2 and photometric == "PALETTE COLOR":
        palette = read_palette(header, is_little_endian=is_little_endian)
        return np.stack([table.look_up(stored) for table in palette], axis=-1).astype(np.uint8)
    if stored.ndim == 2 and photometric in {"MONOCHROME1", "MONOCHROME2"}:
        return render_greys(stored, header, is_little_endian=is_little_endian)
    raise Malformed("Photometric Interpretation (0028,0004): not one that can be shown")


def _colours(stored: NDArray[np.generic], header: Dataset) -> NDArray[np.uint8]:
    """RGB of any depth as 8 bits a colour."""
    if stored.dtype == np.uint8:
        return stored.astype(np.uint8, copy=False)
    scale = 2 ** max(int(header.get("BitsStored") or 8) - 8, 0)
    return np.asarray(np.clip(np.floor_divide(stored, scale), 0, 255), dtype=np.uint8)


def _read_aspect(header: Dataset) -> float:
    """A pixel's height over its width: Pixel Aspect Ratio, else a spacing, else 1.

    Source: DICOM PS3.3 C.7.6.3.1.7 and 10.7.
    """
    for group in functional_groups(header, "PixelMeasuresSequence"):
        for keyword in ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing"):
            try:
                vertical, horizontal = (float(part) for part in group.get(keyword) or ())
                aspect = vertical / horizontal
            except (ArithmeticError, TypeError, ValueError):
                continue
            if _ASPECTS[0] <= aspect <= _ASPECTS[1]:
                return aspect
    return 1.0
