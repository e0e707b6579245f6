"""Appoint: what a schedule says of an order that is known. Part of the receiving transaction."""

from dataclasses import replace

from gateway.flow import step
from gateway.flow.announce import announce
from gateway.flow.belong import VAGUE, vaguely_named
from gateway.flow.occasion import Occasion, released
from gateway.flow.order_of_news import newest
from gateway.flow.ports import Release
from gateway.model.lifecycle import FINAL, State, Step
from gateway.model.order import Order, OrderRequest
from gateway.store import orders, patients
from gateway.store.patients import Known

NOT_THAT_DAY = "no order of that day is for the patient who arrived"

_START = "ScheduledProcedureStepStartDateTime"
_UNSTARTED = frozenset({State.HELD, State.SCHEDULED, State.SENT, State.EXPIRED})
_EXPECTED = frozenset({State.HELD, State.SCHEDULED, State.SENT})
_GONE = frozenset({State.CANCELLED, State.DISCONTINUED, State.EXPIRED})


def unschedule(occasion: Occasion, order: Order) -> Order:
    """The order without a time; one that was sent is off its machine's worklist again."""
    if order.state in FINAL - {State.COMPLETED}:
        return order
    if order.state not in _UNSTARTED:
        occasion.doubts.append(f"the appointment of order {order.id} was taken back, but it is {order.state}")
        return order
    attributes = {keyword: value for keyword, value in order.attributes.items() if keyword != _START}
    bare = replace(
        order, attributes=attributes, start=None, has_time=False, appointment="", updated_at=occasion.at,
        told_at=newest(order.told_at, occasion.sent),
    )  # fmt: skip
    if order.state is State.SENT:
        bare = step.take(
            occasion.tx, bare, Step.RECALL, actor=occasion.actor, evidence=occasion.evidence, at=occasion.at,
            ports=occasion.ports, local=("", ""),
        )  # fmt: skip
    else:
        bare = orders.save(occasion.tx, bare, ("", ""))
    step.record(occasion.tx, bare, "order.unschedule", occasion.actor, occasion.evidence, occasion.at)
    return bare


def arrive(occasion: Occasion, order: Order) -> Order:
    """The order of a patient who is here; it is sent now where the site releases on arrival.

    The first arrival counts: a second message about it changes nothing.
    """
    if order.state in _GONE:
        occasion.doubts.append(f"the patient of order {order.id} arrived, but it is {order.state}")
        return order
    if order.arrived_at is not None:
        return order
    here = orders.save(occasion.tx, replace(order, arrived_at=occasion.at, updated_at=occasion.at))
    step.record(occasion.tx, here, "order.arrive", occasion.actor, occasion.evidence, occasion.at)
    announce(occasion.tx, occasion.ports, here, "order.arrive", occasion.evidence, occasion.at)
    return released(occasion, here, Release.ON_ARRIVAL)


def arrived_orders(occasion: Occasion, request: OrderRequest) -> tuple[Order, ...]:
    """The orders that a patient's arrival means, when the message names the patient and no order.

    They are those of the day on which it was sent: one that comes late is of no patient of today.
    """
    patient_id, issuer = request.text("PatientID"), request.text("IssuerOfPatientID")
    known = patients.of_identity(occasion.tx, patient_id, issuer)
    if known is None and any(
        _expected(occasion, other) for other in vaguely_named(occasion.tx, patient_id, issuer)
    ):
        occasion.doubts.append(f"the message names {VAGUE}")
        return ()
    found = _expected(occasion, known) if known is not None else ()
    if not found:
        occasion.passed.append(NOT_THAT_DAY)
    return found


def _expected(occasion: Occasion, known: Known) -> tuple[Order, ...]:
    """The orders of the patient, or of the one who survived him, for the day of the message that are not begun."""
    zone = occasion.ports.zone
    sent_at = min(occasion.sent.first, occasion.at) if occasion.sent else occasion.at
    today = sent_at.astimezone(zone).date()
    person = patients.survivor(occasion.tx, known)
    return tuple(
        order
        for order in orders.of_patient(occasion.tx, person.row, will_change=True)
        if order.state in _EXPECTED and order.start and order.start.astimezone(zone).date() == today
    )
