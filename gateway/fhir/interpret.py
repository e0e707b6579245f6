"""What a body means: the resource that it is, what the mapping made of each order in it, and its keys."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from gateway.fhir.arrival import Arrival, read_arrival
from gateway.fhir.asked import read_asked
from gateway.fhir.auth import Source
from gateway.fhir.classify import address_in, header_of, text_at
from gateway.fhir.holding import Known, held_in, tombstone
from gateway.fhir.newest import with_newest
from gateway.fhir.ownership import ANOTHERS, asks_elsewhere, is_for_another, is_foreign
from gateway.fhir.references import Beyond, graph
from gateway.fhir.release import release_of
from gateway.fhir.speaking import asked_nothing, speaks
from gateway.flow.occasion import numbers
from gateway.mapping.fhir_paths import ORDERS, Graph, Resource
from gateway.mapping.registry import NOT_MEANT, Modules
from gateway.mapping.service_request import (
    carried,
    each_request,
    encounter_reference,
    patient_reference,
    request_address,
)
from gateway.model.errand import ErrandKind, Wanted
from gateway.model.errors import Malformed
from gateway.model.following import Heard
from gateway.model.message import Interpretation, Keys
from gateway.model.order import WITHDRAWN, Action, Fault, Mapped, ModuleRef, OrderRequest, Severity
from gateway.model.resource import Held

UNREADABLE, NOT_HANDLED, OUR_FAULT = "102", "200", "207"
"""Source: HL7 table 0357: data type error, unsupported message type, application internal error."""

NO_ORDER = "there is no order in it: no ServiceRequest, Task or Appointment"
NAMED = "what it names is read from the record system and comes as a message of its own"
CARRIED = (
    "another resource of the same message speaks for it: the Task for its order, or an order that has ended"
)
CANNOT_ASK = "it names what changed, and nothing can be asked of its sender: set fhir.sources.{}.{}"
FOREIGN = (
    "it is about a ServiceRequest of another server than fhir.sources.{}.base_url, which is no order here"
)
ELSEWHERE = "it names a resource of another server than fhir.sources.{}.base_url, which is not asked"

ALONE = Graph(orders=(), resolve=lambda *_: None)
"""The way from a resource that stands for itself: nowhere."""

_LONGEST_ID = 200
_ENDINGS = frozenset({Action.CANCEL, Action.DISCONTINUE, Action.COMPLETE, Action.UNSCHEDULE, Action.IGNORE})
"""An order ends whether or not anybody can be asked who its patient is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """A body and its meaning. `outcomes` has what became of each of the arrival's orders, in their order."""

    arrival: Arrival | None  # None: no FHIR resource
    outcomes: tuple[Mapped, ...]
    interpretation: Interpretation
    withdrawn: tuple[Mapped, ...] = ()  # the orders that were taken back by deleting what asked for them

    @property
    def is_no_message(self) -> bool:
        """Whether it cannot be answered as a message, and there is no order in it for which it would be taken."""
        arrival = self.arrival
        return arrival is not None and not arrival.orders and header_of(arrival.resource) is None


def understand(
    raw: bytes,
    source: Source,
    modules: Modules,
    *,
    request: str = "",
    known: Known | None = None,
    at: datetime | None = None,
) -> Understood:
    """What the body means. What is no FHIR resource comes back with the reason, not as an error.

    `request` is what was asked beside it; `known` is what is held of the source, None when nothing may be asked; what
    came `at` that time is to be held.
    """
    try:
        arrival = read_arrival(raw, read_asked(request))
    except Malformed as fault:
        return _failed(raw, source, str(fault), UNREADABLE)
    beyond = Beyond(base=source.base_url, find=known.find) if known is not None else None
    reach = _Reach(known=known, beyond=beyond, can_ask=bool(source.base_url), wanted={})
    found = graph(arrival.resource, beyond)
    current = with_newest(found, source, known) if known is not None else found
    tasks: dict[int, Mapped] = {}  # those that had to be mapped to know whether they speak for their order

    def does_speak(task: Resource) -> bool:
        mapped = tasks[id(task)] = _map(task, current, source, modules, reach)
        return speaks(task, request_address(task, found.resolve), mapped, known)

    passed = carried(found.orders, found.resolve, does_speak)
    outcomes = tuple(
        Mapped(requests=(), skipped=(CARRIED,), module=None)
        if id(order) in passed
        else tasks.get(id(order)) or _map(order, current, source, modules, reach)
        for order in found.orders
    )
    gone = dict.fromkeys((*filter(_is_order, arrival.withdrawn), *_replaced(arrival, source)))
    withdrawn = tuple(_taken_back(address, source, modules, reach) for address in gone)
    asking, doubts = _asking(arrival, source)
    mapped = _together((*outcomes, *withdrawn), NAMED if asking else NO_ORDER)
    is_meant = not outcomes or mapped.module is not None
    keys = _keys(arrival, raw, source, request, at)
    resources = _held(arrival, source, at) if at is not None else ()
    is_nameless = keys.control_id == _digest(raw + request.encode())
    interpretation = Interpretation(
        keys=keys,
        mapped=mapped,
        failure="" if is_meant else NOT_MEANT,
        failure_code="" if is_meant else NOT_HANDLED,
        resources=resources,
        wanted=(*asking, *(reach.needed() if is_meant else ())),
        doubts=tuple(dict.fromkeys((*doubts, *reach.doubts))),
        is_event=bool(arrival.event),
        undated=tuple(filter(_is_undated, resources)) if is_nameless else (),
        heard=_heard(arrival, source),
    )
    return Understood(arrival=arrival, outcomes=outcomes, interpretation=interpretation, withdrawn=withdrawn)


def _heard(arrival: Arrival, source: Source) -> Heard | None:
    heard = arrival.heard
    if heard is None or (source.counts_events and source.polls):
        return heard
    return replace(heard, numbers=(), since_start=None)


def _is_undated(held: Held) -> bool:
    return held.type in ORDERS and not held.version and held.last_updated is None


def _is_order(address: str) -> bool:
    return address.partition("/")[0] in ORDERS


def _replaced(arrival: Arrival, source: Source) -> Iterator[str]:
    """The orders that an active one takes the place of. Source: FHIR R4 ServiceRequest.replaces."""
    for order in arrival.orders:
        several = order.get("replaces") if text_at(order, "status") == "active" else None
        for reference in several if isinstance(several, list) else ():
            text = text_at(reference, "reference") if isinstance(reference, dict) else ""
            address = address_in(text)
            if address.startswith("ServiceRequest/") and not is_foreign(text, source):
                yield address


def _held(arrival: Arrival, source: Source, at: datetime) -> tuple[Held, ...]:
    gone = (tombstone(source.name, address, at) for address in arrival.withdrawn)
    return (*held_in(source.name, arrival.resource, at), *gone)


def _asking(arrival: Arrival, source: Source) -> tuple[tuple[Wanted, ...], tuple[str, ...]]:
    """What a notification names is fetched; what it does not name is looked for. Also the doubts about that."""
    if not arrival.named and not arrival.is_poll:
        return (), arrival.doubts
    if not source.base_url or (arrival.is_poll and not source.polls):
        missing = "poll.criteria" if source.base_url else "base_url"
        return (), (*arrival.doubts, CANNOT_ASK.format(source.name, missing))
    wanted = [Wanted(kind=ErrandKind.POLL)] if arrival.is_poll else []
    doubts = list(arrival.doubts)
    for name in arrival.named:
        own = name.removeprefix(f"{source.base_url}/")
        if "://" in own:
            doubts.append(ELSEWHERE.format(source.name))
        else:
            wanted.append(Wanted(kind=ErrandKind.FETCH, target=address_in(own) or own))
    return tuple(wanted), tuple(dict.fromkeys(doubts))


@dataclass(slots=True, kw_only=True)
class _Reach:
    """How far references are followed for one message, and what has to be read for it."""

    known: Known | None  # None: nothing may be looked for
    beyond: Beyond | None
    can_ask: bool  # whether the source can be asked for what is not held
    wanted: dict[str, str]  # what must be read, and the field that leads there
    doubts: list[str] = field(default_factory=list)  # what a person must look at

    def needed(self) -> tuple[Wanted, ...]:
        """What must be read before the message can be settled."""
        return tuple(
            Wanted(kind=ErrandKind.READ, target=target, field=where) for target, where in self.wanted.items()
        )

    def doubted(self, because: str, module: ModuleRef | None) -> Mapped:
        """Nothing: a person must look at it."""
        self.doubts.append(because)
        return Mapped(requests=(), skipped=(because,), module=module)

    def judged(self, mapped: Mapped) -> Mapped:
        """The order; it waits for a person when its patient or request could not be read, the rest is a remark.

        What can still be read is wanted, unless the order ends or is passed over as it stands.
        """
        if not self.can_ask or self.beyond is None or self.known is None:
            return mapped
        missing = self.beyond.missing if _needs(mapped, self.beyond.missing) else {}
        goes_on = any(request.action not in _ENDINGS for request in mapped.requests)
        aged = {it: where for it, where in self.beyond.used.items() if goes_on and it in self.known.stale}
        if not missing and not aged:
            return mapped
        said, both = self.known.said, {**missing, **aged}
        self.wanted.update((target, where) for target, where in both.items() if target not in said)
        faults = tuple(
            _unread(where, target, said[target], is_held=target in aged)
            for target, where in both.items()
            if target in said
        )
        requests = tuple(replace(request, faults=(*faults, *request.faults)) for request in mapped.requests)
        return replace(mapped, requests=requests)


def _needs(mapped: Mapped, missing: Mapping[str, str]) -> bool:
    """Whether what is missing matters. A Task or Appointment without its ServiceRequest cannot be understood."""
    if not mapped.requests:
        return any(target.startswith("ServiceRequest") for target in missing)
    return any(request.action not in _ENDINGS for request in mapped.requests)


def _unread(where: str, target: str, said: str, *, is_held: bool) -> Fault:
    needed = target.startswith(("Patient", "ServiceRequest")) and not is_held
    again = " again, and stands as it was read before" if is_held else ""
    return Fault(
        severity=Severity.HOLD if needed else Severity.WARN,
        keyword="",
        place=None,
        code="101",
        text=f"{where}: could not be read from the record system{again}: {said}",
        at="",
    )


def not_understood(raw: bytes, source: Source) -> Understood:
    """The meaning of a body that we failed to interpret by a fault of our own."""
    return _failed(raw, source, "the gateway failed to interpret the message", OUR_FAULT)


def not_a_message(raw: bytes, source: Source) -> Understood:
    """The meaning of a body that came as a message and is none. Source: FHIR R4 messaging.html, bdl-11."""
    return _failed(raw, source, "a message is a Bundle whose first entry is a MessageHeader", UNREADABLE)


def _failed(raw: bytes, source: Source, failure: str, code: str) -> Understood:
    keys = Keys(control_id=_digest(raw), sender=source.name, version=source.release)
    interpretation = Interpretation(keys=keys, mapped=None, failure=failure, failure_code=code)
    return Understood(arrival=None, outcomes=(), interpretation=interpretation)


def _map(order: Resource, found: Graph, source: Source, modules: Modules, reach: _Reach) -> Mapped:
    parts = tuple(_map_one(one, found, source, modules, reach) for one in each_request(order))
    return parts[0] if len(parts) == 1 else _together(parts, "")


def _map_one(order: Resource, found: Graph, source: Source, modules: Modules, reach: _Reach) -> Mapped:
    if reach.beyond is not None:
        reach.beyond.missing.clear()
        reach.beyond.used.clear()
    mapped = modules.map_fhir(Graph(orders=(order,), resolve=found.resolve))
    if mapped.requests and is_for_another(order, source):
        return Mapped(requests=(), skipped=(ANOTHERS,), module=mapped.module)
    if asks_elsewhere(order, found, source) and any(it.action is not Action.IGNORE for it in mapped.requests):
        named = tuple(replace(it, service_request="") for it in mapped.requests if any(numbers(it)))
        if not named:
            return reach.doubted(FOREIGN.format(source.name), mapped.module)
        mapped = replace(mapped, requests=named)
    mapped = reach.judged(mapped)
    if is_foreign(patient_reference(order, found.resolve), source):
        mapped = replace(mapped, requests=tuple(replace(it, subject="") for it in mapped.requests))
    if is_foreign(encounter_reference(order, found.resolve), source):
        mapped = replace(mapped, requests=tuple(replace(it, encounter="") for it in mapped.requests))
    return mapped


def _taken_back(address: str, source: Source, modules: Modules, reach: _Reach) -> Mapped:
    """The end of what a resource asked for that was deleted or replaced."""
    known = reach.known
    held = known.find(address) if known is not None and not address.startswith("ServiceRequest/") else None
    because = asked_nothing(held, source, modules) if held is not None else ""
    if because:
        return Mapped(requests=(), skipped=(because,), module=WITHDRAWN)
    parts = each_request(held) if held is not None else ()
    if any(asks_elsewhere(one, ALONE, source) for one in parts):
        return reach.doubted(FOREIGN.format(source.name), WITHDRAWN)
    is_request = address.startswith("ServiceRequest/")
    behind = [request_address(one, ALONE.resolve) for one in parts] or [address if is_request else ""]
    requests = tuple(
        OrderRequest(
            action=Action.UNSCHEDULE if address.startswith("Appointment/") else Action.CANCEL,
            attributes={},
            provenance=(),
            faults=(),
            module=WITHDRAWN,
            service_request=service_request,
            address=address,
        )
        for service_request in behind
    )
    return Mapped(requests=requests, skipped=(), module=WITHDRAWN)


def _together(outcomes: tuple[Mapped, ...], because: str) -> Mapped:
    """All of them; `because` is why there may be none."""
    if not outcomes:
        return Mapped(requests=(), skipped=(because,), module=None)
    return Mapped(
        requests=tuple(request for mapped in outcomes for request in mapped.requests),
        skipped=tuple(because for mapped in outcomes for because in mapped.skipped),
        module=next((mapped.module for mapped in outcomes if mapped.module), None),
        warnings=tuple(warning for mapped in outcomes for warning in mapped.warnings),
    )


def _keys(arrival: Arrival, raw: bytes, source: Source, request: str, at: datetime | None) -> Keys:
    resource = arrival.resource
    own = next((text for text in _own_ids(arrival) if 0 < len(text) <= _LONGEST_ID), "")
    if arrival.is_momentary and at is not None:
        own = f"{arrival.label} {at.isoformat()}"
    sent = text_at(resource, "meta", "lastUpdated") or text_at(resource, "timestamp")
    if not sent and arrival.heard is not None and arrival.heard.sent_at is not None:
        sent = arrival.heard.sent_at.isoformat()
    return Keys(
        control_id=own or _digest(raw + request.encode()),
        sender=source.name,
        message_type=arrival.label,
        version=release_of(arrival.orders, source.release),
        sent_at=sent,
    )


def _own_ids(arrival: Arrival) -> Iterator[str]:
    """What the sender calls this message, the most telling first; texts may be empty."""
    resource = arrival.resource
    yield f"event {arrival.event}" if arrival.event else ""
    yield text_at(resource, "identifier", "value")
    header = header_of(resource)
    if header is not None:
        yield text_at(header, "id")
    identifier, version = text_at(resource, "id"), text_at(resource, "meta", "versionId")
    yield f"{arrival.type}/{identifier}/_history/{version}" if identifier and version else ""


def _digest(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"
