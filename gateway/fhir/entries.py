"""The payload of a delivery taken apart: the resources it tells of, and how they refer to one another.

A payload is a transaction Bundle whose entries are PUT to `Type?identifier=system|value`; older outboxes hold the
ImagingStudy alone. Source: FHIR R4 bundle.html, http.html (transaction, conditional update).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.fhir.exact import encode_exact, read_exact
from gateway.fhir.imaging_study import KIND, identifier_of
from gateway.fhir.literals import references
from gateway.model.delivery import Delivery
from gateway.model.errors import Refused

_PATIENT = frozenset({"subject", "patient"})
_PRIVATE = frozenset({"value", "display", "reference", "family"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A resource that is to be on the server."""

    full_url: str  # what other entries call it
    kind: str  # "ImagingStudy"
    query: str  # what finds it there, encoded: "identifier=urn:dicom:uid%7Curn:oid:1.2"
    resource: Mapping[str, Any]

    @property
    def address(self) -> str:
        """ "ImagingStudy?identifier=...": where a conditional update goes."""
        return f"{self.kind}?{self.query}"


def read_entries(delivery: Delivery) -> tuple[Entry, ...]:
    """The resources of the payload, each behind those that it refers to. Raises Refused for another payload."""
    return _in_order(tuple(_entries(delivery)))


def transaction_of(delivery: Delivery) -> bytes:
    """The payload as a transaction Bundle; its bytes are untouched. Raises Refused for another payload."""
    tree = _tree(delivery)
    if tree.get("resourceType") == "Bundle":
        return delivery.payload
    name = encode_exact(f"urn:oid:{delivery.key}")
    request = encode_exact({"method": "PUT", "url": f"{KIND}?{_study_query(delivery)}"})
    before = b'{"resourceType":"Bundle","type":"transaction","entry":[{"fullUrl":'
    return before + name + b',"resource":' + delivery.payload + b',"request":' + request + b"}]}"


def study_of(delivery: Delivery, entries: tuple[Entry, ...]) -> Entry:
    """The entry of the study itself. Raises Refused when there is none."""
    query = _study_query(delivery)
    studies = [entry for entry in entries if entry.kind == KIND]
    found = next((entry for entry in studies if entry.query == query), studies[0] if studies else None)
    if found is None:
        raise Refused("the delivery tells of no study")
    return found


def without_patient(text: str, delivery: Delivery) -> str:
    """What a server said, without what the delivery says of the patient: servers like to repeat it."""
    try:
        tree = read_exact(delivery.payload)
    except (ValueError, RecursionError):
        return text
    for word in sorted(set(_of_patient(tree)), key=len, reverse=True):
        text = text.replace(word, "…") if len(word) > 2 else text
    return text


def _of_patient(tree: Any, is_patient: bool = False) -> Iterator[str]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            if is_patient and name in _PRIVATE and isinstance(value, str):
                yield value
            else:
                yield from _of_patient(value, is_patient or name in _PATIENT)
    elif isinstance(tree, list):
        for value in tree:
            yield from _of_patient(value, is_patient)


def _entries(delivery: Delivery) -> Iterator[Entry]:
    tree = _tree(delivery)
    if tree.get("resourceType") == KIND:
        yield Entry(
            full_url=f"urn:oid:{delivery.key}", kind=KIND, query=_study_query(delivery), resource=tree
        )
        return
    for entry in tree.get("entry", ()):
        kind, _, query = entry["request"]["url"].partition("?")
        yield Entry(full_url=entry.get("fullUrl", ""), kind=kind, query=query, resource=entry["resource"])


def _tree(delivery: Delivery) -> Mapping[str, Any]:
    """Raises Refused."""
    try:
        tree = read_exact(delivery.payload)
    except (ValueError, RecursionError):
        tree = None
    if not isinstance(tree, dict) or tree.get("resourceType") not in ("Bundle", KIND):
        raise Refused("the delivery holds no FHIR Bundle")
    return tree


def _study_query(delivery: Delivery) -> str:
    return f"identifier={identifier_of(delivery.key)}"


def _in_order(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Each behind those it refers to, else as they stand. Raises Refused for a circle."""
    waits = {entry.full_url: set(references(entry.resource)) - {entry.full_url} for entry in entries}
    waiting, ready = list(entries), list[Entry]()
    while waiting:
        owed = {entry.full_url for entry in waiting}
        free = [entry for entry in waiting if not waits[entry.full_url] & owed]
        if not free:
            raise Refused("the resources refer to one another in a circle")
        ready += free
        waiting = [entry for entry in waiting if entry not in free]
    return tuple(ready)
