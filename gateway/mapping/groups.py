"""The orders, patients or appointments of an HL7 message: which segments belong to which.

An order begins with an ORC, or with an OBR that no ORC of its own precedes. Several OBR under one ORC are several
orders that share that ORC and its timing; several IPC under one OBR are several steps, one order each. PID, PV1 and
what stands before the first order are shared by every order of the patient; a second PID begins another patient.
Grammar tables of the versions are not consulted: a Z segment or a TQ1 that the version lacks splits nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from gateway.mapping.scope import Group
from gateway.model.er7 import Message, Segment

ABSENT = {
    "order": "no order in the message (neither ORC nor OBR)",
    "patient": "no patient in the message (no PID)",
    "appointment": "no appointment in the message (no SCH)",
}
"""Why nothing came of a message, by what its module maps."""

_RESOURCES = frozenset({"AIS", "AIG", "AIL", "AIP"})
_PATIENT = frozenset({"PID", "PD1", "PV1", "PV2", "NK1", "IN1", "IN2", "GT1"})


def header_group(message: Message) -> Group:
    """The whole message as one group: what `match` looks at."""
    return Group(own={}, shared=_by_name(message.segments), ordinals=_ordinals(message))


def order_groups(message: Message) -> tuple[Group, ...]:
    """One group for each scheduled procedure step of the message, in its order."""
    ordinals = _ordinals(message)
    groups: list[Group] = []
    for section in _sections(message.segments[1:]):
        common, orders = _split(section)
        shared = _by_name([message.header, *common])
        for order in _with_trailing_study(orders):
            groups.extend(
                Group(own=_by_name(step), shared=shared, ordinals=ordinals)
                for step in _one_each(order, "IPC")
            )
    return tuple(groups)


def patient_groups(message: Message) -> tuple[Group, ...]:
    """One group for each PID of the message with what follows it; once for each of its MRG when it has several.

    Source: HL7 v2.5.1 3.3.40: ADT^A40 repeats PID, PD1, MRG and PV1.
    """
    ordinals = _ordinals(message)
    head: list[Segment] = [message.header]
    groups: list[Group] = []
    for section in _sections(message.segments[1:]):
        start = next((n for n, segment in enumerate(section) if segment.name == "PID"), len(section))
        head.extend(section[:start])
        groups.extend(
            Group(own=_by_name(one), shared=_by_name(head), ordinals=ordinals)
            for one in _one_each(section[start:], "MRG")
            if one
        )
    return tuple(groups)


def appointment_groups(message: Message) -> tuple[Group, ...]:
    """One group for each service (AIS) of the appointment, one for the whole when it names none.

    A service has the equipment, places and people of its own resource group (RGS), else those of the groups that
    hold no service. The notes behind SCH belong to every service, and so does the patient.
    Source: HL7 v2.5.1 10.3, SIU^S12-S24.
    """
    sections = list(_resource_groups(message.segments[1:]))
    if not any(segment.name == "SCH" for segment in sections[0]):
        return ()
    services = [section for section in sections[1:] if _has(section, "AIS")]
    rest = [segment for section in sections[1:] if not _has(section, "AIS") for segment in section]
    shared = _by_name([message.header, *(s for s in sections[0] if s.name not in {"SCH", "NTE"}), *rest])
    notes = _appointment(sections[0])
    steps = [one for section in services for one in _services(section)] or [[]]
    ordinals = _ordinals(message)
    return tuple(Group(own=_by_name([*notes, *step]), shared=shared, ordinals=ordinals) for step in steps)


GROUPS: Mapping[str, Callable[[Message], tuple[Group, ...]]] = {
    "order": order_groups,
    "patient": patient_groups,
    "appointment": appointment_groups,
}
"""The items of a message, by what a module maps (`each`)."""


def _resource_groups(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """What stands before the first resource, then each resource group; senders leave RGS out."""
    section: list[Segment] = []
    is_head = True
    for segment in segments:
        if segment.name == "RGS" or (is_head and segment.name in _RESOURCES):
            yield section
            section, is_head = [], False
        section.append(segment)
    yield section


def _appointment(head: Sequence[Segment]) -> list[Segment]:
    """SCH and the notes right behind it."""
    start = next(n for n, segment in enumerate(head) if segment.name == "SCH")
    stop = next((n for n, s in enumerate(head) if n > start and s.name not in {"NTE", "TQ1"}), len(head))
    return [segment for segment in head[start:stop] if segment.name != "TQ1"]


def _services(section: Sequence[Segment]) -> Iterator[list[Segment]]:
    """Each AIS of a resource group with its notes and what all services of the group share."""
    common: list[Segment] = []
    services: list[list[Segment]] = []
    is_note_of = ""
    for segment in section:
        if segment.name == "AIS":
            services.append([segment])
        elif segment.name != "NTE":
            common.append(segment)
        elif is_note_of == "AIS":
            services[-1].append(segment)
        is_note_of = segment.name if segment.name != "NTE" else is_note_of
    for service in services:
        yield [*common, *service]


def _sections(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """The message cut before each further PID."""
    section: list[Segment] = []
    for segment in segments:
        if segment.name == "PID" and any(other.name == "PID" for other in section):
            yield section
            section = []
        section.append(segment)
    yield section


def _split(section: Sequence[Segment]) -> tuple[list[Segment], list[list[Segment]]]:
    """What all orders of the section share, and the segments of each order."""
    common: list[Segment] = []
    orders: list[list[Segment]] = []
    under: list[Segment] = []  # the open ORC and what stands between it and its first OBR
    for segment in section:
        if segment.name in _PATIENT:
            common.append(segment)
        elif segment.name == "ORC":
            under = [segment]
            orders.append([segment])
        elif segment.name == "OBR":
            if not orders or _has(orders[-1], "OBR"):
                orders.append(list(under))
            orders[-1].append(segment)
        elif not orders:
            common.append(segment)
        else:
            orders[-1].append(segment)
            if under and not _has(orders[-1], "OBR"):
                under.append(segment)
    return common, orders


def _with_trailing_study(orders: list[list[Segment]]) -> list[list[Segment]]:
    """`orders`, where a single ZDS at the end also counts for earlier steps of the same requested procedure.

    Source: IHE RAD TF-2 4.4: one ZDS follows all ORC and OBR of the message. Orders that do not name the same
    requested procedure (OBR-19) keep their own study.
    """
    if len(orders) < 2 or sum(_has(order, "ZDS") for order in orders) != 1 or not _has(orders[-1], "ZDS"):
        return orders
    procedure = _procedure(orders[-1])
    study = [segment for segment in orders[-1] if segment.name == "ZDS"]
    earlier = [
        [*order, *study] if procedure and _procedure(order) == procedure else order for order in orders[:-1]
    ]
    return [*earlier, orders[-1]]


def _one_each(segments: list[Segment], name: str) -> Iterator[list[Segment]]:
    """The segments once for each of those called `name`; once when there is none or one."""
    several = [segment for segment in segments if segment.name == name]
    if len(several) < 2:
        yield segments
        return
    rest = [segment for segment in segments if segment.name != name]
    for one in several:
        yield [*rest, one]


def _procedure(order: list[Segment]) -> str:
    return next((segment.value(19) for segment in order if segment.name == "OBR"), "")


def _has(order: list[Segment], name: str) -> bool:
    return any(segment.name == name for segment in order)


def _by_name(segments: Sequence[Segment]) -> dict[str, tuple[Segment, ...]]:
    named: dict[str, list[Segment]] = {}
    for segment in segments:
        named.setdefault(segment.name, []).append(segment)
    return {name: tuple(found) for name, found in named.items()}


def _ordinals(message: Message) -> dict[int, int]:
    """Line of each segment -> which of its name it is."""
    counts: dict[str, int] = {}
    ordinals = {}
    for segment in message.segments:
        counts[segment.name] = ordinals[segment.line] = counts.get(segment.name, 0) + 1
    return ordinals
