"""Which version of a ServiceRequest counts: a Bundle that comes late brings an old one beside a new Task."""

from collections.abc import Mapping
from typing import Any

from gateway.fhir.auth import Source
from gateway.fhir.classify import text_at
from gateway.fhir.exact import read_exact
from gateway.fhir.holding import Known, held_of
from gateway.fhir.ownership import is_foreign
from gateway.mapping.fhir_paths import Graph, Resource
from gateway.model.resource import is_older
from gateway.store import resources


def with_newest(found: Graph, source: Source, known: Known) -> Graph:
    """The same orders; a reference to a ServiceRequest leads to the newer version that is held, where one is."""

    def resolve(holder: Resource, reference: Mapping[str, Any]) -> Resource | None:
        resource = found.resolve(holder, reference)
        is_ours = not is_foreign(text_at(reference, "reference"), source)
        if resource is None or not is_ours or text_at(resource, "resourceType") != "ServiceRequest":
            return resource
        return _newer(resource, known) or resource

    return Graph(orders=found.orders, resolve=resolve)


def _newer(request: Resource, known: Known) -> Resource | None:
    """The version that is held when that of `request` is older. Source: FHIR R4 resource.html, meta."""
    with known.database.read() as tx:
        held = resources.of(tx, known.source, "ServiceRequest", text_at(request, "id"))
    if held is None or held.is_deleted:
        return None
    ours = held_of(known.source, request, held.at)
    tree = read_exact(held.body) if ours is not None and is_older(ours, held) else None
    return tree if isinstance(tree, dict) else None
