"""Responses as bytes: command sets encoded once, cut into what PDUs carry.

The peer library encodes each command set three times, by way of a data set. Source: DICOM PS3.7 9.3 and annex E.
"""

import struct
from collections.abc import Iterator
from typing import Final

from pynetdicom.pdu_primitives import P_DATA

COMMAND: Final = 0x01
DATA: Final = 0x00
"""What a fragment is of. Source: DICOM PS3.8 E.2."""

_LAST: Final = 0x02
_C_STORE_RSP: Final = 0x8001
_C_FIND_RSP: Final = 0x8020
_HAS_DATA: Final = 0x0001
_NO_DATA: Final = 0x0101
_PDV_HEADER: Final = 6  # bytes: item length, context, control. Source: DICOM PS3.8 9.3.5.1, E.2
_MAX_COMMENT = 64  # Error Comment is LO. Source: DICOM PS3.7 E.1-1


def find_response(
    message_id: int, sop_class: str, code: int, *, has_identifier: bool, comment: str = ""
) -> bytes:
    """The command set of a C-FIND response. Source: DICOM PS3.7 table 9.3-3."""
    has_data = _HAS_DATA if has_identifier else _NO_DATA
    return _whole(_common(_C_FIND_RSP, message_id, sop_class, code, has_data, comment))


def store_response(message_id: int, sop_class: str, sop_uid: str, code: int, comment: str = "") -> bytes:
    """The command set of a C-STORE response. Source: DICOM PS3.7 table 9.3-2."""
    elements = _common(_C_STORE_RSP, message_id, sop_class, code, _NO_DATA, comment)
    return _whole(elements + _element(0x1000, _padded(sop_uid.encode("ascii", "replace"), b"\0")))


def fragments(message: bytes, kind: int, largest: int) -> Iterator[bytes]:
    """The presentation data values of a command set or data set, for PDUs of at most `largest` bytes (0: any size)."""
    room = max(largest - _PDV_HEADER, 1) if largest else max(len(message), 1)
    for start in range(0, max(len(message), 1), room):
        last = _LAST if start + room >= len(message) else 0
        yield bytes((kind | last,)) + message[start : start + room]


def packed(values: list[bytes], largest: int) -> Iterator[list[bytes]]:
    """The values in groups that fit a PDU each."""
    group: list[bytes] = []
    size = 0
    for value in values:
        needed = len(value) + _PDV_HEADER - 1
        if group and largest and size + needed > largest:
            yield group
            group, size = [], 0
        group.append(value)
        size += needed
    yield group


def pdu(context_id: int, values: list[bytes]) -> P_DATA:
    """The values as one PDU, for the peer library to send."""
    primitive = P_DATA()
    primitive.presentation_data_value_list.extend((context_id, value) for value in values)
    return primitive


def _common(field: int, message_id: int, sop_class: str, code: int, has_data: int, comment: str) -> bytes:
    """The elements of every composite response, in order of their tags."""
    elements = (
        _element(0x0002, _padded(sop_class.encode("ascii", "replace"), b"\0"))
        + _element(0x0100, struct.pack("<H", field))
        + _element(0x0120, struct.pack("<H", message_id))
        + _element(0x0800, struct.pack("<H", has_data))
        + _element(0x0900, struct.pack("<H", code))
    )
    if not comment:
        return elements
    text = comment[:_MAX_COMMENT].replace("\\", "/").encode("ascii", "replace")
    return elements + _element(0x0902, _padded(text, b" "))


def _whole(elements: bytes) -> bytes:
    return _element(0x0000, struct.pack("<I", len(elements))) + elements


def _element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0x0000, number, len(value)) + value


def _padded(value: bytes, pad: bytes) -> bytes:
    return value + pad * (len(value) % 2)
