"""What a body means: the resource that it is, what the mapping made of each order in it, and its keys."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from gateway.fhir.auth import Source
from gateway.fhir.classify import Arrival, header_of, read_arrival, text_at
from gateway.fhir.holding import Known, held_in
from gateway.fhir.references import Beyond, graph
from gateway.mapping.fhir_paths import Graph, Resource
from gateway.mapping.registry import NOT_MEANT, Modules
from gateway.mapping.service_request import carried, patient_reference
from gateway.model.errand import ErrandKind, Wanted
from gateway.model.errors import Malformed
from gateway.model.message import Interpretation, Keys
from gateway.model.order import Action, Fault, Mapped, Severity

UNREADABLE, NOT_HANDLED, OUR_FAULT = "102", "200", "207"
"""Source: HL7 table 0357: data type error, unsupported message type, application internal error."""

NO_ORDER = "there is no order in it: no ServiceRequest, Task or Appointment"
CARRIED = "a Task of the same message asks for this order"

_LONGEST_ID = 200
_ENDINGS = frozenset({Action.CANCEL, Action.DISCONTINUE, Action.COMPLETE, Action.UNSCHEDULE, Action.IGNORE})
"""An order ends whether or not anybody can be asked who its patient is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """A body and its meaning. `outcomes` has what became of each of the arrival's orders, in their order."""

    arrival: Arrival | None  # None: no FHIR resource
    outcomes: tuple[Mapped, ...]
    interpretation: Interpretation


def understand(
    raw: bytes, source: Source, modules: Modules, *, known: Known | None = None, at: datetime | None = None
) -> Understood:
    """What the body means. What is no FHIR resource comes back with the reason, not as an error.

    `known` is what is held of the source, None when nothing may be asked; what came `at` that time is to be held.
    """
    try:
        arrival = read_arrival(raw)
    except Malformed as fault:
        return _failed(raw, source, str(fault), UNREADABLE)
    beyond = Beyond(base=source.base_url, find=known.find) if known is not None and source.base_url else None
    reach = _Reach(known=known, beyond=beyond, wanted={})
    found = graph(arrival.resource, beyond)
    passed = carried(found.orders, found.resolve)
    outcomes = tuple(
        Mapped(requests=(), skipped=(CARRIED,), module=None)
        if id(order) in passed
        else _map(order, found, source, modules, reach)
        for order in found.orders
    )
    mapped = _together(outcomes)
    is_meant = not outcomes or mapped.module is not None
    interpretation = Interpretation(
        keys=_keys(arrival, raw, source),
        mapped=mapped,
        failure="" if is_meant else NOT_MEANT,
        failure_code="" if is_meant else NOT_HANDLED,
        resources=held_in(source.name, arrival.resource, at) if at is not None else (),
        wanted=tuple(
            Wanted(kind=ErrandKind.READ, target=target, field=where)
            for target, where in reach.wanted.items()
            if is_meant
        ),
    )
    return Understood(arrival=arrival, outcomes=outcomes, interpretation=interpretation)


@dataclass(slots=True, kw_only=True)
class _Reach:
    """How far references are followed for one message, and what has to be read for it."""

    known: Known | None  # None: nothing may be asked
    beyond: Beyond | None
    wanted: dict[str, str]  # what must be read, and the field that leads there

    def judged(self, mapped: Mapped) -> Mapped:
        """The order; it waits for a person when its patient or request could not be read, the rest is a remark.

        What can still be read is wanted, unless the order ends or is passed over as it stands.
        """
        if self.beyond is None or self.known is None or not _needs(mapped, self.beyond.missing):
            return mapped
        missing, said = self.beyond.missing, self.known.said
        self.wanted.update((target, where) for target, where in missing.items() if target not in said)
        faults = tuple(
            _unread(where, target, said[target]) for target, where in missing.items() if target in said
        )
        requests = tuple(replace(request, faults=(*faults, *request.faults)) for request in mapped.requests)
        return replace(mapped, requests=requests)


def _needs(mapped: Mapped, missing: Mapping[str, str]) -> bool:
    """Whether what is missing matters. A Task or Appointment without its ServiceRequest cannot be understood."""
    if not mapped.requests:
        return any(target.startswith("ServiceRequest") for target in missing)
    return any(request.action not in _ENDINGS for request in mapped.requests)


def _unread(where: str, target: str, said: str) -> Fault:
    needed = target.startswith(("Patient", "ServiceRequest"))
    return Fault(
        severity=Severity.HOLD if needed else Severity.WARN,
        keyword="",
        place=None,
        code="101",
        text=f"{where}: could not be read from the record system: {said}",
        at="",
    )


def not_understood(raw: bytes, source: Source) -> Understood:
    """The meaning of a body that we failed to interpret by a fault of our own."""
    return _failed(raw, source, "the gateway failed to interpret the message", OUR_FAULT)


def _failed(raw: bytes, source: Source, failure: str, code: str) -> Understood:
    keys = Keys(control_id=_digest(raw), sender=source.name, version=source.release)
    interpretation = Interpretation(keys=keys, mapped=None, failure=failure, failure_code=code)
    return Understood(arrival=None, outcomes=(), interpretation=interpretation)


def _map(order: Resource, found: Graph, source: Source, modules: Modules, reach: _Reach) -> Mapped:
    if reach.beyond is not None:
        reach.beyond.missing.clear()
    mapped = reach.judged(modules.map_fhir(Graph(orders=(order,), resolve=found.resolve)))
    if _is_foreign(patient_reference(order, found.resolve), source):
        return replace(mapped, requests=tuple(replace(request, subject="") for request in mapped.requests))
    return mapped


def _is_foreign(reference: str, source: Source) -> bool:
    """Whether an absolute reference leads to another server than the sender's: its id means nothing there."""
    if not reference.startswith(("http://", "https://")):
        return False
    return not source.base_url or not reference.startswith(f"{source.base_url}/")


def _together(outcomes: tuple[Mapped, ...]) -> Mapped:
    if not outcomes:
        return Mapped(requests=(), skipped=(NO_ORDER,), module=None)
    return Mapped(
        requests=tuple(request for mapped in outcomes for request in mapped.requests),
        skipped=tuple(because for mapped in outcomes for because in mapped.skipped),
        module=next((mapped.module for mapped in outcomes if mapped.module), None),
        warnings=tuple(warning for mapped in outcomes for warning in mapped.warnings),
    )


def _keys(arrival: Arrival, raw: bytes, source: Source) -> Keys:
    resource = arrival.resource
    own = next((text for text in _own_ids(arrival) if 0 < len(text) <= _LONGEST_ID), "")
    return Keys(
        control_id=own or _digest(raw),
        sender=source.name,
        message_type=arrival.message_type,
        version=source.release,
        sent_at=text_at(resource, "meta", "lastUpdated") or text_at(resource, "timestamp"),
    )


def _own_ids(arrival: Arrival) -> Iterator[str]:
    """What the sender calls this message, the most telling first; texts may be empty."""
    resource = arrival.resource
    yield text_at(resource, "identifier", "value")
    header = header_of(resource)
    if header is not None:
        yield text_at(header, "id")
    identifier, version = text_at(resource, "id"), text_at(resource, "meta", "versionId")
    yield f"{arrival.type}/{identifier}/_history/{version}" if identifier and version else ""


def _digest(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"
