"""HL7 v2 messages written: segments by field number, held to the version's dictionary, escaped by us.

hl7apy knows which fields a segment has in a version and how often each may repeat. It does not escape what is assigned
to it and takes 15 ms a message, so the text is written here. Source: HL7 v2.5.1 2.5, 2.6 and 2.7.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache

from hl7apy import load_reference

from gateway.hl7.destination import Destination
from gateway.model.er7 import Segment, escape
from gateway.model.patient import Patient

MOST_CONTROL_ID = 20
"""The longest MSH-10. Source: HL7 v2.5.1 2.14.9.10."""

_NAME_PARTS = (0, 1, 2, 4, 3)  # PN has the prefix before the suffix, XPN after it
_NAME_FORMS = ("A", "I", "P")  # Source: HL7 table 0465: alphabetic, ideographic, phonetic


def text(value: str) -> str:
    """`value` as it stands in a field: delimiters escaped, control characters but line ends as blanks."""
    return escape("".join(char if char >= " " or char in "\r\n" else " " for char in value))


def parts(*values: str) -> str:
    """The components of one field."""
    return "^".join(text(value) for value in values).rstrip("^")


def copied(segment: Segment, number: int) -> str:
    """A field of a message that came, in our own delimiters."""
    return "~".join(_copied(segment, repetition) for repetition in segment.repetitions(number))


def instant(moment: datetime, destination: Destination) -> str:
    """A time in the destination's zone, with its offset."""
    return f"{moment.astimezone(destination.zone):%Y%m%d%H%M%S%z}"


def segment(name: str, version: str, fields: Mapping[int, str]) -> str:
    """The segment with those fields, which are already escaped.

    What the version does not know is left out: a field, a repetition too many. Z segments are free.
    """
    limits = _limits(name, version)
    last = max(fields, default=0)
    kept = [_limited(fields.get(number, ""), limits.get(number, 0)) for number in range(1, last + 1)]
    return "|".join((name, *kept)).rstrip("|")


def header(destination: Destination, kind: str, structure: str, *, control_id: str, at: datetime) -> str:
    """The MSH. MSH-15 and MSH-16 stay empty: one answer is expected, in original mode."""
    fields = {
        3: parts(*destination.sender[0].split("^")),
        4: parts(*destination.sender[1].split("^")),
        5: parts(*destination.receiver[0].split("^")),
        6: parts(*destination.receiver[1].split("^")),
        7: instant(at, destination),
        9: f"{kind}^{structure}",
        10: text(control_id[-MOST_CONTROL_ID:]),
        11: destination.processing,
        12: destination.version,
        18: text(destination.charset),
    }
    written = segment("MSH", destination.version, fields).split("|")
    return "|".join(("MSH", r"^~\&", *written[3:]))


def patient(known: Patient, identifier: str, version: str) -> str:
    """The PID. `identifier` is PID-3 as the sender wrote it; "" gives it from what is known of the patient."""
    fields = {
        3: identifier or parts(known.patient_id, "", "", known.issuer),
        5: _name(known.name),
        7: text(known.birth_date),
        8: text(known.sex),
    }
    return segment("PID", version, {1: "1", **fields})


def message(segments: Iterable[str]) -> bytes:
    """The message as the outbox keeps it: in UTF-8, whatever character set it leaves in."""
    return "".join(f"{one}\r" for one in segments).encode()


def _copied(segment: Segment, repetition: str) -> str:
    components = []
    for component in segment.components(repetition):
        inner = segment.delimiters.subcomponent
        pieces = component.split(inner) if inner else [component]
        components.append("&".join(text(segment.unescape(piece)) for piece in pieces).rstrip("&"))
    return "^".join(components).rstrip("^")


def _name(pn: str) -> str:
    """XPN: one repetition for each form of the name that is there, labelled when there are several."""
    groups = [(form, group) for form, group in zip(_NAME_FORMS, pn.split("="), strict=False) if group]
    return "~".join(_name_form(group, form if len(groups) > 1 else "") for form, group in groups)


def _name_form(group: str, form: str) -> str:
    given = [*group.split("^"), "", "", "", "", ""]
    return parts(*(given[number].strip() for number in _NAME_PARTS), "", "L" if form else "", form)


def _limited(field: str, most: int) -> str:
    return field if most < 0 else "~".join(field.split("~")[:most])


@cache
def _limits(name: str, version: str) -> dict[int, int]:
    """How often each field of the segment may stand; -1 is as often as one likes."""
    if name.startswith("Z"):
        return dict.fromkeys(range(1, 100), -1)
    _, fields, *_ = load_reference(name, "Segment", version)
    return {int(field[0].partition("_")[2]): field[2][1] for field in fields}
