"""The header of a stored object as DICOM JSON, without its pixels and other bulk. Source: DICOM PS3.18 F.

An object may be hostile: what is read of it is bounded, and an element that cannot be told is left out.
"""

import json
import struct
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.errors import BytesLengthException
from pydicom.tag import BaseTag

from gateway.imaging.bounded import Bounded
from gateway.imaging.part10 import open_object

MAX_VALUE_BYTES = 64 * 1024
"""Longer values are bulk and left out; sequences are not. Source: DICOM PS3.18 10.4.1.1.2."""

MAX_HEADER_BYTES = 16 * 1024 * 1024
"""So much of an object is read for its header."""

_SPECIFIC_CHARACTER_SET = 0x00080005
_UTF_8 = {"vr": "CS", "Value": ["ISO_IR 192"]}
_UNTELLABLE = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)  # what pydicom raises on an element whose value is none of its kind


def header_json(path: Path) -> dict[str, str]:
    """The elements before the pixels, by tag ("00100010"), as JSON text. File meta information is no part of it.

    Raises Malformed or Refused when the object cannot be read, Unavailable when its file cannot be opened.
    """
    with open_object(path, MAX_HEADER_BYTES) as opened:
        file = Bounded(opened, MAX_HEADER_BYTES)
        dataset = dcmread(
            file,
            force=True,
            stop_before_pixels=True,
            defer_size=MAX_VALUE_BYTES,
        )
        # Asking the data set for an element by its tag would read those that were passed over.
        raw = dict(zip(dataset.keys(), dataset.values(), strict=True))
        told = ((tag, _told(dataset, tag, raw[tag], file)) for tag in sorted(raw))
        return {f"{tag:08X}": text for tag, text in told if text}


def _told(dataset: Dataset, tag: BaseTag, raw: object, file: Bounded) -> str:
    """The element as JSON text, "" when it is left out."""
    if tag == _SPECIFIC_CHARACTER_SET:
        return json.dumps(_UTF_8)  # Source: DICOM PS3.18 F.2
    if isinstance(raw, RawDataElement) and raw.value is None and raw.length:
        if (raw.VR or (dictionary_VR(tag) if dictionary_has_tag(tag) else "UN")) != "SQ":
            return ""
        file.seek(raw.value_tell)
        dataset[tag] = raw._replace(value=file.read(raw.length))
    try:
        element = dataset[tag].to_json_dict(None, MAX_VALUE_BYTES)
        return json.dumps(element, allow_nan=False, ensure_ascii=False)
    except _UNTELLABLE:
        return ""
