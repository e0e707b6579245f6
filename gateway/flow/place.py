"""Place: what a message asks becomes new, changed or ended orders. Part of the receiving transaction."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from gateway.flow import step
from gateway.flow.again import made_by, paired
from gateway.flow.anew import is_asked_anew
from gateway.flow.appoint import arrive, arrived_orders, unschedule
from gateway.flow.merge import merge
from gateway.flow.occasion import (
    Occasion,
    known_orders,
    meant,
    named_orders,
    names_order,
    names_step,
    numbers,
)
from gateway.flow.order_as_told import change, create, names_another
from gateway.flow.order_of_news import newest, read_sent
from gateway.flow.person import lock_patients
from gateway.flow.ports import Ports
from gateway.flow.renew import update_patient
from gateway.model.ids import MergeId, MessageId, OrderId
from gateway.model.lifecycle import FINAL, State, Step, is_allowed
from gateway.model.order import WITHDRAWN, Action, Order, OrderRequest, Severity
from gateway.store.database import Tx

_STEPS = {
    Action.CANCEL: Step.CANCEL,
    Action.DISCONTINUE: Step.DISCONTINUE,
    Action.START: Step.START,
    Action.COMPLETE: Step.COMPLETE,
}
_APPOINTMENTS = frozenset({Action.RESCHEDULE, Action.UNSCHEDULE, Action.ARRIVE})
_OF_A_STEP = frozenset(
    {
        "Modality",
        "ScheduledProcedureStepDescription",
        "ScheduledProcedureStepID",
        "ScheduledProcedureStepLocation",
        "ScheduledProtocolCodeSequence",
        "ScheduledStationAETitle",
        "ScheduledStationName",
    }
)
"""What the steps of one order do not share, even where the order as a whole has something that stands in for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """The orders that a message made or changed, what a person must look at, and why parts were passed over."""

    orders: tuple[Order, ...]
    doubts: tuple[str, ...]
    passed: tuple[str, ...]
    merges: tuple[MergeId, ...] = ()  # those the message carried out, whether they moved anything or not


def place(
    tx: Tx,
    ports: Ports,
    requests: Iterable[OrderRequest],
    *,
    source: str,
    message_id: MessageId,
    actor: str,
    at: datetime,
    sent_at: str = "",
    replays: MessageId | None = None,
) -> Placed:
    """What became of the requests, in their order. `sent_at` is when the message was sent, as its sender wrote it.

    Two requests of one message never meet the same order, but for one that was over before, which takes every step;
    appointments, of which each has an order or step of its own too, meet those that the message made or changed.
    `replays` is the message whose earlier run this one takes the place of: orders made by that run are changed, not
    made once more.
    """
    asked = (request for request in requests if request.action is not Action.IGNORE)
    wanted = tuple(sorted(asked, key=_is_appointment))  # an order comes before its time
    lock_patients(tx, wanted)
    occasion = Occasion(
        tx=tx,
        ports=ports,
        source=source,
        message_id=message_id,
        actor=actor,
        at=at,
        sent=read_sent(sent_at, ports.zone, at),
        own=made_by(tx, replays),
    )
    touched: dict[OrderId, Order] = {}
    appointed: set[OrderId] = set()
    own = paired(occasion, wanted)
    for number, request in enumerate(wanted):
        earlier = own.get(number, ())
        is_alone = len(wanted) == 1 or sum(_is_for_the_same(request, other) for other in wanted) == 1
        met = {order.id for order in touched.values() if not _was_over(occasion, order)}
        taken = frozenset(appointed if _is_appointment(request) else met)
        for order in _placed(occasion, request, earlier, taken, is_alone=is_alone):
            touched[order.id] = order
            if _is_appointment(request):
                appointed.add(order.id)
            if order.state is State.HELD:
                occasion.doubts.extend(str(f) for f in order.faults if f.severity is Severity.HOLD)
    return Placed(
        orders=tuple(touched.values()),
        doubts=tuple(dict.fromkeys(occasion.doubts)),
        passed=tuple(dict.fromkeys(occasion.passed)),
        merges=tuple(occasion.merges),
    )


def _placed(
    occasion: Occasion,
    request: OrderRequest,
    earlier: tuple[Order, ...],
    touched: frozenset[OrderId],
    *,
    is_alone: bool,
) -> tuple[Order, ...]:
    """The orders that the request made or changed. `is_alone`: nothing else in the message is for its order.

    `earlier` has the order that an earlier run of the message made for a request whose numbers lead to none.
    """
    if request.action is Action.UPDATE_PATIENT:
        return update_patient(occasion, request)
    if request.action is Action.MERGE:
        merge(occasion, request)
        return ()
    if occasion.is_overtaken(request):
        return ()
    return _of_order(occasion.of(request), request, earlier, touched, is_alone=is_alone)


def _of_order(
    occasion: Occasion,
    request: OrderRequest,
    earlier: tuple[Order, ...],
    touched: frozenset[OrderId],
    *,
    is_alone: bool,
) -> tuple[Order, ...]:
    """What became of the orders that the request means."""
    named = named_orders(occasion, request)
    found = meant(named, request, touched) or earlier
    if not _is_appointment(request) and request.action not in _STEPS:
        return _told(occasion, request, found, named, is_alone=is_alone)
    theirs = [text for order in found if (text := names_another(occasion, request, order))]
    if theirs:
        occasion.doubts.extend(f"{text}: nothing was changed" for text in theirs)
        return ()
    if _is_appointment(request):
        return _appointed(occasion, request, found, touched, is_alone=is_alone)
    return _ended(occasion, request, found, named, is_alone=is_alone or request.module == WITHDRAWN)


def _is_appointment(request: OrderRequest) -> bool:
    return request.action in _APPOINTMENTS


def _is_for_the_same(one: OrderRequest, other: OrderRequest) -> bool:
    """Whether both name the same order, and both or neither its appointment."""
    named = [(*numbers(it), it.service_request, _is_appointment(it)) for it in (one, other)]
    return named[0] == named[1]


def _was_over(occasion: Occasion, order: Order) -> bool:
    """Whether the order had ended before this message, which then changed nothing about it."""
    return order.state in FINAL and order.message_id != occasion.message_id


def _told(
    occasion: Occasion,
    request: OrderRequest,
    found: tuple[Order, ...],
    named: tuple[Order, ...],
    *,
    is_alone: bool,
) -> tuple[Order, ...]:
    """The orders that were made or changed; none when the message is older than what is stored of them.

    What names no step and stands alone is for every step, and leaves each what is its own.
    """
    if request.service_request:
        found = _open(found)
    if not found or is_asked_anew(occasion, request, found):
        return (create(occasion, request, named),)
    if is_alone and not names_step(request) and len(_open(found)) > 1:
        found = _open(found)
        attributes = {key: value for key, value in request.attributes.items() if key not in _OF_A_STEP}
        request = replace(request, attributes=attributes)
    else:
        found = found[:1]
    return tuple(change(occasion, request, order) for order in found if not occasion.is_late(order))


def _appointed(
    occasion: Occasion,
    request: OrderRequest,
    found: tuple[Order, ...],
    touched: frozenset[OrderId],
    *,
    is_alone: bool,
) -> tuple[Order, ...]:
    """The orders whose appointment was made, moved, taken back or kept.

    An appointment that stands alone is for every step of its order; of several, each is for the next step.
    """
    if request.action is Action.ARRIVE and not names_order(request):
        return tuple(arrive(occasion, order) for order in arrived_orders(occasion, request))
    if not found:
        if not touched & {order.id for order in known_orders(occasion, request)}:
            occasion.doubts.append(f"'{request.action}' was asked for an order that is not known here")
        return ()
    open_ones = _open(found)
    if request.action is Action.ARRIVE:  # whoever is here is here, however late the message
        return tuple(arrive(occasion, order) for order in open_ones)
    if request.action is Action.UNSCHEDULE:
        return tuple(
            unschedule(occasion, order)
            for order in open_ones
            if _is_its_appointment(occasion, request, order) and not occasion.is_late(order)
        )
    these = open_ones if is_alone else open_ones[:1]
    return tuple(change(occasion, request, order) for order in these if not occasion.is_late(order))


def _is_its_appointment(occasion: Occasion, request: OrderRequest, order: Order) -> bool:
    """Whether the order has its time from that appointment, as far as is known."""
    if request.address and order.appointment not in ("", request.address):
        occasion.passed.append("the order has its time from another appointment")
        return False
    return True


def _ended(
    occasion: Occasion,
    request: OrderRequest,
    found: tuple[Order, ...],
    named: tuple[Order, ...],
    *,
    is_alone: bool,
) -> tuple[Order, ...]:
    """The orders that took the step asked for. One that names no step and stands alone is for every step."""
    wanted = _STEPS[request.action]
    if not found and (request.module == WITHDRAWN or _is_done_elsewhere(request)):
        occasion.passed.append("what has ended is no order that is known here")
        return ()
    if not found:
        occasion.doubts.append(f"'{wanted}' was asked for an order that is not known here")
        # A mark for an end that overtook its order: the late order must not appear on a machine.
        gone = step.leads_to(wanted)
        has_mark = wanted in (Step.CANCEL, Step.DISCONTINUE) and any(numbers(request))
        return (create(occasion, request, named, gone),) if has_mark else ()
    open_ones = _open(found)
    these = open_ones if is_alone and not names_step(request) else open_ones[:1]
    return tuple(_end(occasion, order, wanted) for order in these if not _is_undone(occasion, order, wanted))


def _is_undone(occasion: Occasion, order: Order, wanted: Step) -> bool:
    """Whether the end asked for is older than what is stored. What happened at the machine stays true."""
    return wanted in (Step.CANCEL, Step.DISCONTINUE) and occasion.is_late(order)


def _end(occasion: Occasion, known: Order, wanted: Step) -> Order:
    if not is_allowed(known.state, wanted):
        if step.leads_to(wanted) is not known.state:
            occasion.doubts.append(f"'{wanted}' was asked for order {known.id}, which is {known.state}")
            step.refuse(occasion.tx, known, occasion.actor, occasion.evidence, occasion.at, occasion.ports)
        return known
    told_at = newest(known.told_at, occasion.sent)
    changed = replace(known, message_id=occasion.message_id, told_at=told_at)
    return step.take(
        occasion.tx, changed, wanted, actor=occasion.actor, evidence=occasion.evidence, at=occasion.at,
        ports=occasion.ports,
    )  # fmt: skip


def _is_done_elsewhere(request: OrderRequest) -> bool:
    """Whether a FHIR order comes as completed: nothing can be done about one that was never seen."""
    return bool(request.address) and request.action is Action.COMPLETE


def _open(found: tuple[Order, ...]) -> tuple[Order, ...]:
    """Those that something can still happen to; all, when it can to none."""
    return tuple(order for order in found if order.state not in FINAL) or found
