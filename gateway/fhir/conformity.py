"""Whether what we are about to send is what FHIR allows; what is not leaves without its faulty parts.

The library that checks never touches what is sent: it shortens decimals and rewrites instants.
"""

import logging
from functools import cache
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from gateway.fhir.primitives import Json

log = logging.getLogger(__name__)

_ESSENTIAL = frozenset({"identifier", "status", "subject", "code", "partOf", "derivedFrom"})
_VALUE = "value"
"""What a resource may not lose: without it, it would say something else, or of nobody."""

_PACKAGES = {"R4": "fhir.resources.R4B", "R5": "fhir.resources"}  # R4B has R4's form of all that we send


def faults(resource: Json, release: str) -> tuple[str, ...]:
    """The places where a resource breaks the release's structure; never their values."""
    try:
        _model(resource["resourceType"], release).model_validate(resource)
    except ValidationError as error:
        found = (".".join(str(part) for part in entry["loc"]) for entry in error.errors(include_input=False))
        return tuple(dict.fromkeys(found))
    return ()


def sound(resource: Json, release: str, study: int) -> Json | None:
    """The resource, without those of its elements that are wrong; None when it cannot or may not be without them.

    What was wrong is logged with the `study`'s number.
    """
    places = faults(resource, release)
    if not places:
        return resource
    kind = resource["resourceType"]
    log.error("fhir.invalid", extra={"study": study, "kind": kind, "places": places})
    wrong = {place.partition(".")[0] for place in places}
    if any(name in _ESSENTIAL or name.startswith(_VALUE) for name in wrong):
        return None
    kept = {name: value for name, value in resource.items() if name not in wrong or name == "resourceType"}
    return kept if not faults(kept, release) else None


@cache
def _model(kind: str, release: str) -> Any:
    """Loaded when the first is needed: the models of a release are many."""
    return getattr(import_module(f"{_PACKAGES[release]}.{kind.lower()}"), kind)
