"""Whose a Task is: one that is for somebody else is no order of ours."""

from gateway.fhir.auth import Source
from gateway.fhir.classify import text_at
from gateway.mapping.fhir_paths import Resource

ANOTHERS = "a task for somebody else (Task.owner)"


def is_for_another(order: Resource, source: Source) -> bool:
    """Whether it is a Task whose owner is none of `source.owners`; never where they or the owner are not named.

    Source: FHIR R4 Task.owner; HL7 Clinical Order Workflows: the owner is who fulfils it.
    """
    if text_at(order, "resourceType") != "Task" or not source.owners:
        return False
    literal = text_at(order, "owner", "reference").partition("/_history/")[0]
    address = literal.removeprefix(f"{source.base_url}/") if source.base_url else literal
    value = text_at(order, "owner", "identifier", "value")
    token = f"{text_at(order, 'owner', 'identifier', 'system')}|{value}" if value else ""
    names = {name for name in (literal, address, token) if name}
    return bool(names) and names.isdisjoint(source.owners)
