"""JSON as senders write it, and the resources, orders and deletions in it.

An order is a ServiceRequest, a Task that asks for one, or an Appointment for one.

The content type never decides: senders label FHIR as text/plain or not at all. No models stand between the body
and the mapping, so what a record system adds of its own is neither refused nor lost.
"""

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from gateway.mapping.fhir_paths import ORDERS, Resource
from gateway.model.errors import Malformed

MAX_DEPTH = 64
BUNDLE = "Bundle"
XML = "the body is XML: let the sender write JSON (Subscription.channel.payload = application/fhir+json)"

_BYTE_ORDER_MARK = "\ufeff"


def read_tree(raw: bytes) -> Resource:
    """The JSON object that the bytes are. Numbers with a fraction stay decimal: 52.10 is not 52.1.

    Raises Malformed for anything else, for one nested deeper than MAX_DEPTH, and for text that no database can keep.
    """
    if raw.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        raise Malformed(XML)
    tree = _read_json(raw)
    if not isinstance(tree, dict):
        raise Malformed("the body is JSON, but no object")
    return tree


def read_resource(raw: bytes) -> Resource:
    """The FHIR resource that the bytes are. Raises Malformed as `read_tree`, and for an object that is no resource."""
    tree = read_tree(raw)
    check_type(tree)
    return tree


def check_type(resource: Resource) -> None:
    """Raises Malformed when the object says of itself no type that a resource could have."""
    kind = text_at(resource, "resourceType")
    if not kind.isascii() or not kind.isalpha() or len(kind) > 64:
        raise Malformed("resourceType: absent, so this is no FHIR resource")


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

    Of several versions of one resource (a history Bundle) only the newest counts; none when it was deleted since.
    """
    if text_at(resource, "resourceType") in ORDERS:
        return (resource,)
    found = [order for order in _newest(resource) if not isinstance(order, str)]
    return tuple(sorted(found, key=_is_appointment))


def withdrawn_in(resource: Resource) -> tuple[str, ...]:
    """ "ServiceRequest/9": the resources that a Bundle says were deleted, and that do not come back in it."""
    return tuple(address for address in _newest(resource) if isinstance(address, str))


def _newest(bundle: Resource) -> list[Resource | str]:
    """The newest word on each order of a Bundle, and on what was deleted: the resource, or its address.

    Source: FHIR R4 http.html, history: a history Bundle has the newest version first, and deletions without resource.
    """
    is_history = text_at(bundle, "type") in ("history", "subscription-notification")
    said = list(_words(bundle))
    homes: dict[str, set[str]] = {}
    for address, home, _ in said:
        homes.setdefault(address, set()).update({home} if home else ())
    newest: dict[tuple[str, str], tuple[int, Resource | str]] = {}
    for number, (address, home, word) in enumerate(said):
        only = next(iter(homes[address])) if len(homes[address]) == 1 else ""
        name = (address, home or only) if address else ("", str(number))
        known = newest.get(name)
        if known is None or _supersedes(word, known[1], is_history):
            newest[name] = (number, word)
    return [word for _, word in sorted(newest.values(), key=lambda pair: pair[0])]


def _words(bundle: Resource) -> Iterator[tuple[str, str, Resource | str]]:
    """Of each entry about an order its address, "" without an id; where it lives, "" when that is not said; and the
    order, or the address of what was deleted."""
    for entry in entries_of(bundle):
        order = resource_of(entry)
        if order is None:
            address = _deleted(entry)
            word: Resource | str = address
        else:
            kind, own = text_at(order, "resourceType"), text_at(order, "id")
            address = f"{kind}/{own}" if own else ""
            word = order if kind in ORDERS else ""
        if word:
            yield address, text_at(entry, "fullUrl").partition("/_history/")[0].removesuffix(address), word


def _deleted(entry: Mapping[str, Any]) -> str:
    """The address of what a Bundle entry deletes, or says was deleted; "" when it does neither."""
    url = text_at(entry, "request", "url")
    if text_at(entry, "request", "method") != "DELETE" or "?" in url:
        return ""
    return address_in(url) or address_in(text_at(entry, "fullUrl"))


def address_in(url: str) -> str:
    """The "ServiceRequest/9" that an address ends in, whatever is before it; "" when it ends in none."""
    rest, _, own_id = url.partition("/_history/")[0].rpartition("/")
    kind = rest.rpartition("/")[2]
    return f"{kind}/{own_id}" if kind.isascii() and kind.isalpha() and is_id(own_id) else ""


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


def _supersedes(order: Resource | str, known: Resource | str, is_history: bool) -> bool:
    """Whether `order`, which stands later in the Bundle, is a newer version than `known`; a text is a deletion."""
    if isinstance(order, str) or isinstance(known, str):
        return not is_history
    ours, theirs = text_at(order, "meta", "versionId"), text_at(known, "meta", "versionId")
    if ours != theirs and _is_number(ours) and _is_number(theirs):
        return int(ours) > int(theirs)
    ours, theirs = text_at(order, "meta", "lastUpdated"), text_at(known, "meta", "lastUpdated")
    if ours and theirs and ours != theirs:
        return ours > theirs
    return not is_history


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20
