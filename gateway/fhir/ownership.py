"""Whose a Task is, and whose an address: what is somebody else's is no order of ours."""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.fhir.auth import Source
from gateway.fhir.classify import address_in, text_at
from gateway.mapping.fhir_paths import Graph, Resource
from gateway.mapping.service_request import leading

ANOTHERS = "a task for somebody else (Task.owner)"


def is_for_another(order: Resource, source: Source) -> bool:
    """Whether it is a Task for none of `source.owners`; never where they, or whom it is for, are not named.

    Source: FHIR R4 Task.owner; HL7 Clinical Order Workflows: the owner is who fulfils it.
    """
    if text_at(order, "resourceType") != "Task" or not source.owners:
        return False
    names = {name for reference in _fulfillers(order) for name in _names(reference, source) if name}
    return bool(names) and names.isdisjoint(source.owners)


def asks_elsewhere(order: Resource, found: Graph, source: Source) -> bool:
    """Whether a Task or Appointment is about a ServiceRequest of another server that is not in the message either.

    Ours with the same id is another order. Source: FHIR R4 references.html, literal references.
    """
    reference = leading(order)
    return is_foreign(text_at(reference, "reference"), source) and found.resolve(order, reference) is None


def is_foreign(reference: str, source: Source) -> bool:
    """Whether an absolute reference leads to another server than the sender's: its id means nothing there."""
    if not reference.startswith(("http://", "https://")):
        return False
    return not source.base_url or not reference.startswith(f"{source.base_url}/")


def _fulfillers(task: Resource) -> Iterator[Mapping[str, Any]]:
    """The owner, and in R5 the organizations that were asked to perform it or do. A device or a person may be ours.

    Source: FHIR R5 Task.requestedPerformer (CodeableReference), Task.performer.actor.
    """
    owner = task.get("owner")
    if isinstance(owner, dict):
        yield owner
    for name, part in (("requestedPerformer", "reference"), ("performer", "actor")):
        several = task.get(name)
        for one in several if isinstance(several, list) else ():
            reference = one.get(part) if isinstance(one, dict) else None
            if isinstance(reference, dict) and _is_organization(reference):
                yield reference


def _is_organization(reference: Mapping[str, Any]) -> bool:
    kind = address_in(text_at(reference, "reference")).partition("/")[0] or text_at(reference, "type")
    return kind == "Organization"


def _names(reference: Mapping[str, Any], source: Source) -> tuple[str, ...]:
    """What the reference calls whom it means: as written, in the sender's base, by identifier; some may be empty."""
    literal = text_at(reference, "reference").partition("/_history/")[0]
    address = literal.removeprefix(f"{source.base_url}/") if source.base_url else literal
    value = text_at(reference, "identifier", "value")
    token = f"{text_at(reference, 'identifier', 'system')}|{value}" if value else ""
    return literal, address, token
