"""When a Task speaks for the ServiceRequest that came with it, and what its own end means."""

from gateway.fhir.auth import Source
from gateway.fhir.classify import text_at
from gateway.fhir.holding import Known
from gateway.fhir.ownership import ANOTHERS, is_for_another
from gateway.mapping.fhir_paths import Graph, Resource
from gateway.mapping.registry import Modules
from gateway.mapping.service_request import is_to_abort
from gateway.model.lifecycle import FINAL
from gateway.model.order import Action, Mapped
from gateway.store import orders

ABORT_GONE = "a request to take an order back was taken back itself: nothing was asked"

_NOT_YET_OR_DONE = frozenset({"draft", "completed"})
"""Source: FHIR R4 ValueSet task-status."""


def speaks(task: Resource, address: str, mapped: Mapped, known: Known | None) -> bool:
    """Whether the Task, which means `mapped`, speaks for its ServiceRequest, so that this is heard no more.

    One that asks for something does. One that is for something else than its order does not. One that asks for
    nothing, or somebody else, never keeps news from an order that is open here.
    """
    if any(request.action is not Action.IGNORE for request in mapped.requests):
        return True
    is_anothers = ANOTHERS in mapped.skipped
    if not mapped.requests and not is_anothers:
        return False
    has_ended = _has_ended(address, known)
    if has_ended is not None:
        return has_ended
    return is_anothers or text_at(task, "status") in _NOT_YET_OR_DONE


def _has_ended(address: str, known: Known | None) -> bool | None:
    """Whether every order here of that ServiceRequest has ended; None when there is none."""
    if known is None:
        return None
    with known.database.read() as tx:
        here = orders.of_request(tx, known.source, address)
    return all(order.state in FINAL for order in here) if here else None


def asked_nothing(resource: Resource, source: Source, modules: Modules) -> str:
    """Why nothing ends when a Task or Appointment is taken back that asked for nothing; "" when it did ask."""
    mapped = modules.map_fhir(Graph(orders=(resource,), resolve=lambda *_: None))
    if not mapped.requests:
        return "; ".join(mapped.skipped)
    if is_for_another(resource, source):
        return ANOTHERS
    return ABORT_GONE if text_at(resource, "resourceType") == "Task" and is_to_abort(resource) else ""
