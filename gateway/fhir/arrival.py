"""What came in: an order, a Bundle with orders, news of a subscription, a resource taken back, or no FHIR at all."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.fhir.asked import CREATE, DELETE, UPDATE, Asked, addressed, name_created
from gateway.fhir.classify import (
    BUNDLE,
    address_in,
    check_type,
    entries_of,
    orders_in,
    read_tree,
    resource_of,
    text_at,
    withdrawn_in,
)
from gateway.fhir.envelope import Opened, opened
from gateway.fhir.notification import Notice, notice_in
from gateway.mapping.fhir_paths import ORDERS, Resource
from gateway.model.errors import Malformed
from gateway.model.following import Heard

NAMELESS = "a notification names what changed in a way that cannot be asked for"
SEARCHED = "an entry asks to delete what a search finds, which is not done: nothing was deleted by it"
PATCHED = (
    "an entry asks for a change by PATCH or by an operation, which is not done: nothing was changed by it"
)

_ASKING = frozenset({"transaction", "batch"})
_OFFERED = frozenset({CREATE, UPDATE, DELETE, ""})  # "": collected, and asks for nothing
_LOOKING = frozenset({"GET", "HEAD"})
_CONCERN_US = (*ORDERS, "Patient")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What a request brought."""

    resource: Resource  # {} when it brought none
    type: str  # "ServiceRequest", "Bundle", "Patient" ...; "" when it brought none
    label: str  # what the inbox lists it under: "ServiceRequest", "Bundle/transaction", "DELETE Task"
    bundle_type: str = ""  # "transaction" ...; "" when it is no Bundle
    orders: tuple[Resource, ...] = ()  # each in its newest version, in order, appointments last
    withdrawn: tuple[str, ...] = ()  # "ServiceRequest/9": what its sender took back
    named: tuple[
        str, ...
    ] = ()  # what it names and does not bring: "ServiceRequest/9", or an absolute address
    is_poll: bool = False  # something changed, and it does not say what
    heard: Heard | None = None
    event: str = ""  # what its sender calls it for good
    doubts: tuple[str, ...] = ()
    is_momentary: bool = False  # the same bytes can come again and be news


def read_arrival(raw: bytes, asked: Asked | None = None) -> Arrival:
    """What a body holds, and what the request asked beside it.

    Numbers with a fraction stay decimal: 52.10 is not 52.1. Raises Malformed for what no known sender means anything
    by: no JSON object, no resourceType, nested deeper than classify.MAX_DEPTH, text that no database can keep.
    """
    if asked is not None and asked.method == DELETE:
        return _taken_back(asked.address)
    if not raw:
        return Arrival(resource={}, type="", label="empty", is_poll=True, is_momentary=True)
    inner = opened(read_tree(raw))
    if inner.resource:
        resource = addressed(inner.resource, asked, raw) if asked is not None else inner.resource
        return _brought(name_created(resource, raw), inner)
    if inner.withdrawn:
        return _taken_back(inner.withdrawn, event=inner.event)
    label = "notification" if inner.named else "notification/handshake"
    named = (inner.named,) if _concerns_us(inner.named) else ()
    return Arrival(
        resource={}, type="", label=label, named=named, event=inner.event, is_momentary=not inner.named
    )


def _taken_back(address: str, event: str = "") -> Arrival:
    if not address_in(address):
        raise Malformed("what was deleted has no id")
    kind = address.partition("/")[0]
    return Arrival(
        resource={},
        type=kind,
        label=f"DELETE {kind}",
        withdrawn=(address,),
        event=event,
        is_momentary=not event,
    )


def _brought(resource: Resource, inner: Opened) -> Arrival:
    kind = text_at(resource, "resourceType")
    check_type(resource)
    if kind != BUNDLE:
        return Arrival(
            resource=resource, type=kind, label=kind, orders=orders_in(resource), event=inner.event
        )
    notice = notice_in(resource)
    if notice is not None:
        return _notified(resource, notice)
    bundle_type = text_at(resource, "type")
    return Arrival(
        resource=resource,
        type=kind,
        bundle_type=bundle_type,
        label=f"{kind}/{bundle_type}" if bundle_type else kind,
        orders=orders_in(resource),
        withdrawn=withdrawn_in(resource),
        event=inner.event,
        doubts=tuple(dict.fromkeys(_undone(resource))),
    )


def is_offered(entry: Mapping[str, Any], bundle_type: str) -> bool:
    """Whether what a Bundle entry asks is done here; only a transaction or batch asks for more than it brings.

    Source: FHIR R4 http.html: conditional delete, batch/transaction; the request in a history tells what happened.
    """
    method, url = text_at(entry, "request", "method"), text_at(entry, "request", "url")
    if method == DELETE and "?" in url:
        return False
    is_operation = "$" in url.partition("?")[0]
    return bundle_type not in _ASKING or (method in _OFFERED and not is_operation)


def _undone(bundle: Resource) -> Iterator[str]:
    """What a person must know of changes that were asked for and not made."""
    for entry in entries_of(bundle):
        method = text_at(entry, "request", "method")
        if method not in _LOOKING and not is_offered(entry, text_at(bundle, "type")):
            yield SEARCHED if method == DELETE else PATCHED


def _notified(bundle: Resource, notice: Notice) -> Arrival:
    withdrawn = withdrawn_in(bundle)
    there = frozenset(filter(_concerns_us, (*withdrawn, *_addresses(bundle))))
    wanted = tuple(notice.focuses) if notice.is_of_events else ()
    named = [name for focus in wanted if (name := _named(focus)) and address_in(name) not in there]
    nameless = any(not _named(focus) for focus in wanted)
    return Arrival(
        resource=bundle,
        type=BUNDLE,
        bundle_type=text_at(bundle, "type"),
        label=f"notification/{notice.heard.kind[:40]}",
        orders=orders_in(bundle),
        withdrawn=withdrawn,
        named=tuple(dict.fromkeys(name for name in named if _concerns_us(name))),
        is_poll=notice.is_of_events and notice.is_bare and not there,
        heard=notice.heard,
        event=notice.event,
        doubts=(NAMELESS,) if nameless else (),
        is_momentary=not notice.is_of_events,
    )


def _addresses(bundle: Resource) -> Iterator[str]:
    for entry in entries_of(bundle):
        resource = resource_of(entry)
        if resource is not None:
            yield f"{text_at(resource, 'resourceType')}/{text_at(resource, 'id')}"


def _named(focus: Mapping[str, Any]) -> str:
    """What a focus can be asked for by; "" when by nothing. Source: FHIR R4 references.html."""
    literal = text_at(focus, "reference").partition("/_history/")[0]
    if literal:
        return literal if address_in(literal) else ""
    kind, value = text_at(focus, "type"), text_at(focus, "identifier", "value")
    if not value or not kind.isascii() or not kind.isalpha():
        return ""
    return f"{kind}?identifier={text_at(focus, 'identifier', 'system')}|{value}"


def _concerns_us(name: str) -> bool:
    found = address_in(name) or name
    return found.partition("?")[0].partition("/")[0] in _CONCERN_US
