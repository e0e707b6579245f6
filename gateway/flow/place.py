"""Place: what a message asks becomes new, changed or ended orders. Part of the receiving transaction."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from gateway.flow import step
from gateway.flow.again import made_by, paired
from gateway.flow.anew import is_asked_anew
from gateway.flow.announce import withdraw
from gateway.flow.appoint import arrive, arrived_orders, unschedule
from gateway.flow.belong import is_same_person
from gateway.flow.merge import merge
from gateway.flow.occasion import (
    Occasion,
    known_orders,
    meant,
    named_orders,
    names_order,
    names_step,
    numbers,
    released,
    text_of,
)
from gateway.flow.order_of_news import newest, read_sent
from gateway.flow.person import lock_patients, person_of
from gateway.flow.ports import Ports
from gateway.flow.renew import update_patient
from gateway.flow.schedule import read_start
from gateway.flow.study_uid import kept_study_uid, new_study_uid
from gateway.model.ids import MergeId, MessageId, OrderId
from gateway.model.lifecycle import FINAL, State, Step, is_allowed
from gateway.model.order import WITHDRAWN, Action, Attributes, Fault, Order, OrderRequest, Severity, Value
from gateway.store import orders
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

_NUMBERED = frozenset({"AccessionNumber", "RequestedProcedureID", "ScheduledProcedureStepID"})
"""What an order number stands in for where a message has none."""

_REQUIRED_MISSING, _UNKNOWN_KEY = "101", "204"  # Source: HL7 table 0357


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

    Two requests of one message never meet the same order, but for one that was over before: that takes every step.
    `replays` is the message whose earlier run this one takes the place of: orders made by that run are changed, not
    made once more.
    """
    asked = (request for request in requests if request.action is not Action.IGNORE)
    wanted = tuple(
        sorted(asked, key=lambda request: request.action in _APPOINTMENTS)
    )  # an order first, then its time
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
    appointed = set[
        OrderId
    ]()  # of the appointments in one message each is for an order, or a step, of its own
    own = paired(occasion, wanted)
    for number, request in enumerate(wanted):
        earlier = own.get(number, ())
        is_alone = len(wanted) == 1 or sum(_names_the_same(request, other) for other in wanted) == 1
        is_appointment = request.action in _APPOINTMENTS
        met = (
            appointed if is_appointment else {it.id for it in touched.values() if not _was_over(occasion, it)}
        )
        for order in _placed(occasion, request, earlier, frozenset(met), is_alone=is_alone):
            touched[order.id] = order
            if is_appointment:
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
    if request.action not in _APPOINTMENTS and request.action not in _STEPS:
        return _told(occasion, request, found, named, is_alone=is_alone)
    theirs = [stranger for order in found if (stranger := _stranger(occasion, request, order))]
    if theirs:
        occasion.doubts.extend(f"{text}: nothing was changed" for text in theirs)
        return ()
    if request.action in _APPOINTMENTS:
        return _appointed(occasion, request, found, touched, is_alone=is_alone)
    return _ended(occasion, request, found, named, is_alone=is_alone or request.module == WITHDRAWN)


def _names_the_same(one: OrderRequest, other: OrderRequest) -> bool:
    return (*numbers(one), one.service_request) == (*numbers(other), other.service_request)


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
        return (_create(occasion, request, named),)
    if is_alone and not names_step(request) and len(_open(found)) > 1:
        found = _open(found)
        attributes = {key: value for key, value in request.attributes.items() if key not in _OF_A_STEP}
        request = replace(request, attributes=attributes)
    else:
        found = found[:1]
    return tuple(_change(occasion, request, order) for order in found if not occasion.is_late(order))


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
    return tuple(_change(occasion, request, order) for order in these if not occasion.is_late(order))


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
        return (_create(occasion, request, named, gone),) if has_mark else ()
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


def _create(
    occasion: Occasion, request: OrderRequest, named: Iterable[Order], state: State | None = None
) -> Order:
    """A new order; `named` are those that carry one of its numbers."""
    attributes = _merged({}, request.attributes)
    start = read_start(attributes, occasion.ports.zone)
    person = person_of(occasion, request, attributes, None)
    held = request.severity in (Severity.HOLD, Severity.REJECT) or request.action is Action.HOLD
    order = _filled(
        Order(
            id=OrderId(0),
            source=occasion.source,
            patient_row=person.row,
            patient=person.patient,
            accession="", placer="", filler="", procedure_id="", step_id="", modality="", station="",
            description="", priority="", referring="", service_request="", subject="",
            study_uid=new_study_uid(occasion, person.attributes, person.row, named),
            state=state or (State.HELD if held else State.SCHEDULED),
            start=start.instant,
            has_time=start.has_time,
            attributes=person.attributes,
            faults=request.faults,
            module=request.module,
            message_id=occasion.message_id,
            arrived_at=None,
            sent_at=None,
            sent_by="",
            created_at=occasion.at,
            updated_at=occasion.at,
            version=1,
            told_at=newest(None, occasion.sent),
        ),
        request,
    )  # fmt: skip
    stored = orders.add(occasion.tx, order, start.local, request.provenance)
    step.record(occasion.tx, stored, f"order.{stored.state}", occasion.actor, occasion.evidence, occasion.at)
    if person.is_merged:
        step.record(occasion.tx, stored, "order.redirect", occasion.actor, occasion.evidence, occasion.at)
    return released(occasion, stored)


def _change(occasion: Occasion, request: OrderRequest, known: Order) -> Order:
    if known.state in FINAL:
        text = f"a change was asked for order {known.id}, which is {known.state}: nothing was changed"
        occasion.doubts.append(text)
        return known
    if stranger := _stranger(occasion, request, known):
        return _left_alone(occasion, known, f"{stranger}: the order stays what it was")
    attributes = _merged(known.attributes, _told_anew(request, known))
    faults = (*_kept(request, known), *_standing(request, attributes))
    start = read_start(attributes, occasion.ports.zone)
    person = person_of(occasion, request, attributes, known)
    changed = replace(
        known,
        patient=person.patient,
        patient_row=person.row,
        study_uid=kept_study_uid(occasion, known, person.attributes),
        start=start.instant,
        has_time=start.has_time,
        attributes=person.attributes,
        faults=faults,
        module=request.module,
        message_id=occasion.message_id,
        updated_at=occasion.at,
        told_at=newest(known.told_at, occasion.sent),
    )
    keeps_day = start.instant is None and known.start is None  # a sent one has the day it was sent
    local = None if keeps_day else start.local
    stored = orders.save(occasion.tx, _filled(changed, request), local, request.provenance)
    step.record(occasion.tx, stored, "order.change", occasion.actor, occasion.evidence, occasion.at)
    if stored.study_uid != known.study_uid:
        withdraw(occasion.tx, occasion.ports, known, occasion.evidence, occasion.at)
    if request.action is Action.RESCHEDULE:
        stored = released(occasion, stored) if known.start is None else stored
        if known.state is State.HELD and not _is_doubtful(known.faults):
            return stored  # held because its sender asked for that, which no appointment takes back
    return _rehung(occasion, request, stored)


def _left_alone(occasion: Occasion, known: Order, text: str) -> Order:
    """The order with nothing of what the message says; held where that can be, for a person must say whose it is."""
    doubt = Fault(
        severity=Severity.HOLD, keyword="PatientID", place=None, code=_UNKNOWN_KEY, text=text, at=""
    )
    occasion.doubts.append(text)
    if not is_allowed(known.state, Step.HOLD) and known.state is not State.HELD:
        return known
    doubtful = replace(
        known, faults=(*(f for f in known.faults if f != doubt), doubt), updated_at=occasion.at
    )
    if known.state is State.HELD:
        return orders.save(occasion.tx, doubtful)
    return step.take(
        occasion.tx, doubtful, Step.HOLD, actor=occasion.actor, evidence=occasion.evidence, at=occasion.at,
        ports=occasion.ports,
    )  # fmt: skip


def _rehung(occasion: Occasion, request: OrderRequest, order: Order) -> Order:
    """The order held or let go, as its faults and the sender now say."""
    in_doubt = request.action is Action.HOLD or _is_doubtful(order.faults)
    if in_doubt and is_allowed(order.state, Step.HOLD):
        wanted = Step.HOLD
    elif not in_doubt and is_allowed(order.state, Step.ACCEPT):
        wanted = Step.ACCEPT
    else:
        return order
    moved = step.take(
        occasion.tx, order, wanted, actor=occasion.actor, evidence=occasion.evidence, at=occasion.at,
        ports=occasion.ports,
    )  # fmt: skip
    return released(occasion, moved)


def _merged(old: Attributes, new: Attributes) -> Attributes:
    """What is known now: an absent value keeps the old one, "" deletes it. Source: IHE ITI TF-2 Appendix C."""
    merged: dict[str, Value] = {**old, **new}
    return {keyword: value for keyword, value in merged.items() if value != ""}


def _told_anew(request: OrderRequest, known: Order) -> Attributes:
    """What the request tells of the order.

    A number of the order in the place of one it has already tells nothing; nor does a FHIR order tell the time that
    its appointment has.
    """
    filler, placer, _ = numbers(request)
    tells_nothing = {keyword for keyword in _NUMBERED if request.text(keyword) in (filler, placer)}
    if known.appointment and request.action is not Action.RESCHEDULE:
        tells_nothing.add("ScheduledProcedureStepStartDateTime")
    return {
        keyword: value
        for keyword, value in request.attributes.items()
        if keyword not in tells_nothing or not known.attributes.get(keyword)
    }


def _is_doubtful(faults: Iterable[Fault]) -> bool:
    return any(fault.severity is Severity.HOLD for fault in faults)


def _kept(request: OrderRequest, known: Order) -> tuple[Fault, ...]:
    """The faults of the order that an appointment says nothing about; any other change says it all anew."""
    if request.action is not Action.RESCHEDULE:
        return ()
    return tuple(fault for fault in known.faults if fault.keyword not in request.attributes)


def _standing(request: OrderRequest, attributes: Attributes) -> tuple[Fault, ...]:
    """The faults that remain: what a change leaves out, the order may already have."""
    return tuple(f for f in request.faults if f.code != _REQUIRED_MISSING or f.keyword not in attributes)


def _stranger(occasion: Occasion, request: OrderRequest, known: Order) -> str:
    """What to say when the request names another patient than the order has; "" when it does not."""
    is_own = known.id in {order.id for order in occasion.own}
    if is_own and known.state in (State.HELD, State.SCHEDULED):
        return ""  # nothing but this message made it, and nobody has begun with it
    theirs, issuer = request.text("PatientID"), request.text("IssuerOfPatientID")
    if not theirs or not known.patient.patient_id:
        return ""
    if is_same_person(occasion.tx, known.patient_row, theirs, issuer):
        return ""
    return f"the message names another patient than order {known.id} has"


def _filled(order: Order, request: OrderRequest) -> Order:
    """The order with its columns as its attributes say."""
    attributes = order.attributes
    accession = text_of(attributes, "AccessionNumber")
    # A machine the receptionist chose stays chosen when a later message names none.
    station = text_of(attributes, "ScheduledStationAETitle").split("\\")[0] or order.station
    return replace(
        order,
        accession=accession,
        placer=text_of(attributes, "PlacerOrderNumberImagingServiceRequest"),
        filler=text_of(attributes, "FillerOrderNumberImagingServiceRequest"),
        # Machines need one, and the accession number names the procedure where nothing else does.
        procedure_id=text_of(attributes, "RequestedProcedureID") or accession[:16],
        step_id=text_of(attributes, "ScheduledProcedureStepID") or order.step_id,
        modality=text_of(attributes, "Modality"),
        station=order.station if order.state is State.SENT else station,
        description=text_of(attributes, "RequestedProcedureDescription")
        or text_of(attributes, "ScheduledProcedureStepDescription"),
        priority=text_of(attributes, "RequestedProcedurePriority"),
        referring=text_of(attributes, "ReferringPhysicianName"),
        service_request=request.service_request or order.service_request,
        subject=request.subject or order.subject,
        encounter=request.encounter or order.encounter,
        appointment=request.address if request.action is Action.RESCHEDULE else order.appointment,
    )
