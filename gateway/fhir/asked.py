"""What a request asks beside its body: a resource taken back, or stored under an address of its own.

It is kept with the message, as "DELETE ServiceRequest/9", so that the message can be read again as it was meant.
"""

import hashlib
from dataclasses import dataclass
from uuid import NAMESPACE_URL, uuid5

from gateway.fhir.classify import entries_of, is_id, resource_of, text_at
from gateway.fhir.literals import pointed
from gateway.mapping.fhir_paths import Resource
from gateway.model.errors import Malformed

CREATE, UPDATE, DELETE = "POST", "PUT", "DELETE"

_OURS = "urn:imaging-order-gateway:created"
_GIVEN = "gw-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A FHIR interaction on one resource. Source: FHIR R4 http.html: create, update, delete."""

    method: str
    type: str
    id: str = ""

    @property
    def address(self) -> str:
        """ "ServiceRequest/9"; the type alone where no id was given."""
        return f"{self.type}/{self.id}" if self.id else self.type

    def __str__(self) -> str:
        return f"{self.method} {self.address}"


def read_asked(text: str) -> Asked | None:
    """The interaction as it was kept with the message; None for one that asked nothing beside its body."""
    method, _, address = text.partition(" ")
    kind, _, own_id = address.partition("/")
    return Asked(method=method, type=kind, id=own_id) if address else None


def addressed(resource: Resource, asked: Asked, raw: bytes) -> Resource:
    """The resource under the id that it was put to, or that it is given when it is created without one.

    A created resource keeps the id that its sender knows it by. Without one it gets an id made of its bytes, so that
    a create that is sent again is the same resource.

    Raises Malformed for an update whose body says that it is another resource. Source: FHIR R4 http.html, update.
    """
    kind, own_id = text_at(resource, "resourceType"), text_at(resource, "id")
    if kind != asked.type:
        if asked.method == CREATE:
            return resource  # the end of an address that a sender was given, and no type
        raise Malformed(f"resourceType: is not {asked.type}, as the address says")
    if asked.method == CREATE:
        return resource if is_id(own_id) else {**resource, "id": _own_name(raw)}
    if not is_id(asked.id):
        raise Malformed("id: the address has none that a resource can be called by")
    if own_id and own_id != asked.id:
        raise Malformed("id: is not the one in the address")
    return {**resource, "id": asked.id}


def is_given_here(address: str) -> bool:
    """Whether the id in "ServiceRequest/gw-..." was given by us: on its sender's own server it names nothing."""
    return address.rpartition("/")[2].startswith(_GIVEN)


def name_created(bundle: Resource, raw: bytes) -> Resource:
    """The transaction with an id for each entry that is to be created without one, and references that lead there.

    Source: FHIR R4 http.html, transaction: the server assigns ids and replaces what refers to the entries' fullUrl.
    """
    entries = [dict(entry) for entry in entries_of(bundle)]
    names: dict[str, str] = {}
    for number, entry in enumerate(entries):
        resource = resource_of(entry)
        if (
            resource is None
            or text_at(entry, "request", "method") != CREATE
            or is_id(text_at(resource, "id"))
        ):
            continue
        own = {**resource, "id": _own_name(raw + str(number).encode())}
        entry["resource"] = own
        if text_at(entry, "fullUrl"):
            names[text_at(entry, "fullUrl")] = f"{text_at(own, 'resourceType')}/{own['id']}"
    if entries == list(entries_of(bundle)):
        return bundle
    return {**bundle, "entry": [pointed(entry, names) for entry in entries]}


def _own_name(raw: bytes) -> str:
    return _GIVEN + str(uuid5(NAMESPACE_URL, f"{_OURS}:{hashlib.sha256(raw).hexdigest()}"))
