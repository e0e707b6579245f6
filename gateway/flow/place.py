"""Place: what a message asks becomes new, changed or ended orders. Part of the receiving transaction."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from gateway.flow import step
from gateway.flow.appoint import arrive, arrived_orders, unschedule
from gateway.flow.occasion import Occasion, known_orders, names_order, released, text_of
from gateway.flow.ports import Ports
from gateway.flow.renew import merge, update_patient
from gateway.flow.schedule import read_start
from gateway.model.ids import MessageId, OrderId, Uid, is_uid
from gateway.model.lifecycle import FINAL, State, Step, is_allowed
from gateway.model.order import Action, Attributes, Fault, Order, OrderRequest, Severity, Value
from gateway.model.patient import Patient
from gateway.store import orders, patients, studies
from gateway.store.database import Tx

_STEPS = {
    Action.CANCEL: Step.CANCEL,
    Action.DISCONTINUE: Step.DISCONTINUE,
    Action.START: Step.START,
    Action.COMPLETE: Step.COMPLETE,
}
_APPOINTMENTS = frozenset({Action.RESCHEDULE, Action.UNSCHEDULE, Action.ARRIVE})
_REQUIRED_MISSING = "101"  # Source: HL7 table 0357


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """The orders that a message made or changed, what a person must look at, and why parts were passed over."""

    orders: tuple[Order, ...]
    doubts: tuple[str, ...]
    passed: tuple[str, ...]


def place(
    tx: Tx,
    ports: Ports,
    requests: Iterable[OrderRequest],
    *,
    source: str,
    message_id: MessageId,
    actor: str,
    at: datetime,
) -> Placed:
    """What became of the requests, in their order.

    Two requests of one message never meet the same order.
    """
    occasion = Occasion(tx=tx, ports=ports, source=source, message_id=message_id, actor=actor, at=at)
    wanted = tuple(request for request in requests if request.action is not Action.IGNORE)
    touched: dict[OrderId, Order] = {}
    for request in wanted:
        for order in _placed(occasion, request, frozenset(touched), is_alone=len(wanted) == 1):
            touched[order.id] = order
            if order.state is State.HELD:
                occasion.doubts.extend(str(f) for f in order.faults if f.severity is Severity.HOLD)
    return Placed(
        orders=tuple(touched.values()),
        doubts=tuple(dict.fromkeys(occasion.doubts)),
        passed=tuple(dict.fromkeys(occasion.passed)),
    )


def _placed(
    occasion: Occasion, request: OrderRequest, touched: frozenset[OrderId], *, is_alone: bool
) -> tuple[Order, ...]:
    """The orders that the request made or changed. `is_alone`: it is the only one of its message."""
    if request.action is Action.UPDATE_PATIENT:
        return update_patient(occasion, request)
    if request.action is Action.MERGE:
        merge(occasion, request)
        return ()
    found = known_orders(occasion, request, touched)
    if request.action in _APPOINTMENTS:
        return _appointed(occasion, request, found, touched, is_alone=is_alone)
    known = found[0] if found else None
    if request.action in _STEPS:
        order = _end(occasion, request, known)
    else:
        order = _change(occasion, request, known) if known else _create(occasion, request)
    return (order,) if order else ()


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
    open_ones = tuple(order for order in found if order.state not in FINAL) or found
    if request.action is Action.UNSCHEDULE:
        return tuple(unschedule(occasion, order) for order in open_ones)
    if request.action is Action.ARRIVE:
        return tuple(arrive(occasion, order) for order in open_ones)
    return tuple(_change(occasion, request, order) for order in (open_ones if is_alone else open_ones[:1]))


def _end(occasion: Occasion, request: OrderRequest, known: Order | None) -> Order | None:
    wanted = _STEPS[request.action]
    if known is None:
        occasion.doubts.append(f"'{wanted}' was asked for an order that is not known here")
        has_number = any(
            request.text(k) for k in ("FillerOrderNumberImagingServiceRequest", "AccessionNumber")
        )
        # A mark for a cancel that overtook its order: the late order must not appear on a machine.
        return _create(occasion, request, State.CANCELLED) if wanted is Step.CANCEL and has_number else None
    if not is_allowed(known.state, wanted):
        if step.leads_to(wanted) is not known.state:
            occasion.doubts.append(f"'{wanted}' was asked for order {known.id}, which is {known.state}")
        return known
    changed = replace(known, message_id=occasion.message_id)
    return step.take(
        occasion.tx, changed, wanted, actor=occasion.actor, evidence=occasion.evidence, at=occasion.at
    )


def _create(occasion: Occasion, request: OrderRequest, state: State | None = None) -> Order:
    attributes = _merged({}, request.attributes)
    start = read_start(attributes, occasion.ports.zone)
    patient = _patient(occasion.tx, attributes, request.attributes)
    held = request.severity in (Severity.HOLD, Severity.REJECT) or request.action is Action.HOLD
    order = _filled(
        Order(
            id=OrderId(0),
            source=occasion.source,
            patient_row=patients.save(occasion.tx, patient, occasion.at),
            patient=patient,
            accession="", placer="", filler="", procedure_id="", step_id="", modality="", station="",
            description="", priority="", referring="", service_request="", subject="",
            study_uid=_study_uid(occasion, attributes),
            state=state or (State.HELD if held else State.SCHEDULED),
            start=start.instant,
            has_time=start.has_time,
            attributes=attributes,
            faults=request.faults,
            module=request.module,
            message_id=occasion.message_id,
            arrived_at=None,
            sent_at=None,
            sent_by="",
            created_at=occasion.at,
            updated_at=occasion.at,
            version=1,
        ),
        request,
    )  # fmt: skip
    stored = orders.add(occasion.tx, order, start.local, request.provenance)
    step.record(occasion.tx, stored, f"order.{stored.state}", occasion.actor, occasion.evidence, occasion.at)
    return released(occasion, stored)


def _change(occasion: Occasion, request: OrderRequest, known: Order) -> Order:
    if known.state in FINAL:
        text = f"a change was asked for order {known.id}, which is {known.state}: nothing was changed"
        occasion.doubts.append(text)
        return known
    attributes = _merged(known.attributes, request.attributes)
    faults = (
        *_kept(request, known),
        *_standing(request, attributes),
        *_contradictions(occasion, request, known),
    )
    start = read_start(attributes, occasion.ports.zone)
    patient = known.patient if any(f.keyword == "PatientID" for f in faults) else None
    if patient is None:
        patient = _patient(occasion.tx, attributes, request.attributes)
        row = patients.save(occasion.tx, patient, occasion.at)
    else:
        attributes, row = {**attributes, "PatientID": patient.patient_id}, known.patient_row
    changed = replace(
        known,
        patient=patient,
        patient_row=row,
        study_uid=_kept_uid(occasion, known, attributes),
        start=start.instant,
        has_time=start.has_time,
        attributes=attributes,
        faults=faults,
        module=request.module,
        message_id=occasion.message_id,
        updated_at=occasion.at,
    )
    keeps_day = start.instant is None and known.start is None  # a sent one has the day it was sent
    local = None if keeps_day else start.local
    stored = orders.save(occasion.tx, _filled(changed, request), local, request.provenance)
    step.record(occasion.tx, stored, "order.change", occasion.actor, occasion.evidence, occasion.at)
    if request.action is Action.RESCHEDULE:
        stored = released(occasion, stored) if known.start is None else stored
        if known.state is State.HELD and not _is_doubtful(known.faults):
            return stored  # held because its sender asked for that, which no appointment takes back
    return _rehung(occasion, request, stored)


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
        occasion.tx, order, wanted, actor=occasion.actor, evidence=occasion.evidence, at=occasion.at
    )
    return released(occasion, moved)


def _merged(old: Attributes, new: Attributes) -> Attributes:
    """What is known now: an absent value keeps the old one, "" deletes it. Source: IHE ITI TF-2 Appendix C."""
    merged: dict[str, Value] = {**old, **new}
    return {keyword: value for keyword, value in merged.items() if value != ""}


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


def _contradictions(occasion: Occasion, request: OrderRequest, known: Order) -> tuple[Fault, ...]:
    theirs = request.text("PatientID")
    if theirs and known.patient.patient_id and theirs != known.patient.patient_id:
        text = f"the message names another patient than order {known.id} has: the order keeps its patient"
        return (Fault(severity=Severity.HOLD, keyword="PatientID", place=None, code="204", text=text, at=""),)
    return ()


def _patient(tx: Tx, attributes: Attributes, valued: Attributes) -> Patient:
    """The patient, with what the message leaves out taken from what is known of the same identifier."""
    patient_id, issuer = text_of(attributes, "PatientID"), text_of(attributes, "IssuerOfPatientID")
    known = patients.find(tx, patient_id, issuer) if patient_id else None
    before = known[1] if known else None

    def now(keyword: str, was: str) -> str:
        return text_of(attributes, keyword) if keyword in valued or not was else was

    return Patient(
        patient_id=patient_id,
        issuer=issuer,
        name=now("PatientName", before.name if before else ""),
        birth_date=now("PatientBirthDate", before.birth_date if before else ""),
        sex=now("PatientSex", before.sex if before else ""),
    )


def _study_uid(occasion: Occasion, attributes: Attributes) -> Uid:
    """The sender's UID, else that of a sister step of the same requested procedure, else a fresh one."""
    given = text_of(attributes, "StudyInstanceUID")
    if is_uid(given):
        return Uid(given)
    accession, procedure = text_of(attributes, "AccessionNumber"), text_of(attributes, "RequestedProcedureID")
    sisters = orders.known_as(occasion.tx, occasion.source, filler="", placer="", accession=accession)
    for sister in sisters:
        if sister.procedure_id == (procedure or sister.procedure_id) and _is_sister(sister, attributes):
            return sister.study_uid
    return occasion.ports.new_uid()


def _is_sister(order: Order, attributes: Mapping[str, Value]) -> bool:
    return order.patient.patient_id == attributes.get("PatientID", "") and order.state not in FINAL


def _kept_uid(occasion: Occasion, known: Order, attributes: Attributes) -> Uid:
    """The order's UID; the sender's own replaces it only while nothing was stored under the old one."""
    given = text_of(attributes, "StudyInstanceUID")
    if not is_uid(given) or given == known.study_uid:
        return known.study_uid
    return known.study_uid if studies.of_uid(occasion.tx, known.study_uid) else Uid(given)


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
    )
