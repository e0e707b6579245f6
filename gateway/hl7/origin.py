"""What the sender wrote of an order: its own numbers and codes, so that it knows them again."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from gateway.hl7 import charset
from gateway.hl7.outbound import copied, parts, text
from gateway.model.er7 import Message, Segment, read_er7
from gateway.model.errors import Malformed
from gateway.model.message import Message as Kept
from gateway.model.message import Protocol
from gateway.model.order import Order, Value
from gateway.model.patient import Patient

_ORC = (2, 3, 4, 12)
_OBR = (2, 3, 4, 16, 18, 19, 20, 21, 24, 44)
_NUMBER_FIELDS = {"ORC": (2, 3), "OBR": (2, 3, 18, 19, 20), "IPC": (1, 2, 4)}
_ACCESSION_PLACES = (("OBR", 18), ("OBR", 3), ("ORC", 3))  # where the shipped mappings look for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Fields by number, escaped in our delimiters; a field the sender never valued is absent."""

    orc: dict[int, str] = field(default_factory=dict)
    obr: dict[int, str] = field(default_factory=dict)
    patient_id: str = ""  # the repetition of PID-3 with the patient's identifier


def read_origin(order: Order, messages: Iterable[Kept], fallback: str = "cp1252") -> Origin:
    """The order as its sender wrote it, each field as the newest of `messages` has it.

    `messages` come newest first. What none of them says is made of what is known of the order, so an order that came
    by FHIR is told with its numbers, too.
    """
    readable = tuple(_readable(messages, fallback))
    found = Origin(patient_id=_identifier(readable, order.patient))
    for read in readable:
        found = replace(
            found,
            orc=_taken(read, order, "ORC", _ORC) | found.orc,
            obr=_taken(read, order, "OBR", _OBR) | found.obr,
        )
    return replace(found, orc=_known_orc(order) | found.orc, obr=_full(order, found))


def _readable(messages: Iterable[Kept], fallback: str) -> Iterator[Message]:
    for kept in messages:
        if kept.protocol is not Protocol.HL7V2:
            continue
        try:
            decoded = charset.decode(kept.raw, fallback=fallback)
            yield read_er7(decoded.text, hex_text=charset.hex_reader(decoded.codec))
        except Malformed:
            continue


def _taken(read: Message, order: Order, name: str, numbers: tuple[int, ...]) -> dict[int, str]:
    """The valued fields of that segment in the part of the message that is about the order."""
    segments = [one for one in _about(read, order) if one.name == name]
    return {number: copied(one, number) for one in segments[:1] for number in numbers if one.raw(number)}


def _about(read: Message, order: Order) -> tuple[Segment, ...]:
    """The segments of the order's group; () when no group carries one of its numbers."""
    ours = {order.filler, order.placer, order.accession} - {""}
    groups = list(_groups(read))
    counts = [len(ours & _numbers(group)) for group in groups]
    best = max(counts, default=0)
    return groups[counts.index(best)] if best else ()


def _groups(read: Message) -> Iterator[tuple[Segment, ...]]:
    """An ORC and what follows it; an OBR begins one of its own where the last has one already."""
    group: list[Segment] = []
    for one in read.segments:
        begins = one.name == "ORC" or (one.name == "OBR" and any(other.name == "OBR" for other in group))
        if begins and group:
            yield tuple(group)
            group = []
        if begins or group or one.name == "OBR":
            group.append(one)
    if group:
        yield tuple(group)


def _numbers(group: tuple[Segment, ...]) -> set[str]:
    return {
        one.value(number) for one in group for number in _NUMBER_FIELDS.get(one.name, ()) if one.raw(number)
    }


def _identifier(messages: Iterable[Message], patient: Patient) -> str:
    """The repetition of PID-3 that is the patient's own, newest message first: with his number, of his issuer.

    Where no message has one, the only one with his number; "" when there are several, for two authorities may give
    the same number to two people. Source: HL7 v2.5.1 2.A.14.4, CX.4.
    """
    found = [matching for read in messages if (matching := _matching(read, patient.patient_id))]
    for written, issuers in (one for matching in found for one in matching.items()):
        if patient.issuer in issuers:
            return written
    return next(iter(found[0])) if found and len(found[0]) == 1 else ""


def _matching(read: Message, patient_id: str) -> dict[str, tuple[str, ...]]:
    """The repetitions of PID-3 with that number, and the names of their authorities.

    An authority has a name, a universal id or both; "" stands for one that has neither.
    """
    found = {}
    for one in read.named("PID") if patient_id else ():
        for number, written in enumerate(copied(one, 3).split("~"), start=1):
            if one.value(3, repetition=number) == patient_id:
                names = (one.value(3, 4, part, repetition=number) for part in (1, 2))
                found[written] = tuple(filter(None, names)) or ("",)
    return found


def _known_orc(order: Order) -> dict[int, str]:
    known = {2: text(order.placer), 3: text(order.filler)}
    return {number: value for number, value in known.items() if value}


def _full(order: Order, found: Origin) -> dict[int, str]:
    """The OBR: as the sender wrote it; what it never wrote, as IHE RAD TF-2 4.4 places it."""
    sent = found.obr
    known = {
        2: found.orc.get(2, text(order.placer)),
        3: found.orc.get(3, text(order.filler)),
        4: _code(order),
        18: "" if _carries_accession(order, found) else text(order.accession),
    }
    if not sent:
        known |= {19: text(order.procedure_id), 20: text(order.step_id), 24: text(order.modality)}
    return {number: value for number, value in known.items() if value} | sent


def _carries_accession(order: Order, found: Origin) -> bool:
    places = {"ORC": found.orc, "OBR": found.obr}
    values = [places[name].get(number, "") for name, number in _ACCESSION_PLACES]
    return text(order.accession) in {value.split("^")[0] for value in values}


def _code(order: Order) -> str:
    items = order.attributes.get("RequestedProcedureCodeSequence", ())
    if isinstance(items, str) or not items:
        return parts("", order.description)
    keywords = ("CodeValue", "CodeMeaning", "CodingSchemeDesignator")
    return parts(*(_plain(items[0].get(keyword, "")) for keyword in keywords))


def _plain(value: Value) -> str:
    return value if isinstance(value, str) else ""
