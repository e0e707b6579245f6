"""Which release of FHIR an order is written in, as far as it shows."""

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.mapping.fhir_paths import Resource

_REFERABLE = {
    "ServiceRequest": ("code", "reason", "location", "bodyStructure"),
    "Task": ("reason", "requestedPerformer"),
    "Appointment": ("reason", "serviceType"),
}
"""Elements that are a CodeableReference, or are not there before R5. Source: FHIR R5, each resource, R4 to R5."""


def release_of(orders: Iterable[Resource], said: str) -> str:
    """ "R5" when one of the orders has a form that only R5 knows, else what the settings say."""
    return "R5" if any(_is_r5(order) for order in orders) else said


def _is_r5(order: Resource) -> bool:
    names = _REFERABLE.get(str(order.get("resourceType")), ())
    return any(_is_codeable_reference(order.get(name)) for name in names)


def _is_codeable_reference(value: Any) -> bool:
    """Its parts are a concept and a Reference; a Reference of R4 has text where that has an object."""
    several = value if isinstance(value, list) else [value]
    return any(
        isinstance(one, Mapping)
        and any(isinstance(one.get(part), Mapping) for part in ("concept", "reference"))
        for one in several
    )
