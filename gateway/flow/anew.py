"""Anew: an order that its own sender took back and then asked for again. Part of the receiving transaction."""

from collections.abc import Iterable

from gateway.flow.occasion import Occasion
from gateway.model.lifecycle import State, Step
from gateway.model.order import Action, Order, OrderRequest
from gateway.store import audit


def is_asked_anew(occasion: Occasion, request: OrderRequest, known: Iterable[Order]) -> bool:
    """Whether a ServiceRequest that its sender took back is active in a newer version.

    A final state has no way out, so that this is another order. One that a person cancelled here stays cancelled.
    """
    if request.action is not Action.SCHEDULE or not request.address.startswith("ServiceRequest/"):
        return False
    return all(
        order.state is State.CANCELLED
        and order.service_request == request.service_request
        and _is_newer(occasion, order)
        and _was_taken_back(occasion, order)
        for order in known
    )


def _is_newer(occasion: Occasion, order: Order) -> bool:
    return occasion.sent is not None and order.told_at is not None and occasion.sent.first > order.told_at


def _was_taken_back(occasion: Occasion, order: Order) -> bool:
    trail = audit.of_subject(occasion.tx, f"order:{order.id}")
    ends = [event.actor for event in trail if event.action == f"order.{Step.CANCEL}"]
    return bool(ends) and ends[-1] == f"fhir:{order.source}"
