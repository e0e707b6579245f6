"""Lookup tables of a data set: modality, VOI and palette, which DICOM writes alike.

Source: DICOM PS3.3 C.11.1.1 (Modality LUT), C.11.2.1.1 (VOI LUT), C.7.6.3.1.5 and C.7.6.3.1.6 (palette).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut

from gateway.model.errors import Malformed

_COLOURS = ("Red", "Green", "Blue")
_WORD = 0x10000
_SIGN = 0x8000
_BYTE_VALUES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Output values for the stored values from `first` on; the two ends stand for everything beyond them."""

    first: int
    entries: NDArray[np.uint16]
    bits: int  # of an entry

    def look_up(self, values: NDArray[np.generic]) -> NDArray[np.uint16]:
        """The entry of each value."""
        places = np.clip(values.astype(np.int32) - self.first, 0, len(self.entries) - 1)
        return self.entries[places]

    def as_bytes(self) -> "Table":
        """The same table with entries from 0 to 255.

        Entries of 16 bits that all fit a byte are taken as they are: some machines write them so.
        """
        if self.entries.max() < _BYTE_VALUES:
            return Table(first=self.first, entries=self.entries, bits=8)
        entries = (self.entries.astype(np.uint32) * 255 // (2**self.bits - 1)).astype(np.uint16)
        return Table(first=self.first, entries=np.minimum(entries, 255), bits=8)


def read_table(item: Dataset, *, is_signed: bool, is_little_endian: bool) -> Table:
    """The table in an item of a Modality LUT or VOI LUT Sequence.

    `is_signed` says whether the values looked up may be negative.
    Raises Malformed when it has no entries.
    """
    return _read_table(item, "LUTDescriptor", "LUTData", is_signed, is_little_endian)


def read_palette(header: Dataset, *, is_little_endian: bool) -> tuple[Table, ...]:
    """The red, green and blue tables of a PALETTE COLOR image, segmented ones expanded, entries 0 to 255.

    Raises Malformed when there is none.
    """
    is_signed = header.get("PixelRepresentation") == 1
    if "SegmentedRedPaletteColorLookupTableData" in header:
        return _expand_segmented(header, is_signed, is_little_endian)
    return tuple(
        _read_table(
            header,
            f"{colour}PaletteColorLookupTableDescriptor",
            f"{colour}PaletteColorLookupTableData",
            is_signed,
            is_little_endian,
        ).as_bytes()
        for colour in _COLOURS
    )


def read_words(value: object, is_little_endian: bool) -> NDArray[np.int64]:
    """The numbers of an element of VR US, SS or OW, or of one whose VR the encoding left open; None has none."""
    if isinstance(value, bytes):
        whole = value[: len(value) // 2 * 2]
        return np.frombuffer(whole, dtype="<u2" if is_little_endian else ">u2").astype(np.int64)
    return np.atleast_1d(np.asarray(() if value is None else value, dtype=np.int64))


def _read_table(
    item: Dataset, descriptor_keyword: str, content_keyword: str, is_signed: bool, is_little_endian: bool
) -> Table:
    count, first, bits = _read_descriptor(item, descriptor_keyword, is_signed, is_little_endian)
    value = item.get(content_keyword)
    if isinstance(value, bytes) and len(value) < 2 * count:
        entries = _read_packed(value, item[content_keyword].VR, is_little_endian)
    else:
        entries = read_words(value, is_little_endian) % _WORD
    if not len(entries):
        raise Malformed(f"lookup table ({content_keyword}): absent or empty")
    return Table(first=first, entries=entries[:count].astype(np.uint16), bits=bits)


def _read_descriptor(
    item: Dataset, keyword: str, is_signed: bool, is_little_endian: bool
) -> tuple[int, int, int]:
    """Count of entries, first value mapped, bits an entry."""
    words = read_words(item.get(keyword), is_little_endian)
    if len(words) < 3:
        raise Malformed(f"lookup table descriptor ({keyword}): absent or short")
    count, first, bits = (int(word) % _WORD for word in words[:3])
    if is_signed and first >= _SIGN:
        first -= _WORD
    return count or _WORD, first, min(max(bits, 8), 16)


def _read_packed(value: bytes, vr: str, is_little_endian: bool) -> NDArray[np.int64]:
    """Entries of one byte each; big endian words hold them in pairs, the second first."""
    entries = np.frombuffer(value, dtype=np.uint8)
    if not is_little_endian and vr == "OW" and len(entries) % 2 == 0:
        entries = entries.reshape(-1, 2)[:, ::-1].reshape(-1)
    return entries.astype(np.int64)


def _expand_segmented(header: Dataset, is_signed: bool, is_little_endian: bool) -> tuple[Table, ...]:
    """Source: DICOM PS3.3 C.7.9.2."""
    keyword = "RedPaletteColorLookupTableDescriptor"
    count, first, bits = _read_descriptor(header, keyword, is_signed, is_little_endian)
    colours = apply_color_lut(np.arange(first, first + count, dtype=np.int32), header)
    return tuple(
        Table(first=first, entries=colours[:, channel].astype(np.uint16), bits=bits).as_bytes()
        for channel in range(len(_COLOURS))
    )
