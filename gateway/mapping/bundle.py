"""The orders of a FHIR document at hand: a resource, a Bundle, or a list of resources, with no server behind it."""

from collections.abc import Mapping
from typing import Any

from gateway.mapping.fhir_paths import ORDERS, Graph, Resource
from gateway.mapping.service_request import carried


def read_graph(document: object) -> Graph:
    """The orders of a document; references lead to contained and bundled resources only.

    A ServiceRequest that a Task of the document has in focus is no order of its own.
    """
    resources = tuple(_resources(document))

    def resolve(holder: Resource, reference: Mapping[str, Any]) -> Resource | None:
        wanted = reference.get("reference")
        if not isinstance(wanted, str) or not wanted:
            return None
        if wanted.startswith("#"):
            return _contained(holder, wanted[1:])
        wanted = wanted.partition("/_history/")[0]
        return next((resource for url, resource in resources if _is_meant(wanted, url, resource)), None)

    orders = [resource for _, resource in resources if resource.get("resourceType") in ORDERS]
    passed = carried(orders, resolve)
    return Graph(orders=tuple(order for order in orders if id(order) not in passed), resolve=resolve)


def _resources(document: object) -> list[tuple[str, Resource]]:
    """Every resource at the top of the document, with its full URL when it has one."""
    if isinstance(document, list):
        return [("", resource) for resource in document if isinstance(resource, dict)]
    if not isinstance(document, dict):
        return []
    if document.get("resourceType") != "Bundle":
        return [("", document)]
    entries = document.get("entry")
    found: list[tuple[str, Resource]] = []
    for entry in entries if isinstance(entries, list) else ():
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(resource, dict):
            found.append((str(entry.get("fullUrl") or ""), resource))
    return found


def _contained(holder: Resource, wanted: str) -> Resource | None:
    inside = holder.get("contained")
    candidates = inside if isinstance(inside, list) else []
    return next((c for c in candidates if isinstance(c, dict) and c.get("id") == wanted), None)


def _is_meant(wanted: str, url: str, resource: Resource) -> bool:
    """Source: FHIR R4 bundle, 2.36.4.1 resolving references."""
    if wanted == url or (url and "/" in wanted and url.endswith(f"/{wanted}")):
        return True
    return wanted == f"{resource.get('resourceType')}/{resource.get('id')}"
