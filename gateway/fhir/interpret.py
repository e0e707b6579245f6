"""What a body means: the resource that it is, what the mapping made of each order in it, and its keys."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from gateway.fhir.auth import Source
from gateway.fhir.classify import Arrival, entries_of, read_arrival, resource_of, text_at
from gateway.fhir.references import graph
from gateway.mapping.fhir_paths import Graph, Resource
from gateway.mapping.registry import NOT_MEANT, Modules
from gateway.mapping.service_request import carried, patient_reference
from gateway.model.errors import Malformed
from gateway.model.message import Interpretation, Keys
from gateway.model.order import Mapped

UNREADABLE, NOT_HANDLED, OUR_FAULT = "102", "200", "207"
"""Source: HL7 table 0357: data type error, unsupported message type, application internal error."""

NO_ORDER = "there is no order in it: no ServiceRequest, Task or Appointment"
CARRIED = "a Task of the same message asks for this order"

_LONGEST_ID = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """A body and its meaning. `outcomes` has what became of each of the arrival's orders, in their order."""

    arrival: Arrival | None  # None: no FHIR resource
    outcomes: tuple[Mapped, ...]
    interpretation: Interpretation


def understand(raw: bytes, source: Source, modules: Modules) -> Understood:
    """What the body means. What is no FHIR resource comes back with the reason, not as an error."""
    try:
        arrival = read_arrival(raw)
    except Malformed as fault:
        return _failed(raw, source, str(fault), UNREADABLE)
    found = graph(arrival.resource)
    passed = carried(found.orders, found.resolve)
    outcomes = tuple(
        Mapped(requests=(), skipped=(CARRIED,), module=None)
        if id(order) in passed
        else _map(order, found, source, modules)
        for order in found.orders
    )
    mapped = _together(outcomes)
    is_meant = not outcomes or mapped.module is not None
    interpretation = Interpretation(
        keys=_keys(arrival, raw, source),
        mapped=mapped,
        failure="" if is_meant else NOT_MEANT,
        failure_code="" if is_meant else NOT_HANDLED,
    )
    return Understood(arrival=arrival, outcomes=outcomes, interpretation=interpretation)


def not_understood(raw: bytes, source: Source) -> Understood:
    """The meaning of a body that we failed to interpret by a fault of our own."""
    return _failed(raw, source, "the gateway failed to interpret the message", OUR_FAULT)


def _failed(raw: bytes, source: Source, failure: str, code: str) -> Understood:
    keys = Keys(control_id=_digest(raw), sender=source.name, version=source.release)
    interpretation = Interpretation(keys=keys, mapped=None, failure=failure, failure_code=code)
    return Understood(arrival=None, outcomes=(), interpretation=interpretation)


def _map(order: Resource, found: Graph, source: Source, modules: Modules) -> Mapped:
    mapped = modules.map_fhir(Graph(orders=(order,), resolve=found.resolve))
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
    first = next(entries_of(resource), None)
    header = resource_of(first) if first is not None else None
    if header is not None and text_at(header, "resourceType") == "MessageHeader":
        yield text_at(header, "id")
    identifier, version = text_at(resource, "id"), text_at(resource, "meta", "versionId")
    yield f"{arrival.type}/{identifier}/_history/{version}" if identifier and version else ""


def _digest(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"
