"""The order as a message tells it: made, or changed. Part of the receiving transaction."""

from collections.abc import Iterable
from dataclasses import replace

from gateway.flow import step
from gateway.flow.announce import renamed
from gateway.flow.belong import is_same_person
from gateway.flow.occasion import Occasion, numbers, released, text_of
from gateway.flow.order_of_news import newest
from gateway.flow.person import person_of
from gateway.flow.schedule import read_start
from gateway.flow.study_uid import kept_study_uid, new_study_uid
from gateway.model.ids import OrderId
from gateway.model.lifecycle import FINAL, State, Step, is_allowed
from gateway.model.order import Action, Attributes, Fault, Order, OrderRequest, Severity, Value
from gateway.store import orders

_NUMBERED = frozenset({"AccessionNumber", "RequestedProcedureID", "ScheduledProcedureStepID"})
"""What an order number stands in for where a message has none."""

_REQUIRED_MISSING, _UNKNOWN_KEY = "101", "204"  # Source: HL7 table 0357


def create(
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
        is_merged=person.is_merged,
    )  # fmt: skip
    stored = orders.add(occasion.tx, order, start.local, request.provenance)
    step.record(occasion.tx, stored, f"order.{stored.state}", occasion.actor, occasion.evidence, occasion.at)
    if person.is_merged:
        step.record(occasion.tx, stored, "order.redirect", occasion.actor, occasion.evidence, occasion.at)
    return released(occasion, stored)


def change(occasion: Occasion, request: OrderRequest, known: Order) -> Order:
    """The order with what the request tells of it, held or let go by that.

    One that is over stays what it is, and so does one whose patient the request does not name, which is held.
    """
    if known.state in FINAL:
        text = f"a change was asked for order {known.id}, which is {known.state}: nothing was changed"
        occasion.doubts.append(text)
        return known
    if another := names_another(occasion, request, known):
        return _left_alone(occasion, known, f"{another}: the order stays what it was")
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
    filled = _filled(changed, request, is_merged=person.is_merged)
    stored = orders.save(occasion.tx, filled, local, request.provenance)
    step.record(occasion.tx, stored, "order.change", occasion.actor, occasion.evidence, occasion.at)
    if stored.study_uid != known.study_uid:
        renamed(occasion.tx, occasion.ports, known, stored, occasion.evidence, occasion.at)
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


def names_another(occasion: Occasion, request: OrderRequest, known: Order) -> str:
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


def _filled(order: Order, request: OrderRequest, *, is_merged: bool) -> Order:
    """The order with its columns as its attributes say. With `is_merged` the request names who was given up."""
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
        subject=order.subject if is_merged else request.subject or order.subject,
        encounter=request.encounter or order.encounter,
        appointment=request.address if request.action is Action.RESCHEDULE else order.appointment,
    )
