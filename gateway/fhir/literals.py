"""The literal references in a resource: found, and made to lead elsewhere. Source: FHIR R4 references.html."""

from collections.abc import Iterator, Mapping
from typing import Any


def references(resource: Any) -> Iterator[str]:
    """Every literal reference in it."""
    if isinstance(resource, Mapping):
        literal = resource.get("reference")
        if isinstance(literal, str):
            yield literal
        for value in resource.values():
            yield from references(value)
    elif isinstance(resource, list):
        for value in resource:
            yield from references(value)


def pointed(resource: Any, places: Mapping[str, str]) -> Any:
    """A copy whose references say what `places` has for them; one that it does not have stays.

    What came from outside must have had its depth bounded when it was read.
    """
    if isinstance(resource, Mapping):
        return {
            name: places.get(value, value)
            if name == "reference" and isinstance(value, str)
            else pointed(value, places)
            for name, value in resource.items()
        }
    return [pointed(value, places) for value in resource] if isinstance(resource, list) else resource
