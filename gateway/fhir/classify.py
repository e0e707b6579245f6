"""What a body is: an order, a Bundle with orders, another resource, or no FHIR at all.

An order is a ServiceRequest, a Task that asks for one, or an Appointment for one.

The content type never decides: senders label FHIR as text/plain or not at all. No models stand between the body
and the mapping, so what a record system adds of its own is neither refused nor lost.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gateway.mapping.fhir_paths import ORDERS, Resource
from gateway.model.errors import Malformed

MAX_DEPTH = 64
BUNDLE = "Bundle"

_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A resource that came in."""

    resource: Resource
    type: str  # "ServiceRequest", "Bundle", "Patient" ...
    bundle_type: str  # "transaction" ...; "" when it is no Bundle
    orders: tuple[Resource, ...]  # each in its newest version, in order, appointments last

    @property
    def message_type(self) -> str:
        """What the inbox lists it under: "ServiceRequest", "Bundle/transaction"."""
        return f"{self.type}/{self.bundle_type}" if self.type == BUNDLE and self.bundle_type else self.type


def read_arrival(raw: bytes) -> Arrival:
    """What `raw` holds. Numbers with a fraction stay decimal: 52.10 is not 52.1.

    Raises Malformed for what is no JSON object with a resourceType, is nested deeper than MAX_DEPTH, or holds
    text that no database can keep.
    """
    tree = _read_json(raw)
    if not isinstance(tree, dict):
        raise Malformed("the body is JSON, but no object")
    kind = tree.get("resourceType")
    if not isinstance(kind, str) or not kind.isascii() or not kind.isalpha() or len(kind) > 64:
        raise Malformed("resourceType: absent, so this is no FHIR resource")
    return Arrival(
        resource=tree,
        type=kind,
        bundle_type=text_at(tree, "type") if kind == BUNDLE else "",
        orders=orders_in(tree),
    )


def header_of(resource: Resource) -> Resource | None:
    """The MessageHeader of a message Bundle, which is its first entry; None for anything else.

    Source: FHIR R4 messaging.html.
    """
    first = next(entries_of(resource), None)
    header = resource_of(first) if first is not None else None
    is_header = header is not None and text_at(header, "resourceType") == "MessageHeader"
    return header if is_header else None


def orders_in(resource: Resource) -> tuple[Resource, ...]:
    """The ServiceRequests, Tasks and Appointments of a resource, in order; Appointments come last, for they move
    orders that may stand behind them.

    Of several versions of one resource (a history Bundle) only the newest counts. Source: FHIR R4 http.html,
    history: a history Bundle has the newest version first.
    """
    if text_at(resource, "resourceType") in ORDERS:
        return (resource,)
    is_history = text_at(resource, "type") == "history"
    newest: dict[str, tuple[int, Resource]] = {}
    for number, entry in enumerate(entries_of(resource)):
        order = resource_of(entry)
        kind = text_at(order, "resourceType") if order is not None else ""
        if order is None or kind not in ORDERS:
            continue
        own = text_at(order, "id")
        name = f"{text_at(entry, 'fullUrl')} {kind}/{own}" if own else f"#{number}"
        known = newest.get(name)
        if known is None or _supersedes(order, known[1], is_history):
            newest[name] = (number, order)
    found = [order for _, order in sorted(newest.values(), key=lambda pair: pair[0])]
    return tuple(sorted(found, key=_is_appointment))


def entries_of(resource: Resource) -> Iterator[Mapping[str, Any]]:
    """The entries of a Bundle, whatever its type; nothing for another resource. Odd entries come as empty ones."""
    entries = resource.get("entry") if text_at(resource, "resourceType") == BUNDLE else None
    for entry in entries if isinstance(entries, list) else ():
        yield entry if isinstance(entry, dict) else {}


def resource_of(entry: Mapping[str, Any]) -> Resource | None:
    """The resource of a Bundle entry, None when it has none."""
    resource = entry.get("resource")
    return resource if isinstance(resource, dict) else None


def text_at(element: Mapping[str, Any], *names: str) -> str:
    """The text under the names, one inside the other; "" when there is none."""
    value: Any = element
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def is_id(text: str) -> bool:
    """Whether a resource can be asked for by it. Source: FHIR R4 datatypes.html, id."""
    return 0 < len(text) <= 64 and text.isascii() and all(c.isalnum() or c in "-." for c in text)


def _is_appointment(order: Resource) -> bool:
    return text_at(order, "resourceType") == "Appointment"


def _read_json(raw: bytes) -> Any:
    try:
        text = raw.decode("utf-8").removeprefix(_BYTE_ORDER_MARK)
        tree = json.loads(text, parse_float=Decimal, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise Malformed("the body is not UTF-8 text") from None
    except (ValueError, ArithmeticError):
        raise Malformed("the body is not JSON") from None
    except RecursionError:
        raise Malformed(f"the body is nested deeper than {MAX_DEPTH} levels") from None
    _check(tree)
    return tree


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _check(tree: Any) -> None:
    """Depth and text are within bounds; walks without recursion. Raises Malformed."""
    level = [tree]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(value)
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
            elif isinstance(value, str) and not _is_storable(value):
                raise Malformed("a text holds a character that is none: NUL or half of a pair")
        if not below:
            return
        level = below
    raise Malformed(f"the body is nested deeper than {MAX_DEPTH} levels")


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return "\0" not in text


def _supersedes(order: Resource, known: Resource, is_history: bool) -> bool:
    """Whether `order`, which stands later in the Bundle, is a newer version than `known`."""
    ours, theirs = text_at(order, "meta", "versionId"), text_at(known, "meta", "versionId")
    if ours != theirs and _is_number(ours) and _is_number(theirs):
        return int(ours) > int(theirs)
    ours, theirs = text_at(order, "meta", "lastUpdated"), text_at(known, "meta", "lastUpdated")
    if ours and theirs and ours != theirs:
        return ours > theirs
    return not is_history


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20
