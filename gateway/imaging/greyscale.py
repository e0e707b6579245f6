"""Stored values to the 256 greys of a screen: modality, then VOI, then polarity. Source: DICOM PS3.4 N.2."""

import math
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from gateway.imaging.tables import Table, read_table, read_words
from gateway.model.errors import Malformed

GREYSCALE_KEYWORDS = (
    "ModalityLUTSequence",
    "RescaleIntercept",
    "RescaleSlope",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)

Stored: TypeAlias = NDArray[np.generic]
Values: TypeAlias = NDArray[np.float32]

_WORD = 0x10000
_SIGN = 0x8000


def render_greys(stored: Stored, header: Dataset, *, is_little_endian: bool) -> NDArray[np.uint8]:
    """The first frame as greys, black 0 and white 255.

    The first VOI table or window of the data set is used. Without one, or when it leaves nothing to see, the
    frame's own range is, from its least to its greatest value, padding not counted.
    """
    if header.get("BitsAllocated") == 1:
        levels = stored.astype(np.float32)
    else:
        values = _modality_values(stored, header, is_little_endian)
        shown = _voi_levels(values, header, is_little_endian)
        if shown is None or (np.ptp(shown) == 0 and np.ptp(values) > 0):
            shown = _full_range(values, ~_is_padding(stored, header, is_little_endian))
        levels = shown
    greys = np.rint(np.nan_to_num(levels) * 255).astype(np.uint8)
    return 255 - greys if header.get("PhotometricInterpretation") == "MONOCHROME1" else greys


def functional_groups(header: Dataset, keyword: str) -> Iterator[Dataset]:
    """Where an attribute of the first frame may stand: the data set itself, then its functional groups.

    `keyword` names the group's sequence. Source: DICOM PS3.3 C.7.6.16.
    """
    yield header
    for frames in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        frame = _first_item(header, frames)
        group = _first_item(frame, keyword) if frame is not None else None
        if group is not None:
            yield group


def _modality_values(stored: Stored, header: Dataset, is_little_endian: bool) -> Values:
    """Source: DICOM PS3.3 C.11.1."""
    table = _first_table(header, "ModalityLUTSequence", _is_signed(header), is_little_endian)
    if table is not None:
        return table.look_up(stored).astype(np.float32)
    values = stored.astype(np.float32)
    for group in functional_groups(header, "PixelValueTransformationSequence"):
        slope = _number(group, "RescaleSlope")
        if slope:
            return values * np.float32(slope) + np.float32(_number(group, "RescaleIntercept") or 0)
    return values


def _voi_levels(values: Values, header: Dataset, is_little_endian: bool) -> Values | None:
    """`values` as levels from 0 to 1; None when the data set says nothing of use. Source: DICOM PS3.3 C.11.2."""
    for group in functional_groups(header, "FrameVOILUTSequence"):
        table = _first_table(group, "VOILUTSequence", bool(values.min() < 0), is_little_endian)
        if table is not None:
            return table.look_up(values).astype(np.float32) / np.float32(2**table.bits - 1)
        center, width = _number(group, "WindowCenter"), _number(group, "WindowWidth")
        if center is not None and width is not None and width > 0:
            return _window(values, center, width, str(group.get("VOILUTFunction") or "LINEAR"))
    return None


def _window(values: Values, center: float, width: float, function: str) -> Values:
    """Source: DICOM PS3.3 C.11.2.1.2.1 (LINEAR), C.11.2.1.3.1 (SIGMOID), C.11.2.1.3.2 (LINEAR_EXACT)."""
    if function == "SIGMOID":
        steepness = np.clip(-4 * (values - np.float32(center)) / np.float32(width), -80, 80)
        return np.asarray(1 / (1 + np.exp(steepness)), dtype=np.float32)
    if function == "LINEAR_EXACT":
        return _clip((values - np.float32(center)) / np.float32(width) + np.float32(0.5))
    if width <= 1:
        return (values > center - 0.5).astype(np.float32)
    return _clip((values - np.float32(center - 0.5)) / np.float32(width - 1) + np.float32(0.5))


def _clip(levels: Values) -> Values:
    return np.asarray(np.clip(levels, 0, 1), dtype=np.float32)


def _full_range(values: Values, counted: NDArray[np.bool_]) -> Values:
    finite = values[counted & np.isfinite(values)]
    if not finite.size or finite.max() == finite.min():
        return np.zeros_like(values)
    low, high = finite.min(), finite.max()
    return _clip((values - low) / (high - low))


def _is_padding(stored: Stored, header: Dataset, is_little_endian: bool) -> NDArray[np.bool_]:
    """Which values stand for "no pixel here". Source: DICOM PS3.3 C.7.5.1.1.2."""
    ends = [
        word - _WORD if _is_signed(header) and word >= _SIGN else word
        for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")
        for word in read_words(header.get(keyword), is_little_endian)[:1]
    ]
    if not ends:
        return np.zeros(stored.shape, dtype=np.bool_)
    numbers = stored.astype(np.float64)
    return np.asarray((numbers >= min(ends)) & (numbers <= max(ends)), dtype=np.bool_)


def _is_signed(header: Dataset) -> bool:
    return bool(header.get("PixelRepresentation") == 1)


def _first_item(holder: Dataset, keyword: str) -> Dataset | None:
    value = holder.get(keyword)
    return value[0] if isinstance(value, Sequence) and len(value) else None


def _first_table(holder: Dataset, keyword: str, is_signed: bool, is_little_endian: bool) -> Table | None:
    """The table in a sequence's first item; None when there is none that can be used."""
    item = _first_item(holder, keyword)
    if item is None:
        return None
    try:
        return read_table(item, is_signed=is_signed, is_little_endian=is_little_endian)
    except Malformed:
        return None


def _number(item: Dataset, keyword: str) -> float | None:
    """The first number of an element; None when it is absent or no number."""
    try:
        value = item.get(keyword)
        number = float(value[0] if isinstance(value, MultiValue) else value)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
