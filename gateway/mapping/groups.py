"""The orders of an HL7 message: which segments belong to which.

An order begins with an ORC, or with an OBR that no ORC of its own precedes. Several OBR under one ORC are several
orders that share that ORC and its timing; several IPC under one OBR are several steps, one order each. PID, PV1 and
what stands before the first order are shared by every order of the patient; a second PID begins another patient.
Grammar tables of the versions are not consulted: a Z segment or a TQ1 that the version lacks splits nothing.
"""

from collections.abc import Iterator, Sequence

from gateway.mapping.scope import Group
from gateway.model.er7 import Message, Segment

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
                Group(own=_by_name(step), shared=shared, ordinals=ordinals) for step in _steps(order)
            )
    return tuple(groups)


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


def _steps(order: list[Segment]) -> Iterator[list[Segment]]:
    """The order once for each of its IPC segments; once when it has none or one."""
    plans = [segment for segment in order if segment.name == "IPC"]
    if len(plans) < 2:
        yield order
        return
    rest = [segment for segment in order if segment.name != "IPC"]
    for plan in plans:
        yield [*rest, plan]


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
