"""One acknowledgement as bytes, in either mode.

Source: HL7 v2.5.1 2.9.2 (original mode), 2.9.3 (enhanced mode), 2.14.8 (MSA), 2.14.5 (ERR), 2.14.9 (MSH);
HL7 v2.4 2.16.5 for the older ERR.
"""

import re
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from itertools import islice

from gateway.hl7 import charset
from gateway.model.er7 import Delimiters, Message, Segment, escape
from gateway.model.order import Fault, Place, Severity

INTERNAL = "207"
"""Our own fault. Source: HL7 table 0357."""

_MEANINGS = {
    "0": "Message accepted",
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "104": "Value too long",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "205": "Duplicate key identifier",
    "206": "Application record locked",
    INTERNAL: "Application internal error",
}  # Source: HL7 table 0357

_SEVERITIES = {Severity.WARN: "W", Severity.HOLD: "W", Severity.REJECT: "E"}  # Source: HL7 table 0516
_DIGITS = re.compile("[0-9]{1,3}")
_STRUCTURED_TYPE = (2, 4)  # from here on MSH-9 of an answer has an event and a structure
_ERR_FIELDS = (2, 5)  # from here on ERR has a segment for each fault, and MSA-3 is gone
_UNFRAMED = {
    0x0B: None,
    0x1C: None,
}  # what came by HTTP may hold them, and an answer must not end its own frame
_MAX_FAULTS = 20
_MAX_MSA_TEXT = 80
_MAX_ERR_TEXT = 250
_UNREADABLE_VERSION = "2.3.1"  # the oldest whose answer says all that there is to say
_ENCODING = "^~\\&"
_UNKNOWN = "UNKNOWN"  # MSA-2 is required, and an unreadable message has no control id to repeat


class AckCode(StrEnum):
    """Source: HL7 table 0008."""

    ACCEPTED = "AA"
    ERROR = "AE"  # it was understood and cannot be done as it is
    REJECTED = "AR"  # it is not for us, or cannot be read
    COMMITTED = "CA"  # it is durable here; what comes of it is another matter
    NOT_COMMITTED = "CE"  # it could not be stored, or cannot be read
    NOT_FOR_US = "CR"  # its type, processing id, version or sender is not taken here


GOOD = frozenset({AckCode.ACCEPTED, AckCode.COMMITTED})
"""After these a sender goes on to its next message."""


def render_ack(
    asked: Message | None,
    code: AckCode,
    *,
    control_id: str,
    at: datetime,
    codec: str = "ascii",
    text: str = "",
    faults: tuple[Fault, ...] = (),
) -> bytes:
    """The answer to `asked`, in its version, delimiters and character set; None is a message without a readable MSH.

    `control_id` is the answer's own, unique MSH-10; `at` is aware and its zone is written. `text` stands in MSA-3 below
    v2.5; later versions say it all in ERR, where the first twenty `faults` stand. Older senders take an ERR as a
    refusal, so theirs never come with AA and CA.
    """
    marks = asked.delimiters if asked else Delimiters()
    version = _numbers(asked.header.value(12) if asked else _UNREADABLE_VERSION)
    segments = [
        _header(asked, marks, version, control_id, at),
        _verdict(asked, marks, version, code, text or next((fault.text for fault in faults), "")),
        *_errors(marks, version, code, faults),
    ]
    rendered = "".join(f"{marks.field.join(fields).rstrip(marks.field)}\r" for fields in segments)
    return charset.encode(rendered.translate(_UNFRAMED), codec)


@lru_cache(maxsize=64)
def _numbers(version: str) -> tuple[int, ...]:
    """MSH-12 as numbers; () when it is none, which counts as older than all."""
    parts = version.strip().split(".")
    return tuple(map(int, parts)) if all(_DIGITS.fullmatch(part) for part in parts) else ()


def _header(
    asked: Message | None, marks: Delimiters, version: tuple[int, ...], control_id: str, at: datetime
) -> list[str]:
    """MSH with the sides exchanged. What is echoed is echoed as it stood: delimiters and character set are the same."""
    head = asked.header if asked else None
    kind = ["ACK"]
    if version >= _STRUCTURED_TYPE and head is not None:
        event = head.components(_echo(head, 9))[1:2]
        kind = ["ACK", *(event or [""]), "ACK"]
    fields = ["MSH", head.raw(2) if head else _ENCODING]
    fields += [_echo(head, number) if head else "" for number in (5, 6, 3, 4)]
    fields += [f"{at:%Y%m%d%H%M%S%z}", "", marks.component.join(kind), escape(control_id, marks)]
    fields += [_echo(head, 11) if head else "P", _echo(head, 12) if head else _UNREADABLE_VERSION]
    return [*fields, "", "", "", "", "", _echo(head, 18) if head else ""]


def _echo(head: Segment, number: int) -> str:
    """A field as it stood, on one line."""
    return head.raw(number).replace("\n", " ")


def _verdict(
    asked: Message | None, marks: Delimiters, version: tuple[int, ...], code: AckCode, text: str
) -> list[str]:
    """MSA."""
    echoed = _echo(asked.header, 10) if asked else _UNKNOWN
    fields = ["MSA", code.value, echoed]
    return fields if version >= _ERR_FIELDS else [*fields, escape(text[:_MAX_MSA_TEXT], marks)]


def _errors(
    marks: Delimiters, version: tuple[int, ...], code: AckCode, faults: tuple[Fault, ...]
) -> list[list[str]]:
    """The ERR segments: one a fault from v2.5 on, one with a repetition a fault before."""
    told = tuple(islice(faults, _MAX_FAULTS))
    if version >= _ERR_FIELDS:
        return [_error(marks, fault) for fault in told]
    if code in GOOD or not told:
        return []
    # ERR-1 cannot say that a fault is only a remark
    told = tuple(fault for fault in told if fault.severity is not Severity.WARN) or told
    if not marks.repetition:
        told = told[:1]
    return [["ERR", marks.repetition.join(_old_location(marks, fault) for fault in told)]]


def _error(marks: Delimiters, fault: Fault) -> list[str]:
    """One ERR: ERR-2 location, ERR-3 code, ERR-4 severity, ERR-7 the module's line, ERR-8 text for a person."""
    meaning = marks.component.join((fault.code, _MEANINGS.get(fault.code, ""), "HL70357"))
    location = _location(marks, fault.place)
    severity = _SEVERITIES[fault.severity]
    return [
        "ERR",
        "",
        location,
        meaning,
        severity,
        "",
        "",
        escape(fault.at, marks),
        escape(fault.text[:_MAX_ERR_TEXT], marks),
    ]


def _location(marks: Delimiters, place: Place | None) -> str:
    """ERL: segment, which one of it, field, repetition, component, subcomponent. Source: HL7 v2.5.1 2.A.28."""
    if place is None or not place.segment:
        return ""
    numbers = (
        place.segment_repetition or 1,
        place.field,
        place.repetition,
        place.component,
        place.subcomponent,
    )
    parts = [escape(place.segment, marks), *(str(number) if number else "" for number in numbers)]
    return marks.component.join(parts).rstrip(marks.component)


def _old_location(marks: Delimiters, fault: Fault) -> str:
    """ELD: segment, which one of it, field, code. Source: HL7 v2.4 2.16.5.1."""
    place = fault.place if fault.place and fault.place.segment else None
    parts = [escape(place.segment, marks), str(place.segment_repetition or 1)] if place else ["", ""]
    parts.append(str(place.field) if place and place.field else "")
    return marks.component.join([*parts, fault.code])
