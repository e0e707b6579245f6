"""Place: what a message asks becomes new, changed or ended orders. Part of the receiving transaction."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from gateway.flow import step
from gateway.flow.ports import Ports, Release
from gateway.flow.release import only_station, sent_day
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
_REQUIRED_MISSING = "101"  # Source: HL7 table 0357


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """The orders that a message made or changed, and what a person must look at."""

    orders: tuple[Order, ...]
    doubts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Occasion:
    """The circumstances all requests of one message share."""

    tx: Tx
    ports: Ports
    source: str
    message_id: MessageId
    actor: str
    at: datetime

    @property
    def evidence(self) -> str:
        return f"message:{self.message_id}"


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

    An order is recognised by the sender's filler, placer or accession number and its step id; two requests of one
    message never meet the same order.
    """
    occasion = _Occasion(tx=tx, ports=ports, source=source, message_id=message_id, actor=actor, at=at)
    touched: list[Order] = []
    doubts: list[str] = []
    for request in requests:
        if request.action is Action.IGNORE:
            continue
        known = _known(occasion, request, {order.id for order in touched})
        if request.action in _STEPS:
            order = _end(occasion, request, known, doubts)
        elif known is None:
            order = _create(occasion, request)
        else:
            order = _change(occasion, request, known, doubts)
        if order is not None:
            touched.append(order)
            if order.state is State.HELD:
                doubts.extend(str(fault) for fault in order.faults if fault.severity is Severity.HOLD)
    return Placed(orders=tuple(touched), doubts=tuple(dict.fromkeys(doubts)))


def _known(occasion: _Occasion, request: OrderRequest, touched: set[OrderId]) -> Order | None:
    found = orders.known_as(
        occasion.tx,
        occasion.source,
        filler=request.text("FillerOrderNumberImagingServiceRequest"),
        placer=request.text("PlacerOrderNumberImagingServiceRequest"),
        accession=request.text("AccessionNumber"),
    )
    same = [order for order in found if order.id not in touched and _is_same(order, request)]
    return same[0] if same else None


def _is_same(order: Order, request: OrderRequest) -> bool:
    """Whether no number that both carry contradicts. A step id of our own making contradicts nothing."""
    step_id = request.text("ScheduledProcedureStepID")
    pairs = (
        (order.filler, request.text("FillerOrderNumberImagingServiceRequest")),
        (order.placer, request.text("PlacerOrderNumberImagingServiceRequest")),
        ("" if order.step_id == f"SPS{order.id}" else order.step_id, step_id),
    )
    return all(not ours or not theirs or ours == theirs for ours, theirs in pairs)


def _end(occasion: _Occasion, request: OrderRequest, known: Order | None, doubts: list[str]) -> Order | None:
    wanted = _STEPS[request.action]
    if known is None:
        doubts.append(f"'{wanted}' was asked for an order that is not known here")
        has_number = any(
            request.text(k) for k in ("FillerOrderNumberImagingServiceRequest", "AccessionNumber")
        )
        # A mark for a cancel that overtook its order: the late order must not appear on a machine.
        return _create(occasion, request, State.CANCELLED) if wanted is Step.CANCEL and has_number else None
    if not is_allowed(known.state, wanted):
        if step.leads_to(wanted) is not known.state:
            doubts.append(f"'{wanted}' was asked for order {known.id}, which is {known.state}")
        return known
    changed = replace(known, message_id=occasion.message_id)
    return step.take(
        occasion.tx, changed, wanted, actor=occasion.actor, evidence=occasion.evidence, at=occasion.at
    )


def _create(occasion: _Occasion, request: OrderRequest, state: State | None = None) -> Order:
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
    return _released(occasion, stored)


def _change(occasion: _Occasion, request: OrderRequest, known: Order, doubts: list[str]) -> Order:
    if known.state in FINAL:
        doubts.append(f"a change was asked for order {known.id}, which is {known.state}: nothing was changed")
        return known
    attributes = _merged(known.attributes, request.attributes)
    faults = _standing(request, attributes) + _contradictions(occasion, request, known)
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
    return _rehung(occasion, request, stored)


def _rehung(occasion: _Occasion, request: OrderRequest, order: Order) -> Order:
    """The order held or let go, as its faults and the sender now say."""
    in_doubt = request.action is Action.HOLD or any(f.severity is Severity.HOLD for f in order.faults)
    if in_doubt and is_allowed(order.state, Step.HOLD):
        wanted = Step.HOLD
    elif not in_doubt and is_allowed(order.state, Step.ACCEPT):
        wanted = Step.ACCEPT
    else:
        return order
    moved = step.take(
        occasion.tx, order, wanted, actor=occasion.actor, evidence=occasion.evidence, at=occasion.at
    )
    return _released(occasion, moved)


def _released(occasion: _Occasion, order: Order) -> Order:
    """The order sent to its machine at once, where the site wants that and the machine is beyond doubt."""
    if occasion.ports.release is not Release.ON_RECEIPT or order.state is not State.SCHEDULED:
        return order
    station = only_station(occasion.ports, order)
    if station is None:
        return order
    ready = replace(order, station=station, sent_at=occasion.at, sent_by=occasion.actor)
    return step.take(
        occasion.tx,
        ready,
        Step.SEND,
        actor=occasion.actor,
        evidence=occasion.evidence,
        at=occasion.at,
        local=sent_day(occasion.ports, order, occasion.at),
    )


def _merged(old: Attributes, new: Attributes) -> Attributes:
    """What is known now: an absent value keeps the old one, "" deletes it. Source: IHE ITI TF-2 Appendix C."""
    merged: dict[str, Value] = {**old, **new}
    return {keyword: value for keyword, value in merged.items() if value != ""}


def _standing(request: OrderRequest, attributes: Attributes) -> tuple[Fault, ...]:
    """The faults that remain: what a change leaves out, the order may already have."""
    return tuple(f for f in request.faults if f.code != _REQUIRED_MISSING or f.keyword not in attributes)


def _contradictions(occasion: _Occasion, request: OrderRequest, known: Order) -> tuple[Fault, ...]:
    theirs = request.text("PatientID")
    if theirs and known.patient.patient_id and theirs != known.patient.patient_id:
        text = f"the message names another patient than order {known.id} has: the order keeps its patient"
        return (Fault(severity=Severity.HOLD, keyword="PatientID", place=None, code="204", text=text, at=""),)
    return ()


def _patient(tx: Tx, attributes: Attributes, valued: Attributes) -> Patient:
    """The patient, with what the message leaves out taken from what is known of the same identifier."""
    patient_id, issuer = _text(attributes, "PatientID"), _text(attributes, "IssuerOfPatientID")
    known = patients.find(tx, patient_id, issuer) if patient_id else None
    before = known[1] if known else None

    def now(keyword: str, was: str) -> str:
        return _text(attributes, keyword) if keyword in valued or not was else was

    return Patient(
        patient_id=patient_id,
        issuer=issuer,
        name=now("PatientName", before.name if before else ""),
        birth_date=now("PatientBirthDate", before.birth_date if before else ""),
        sex=now("PatientSex", before.sex if before else ""),
    )


def _study_uid(occasion: _Occasion, attributes: Attributes) -> Uid:
    """The sender's UID, else that of a sister step of the same requested procedure, else a fresh one."""
    given = _text(attributes, "StudyInstanceUID")
    if is_uid(given):
        return Uid(given)
    accession, procedure = _text(attributes, "AccessionNumber"), _text(attributes, "RequestedProcedureID")
    sisters = orders.known_as(occasion.tx, occasion.source, filler="", placer="", accession=accession)
    for sister in sisters:
        if sister.procedure_id == (procedure or sister.procedure_id) and _is_sister(sister, attributes):
            return sister.study_uid
    return occasion.ports.new_uid()


def _is_sister(order: Order, attributes: Mapping[str, Value]) -> bool:
    return order.patient.patient_id == attributes.get("PatientID", "") and order.state not in FINAL


def _kept_uid(occasion: _Occasion, known: Order, attributes: Attributes) -> Uid:
    """The order's UID; the sender's own replaces it only while nothing was stored under the old one."""
    given = _text(attributes, "StudyInstanceUID")
    if not is_uid(given) or given == known.study_uid:
        return known.study_uid
    return known.study_uid if studies.of_uid(occasion.tx, known.study_uid) else Uid(given)


def _filled(order: Order, request: OrderRequest) -> Order:
    """The order with its columns as its attributes say."""
    attributes = order.attributes
    accession = _text(attributes, "AccessionNumber")
    # A machine the receptionist chose stays chosen when a later message names none.
    station = _text(attributes, "ScheduledStationAETitle").split("\\")[0] or order.station
    return replace(
        order,
        accession=accession,
        placer=_text(attributes, "PlacerOrderNumberImagingServiceRequest"),
        filler=_text(attributes, "FillerOrderNumberImagingServiceRequest"),
        # Machines need one, and the accession number names the procedure where nothing else does.
        procedure_id=_text(attributes, "RequestedProcedureID") or accession[:16],
        step_id=_text(attributes, "ScheduledProcedureStepID") or order.step_id,
        modality=_text(attributes, "Modality"),
        station=order.station if order.state is State.SENT else station,
        description=_text(attributes, "RequestedProcedureDescription")
        or _text(attributes, "ScheduledProcedureStepDescription"),
        priority=_text(attributes, "RequestedProcedurePriority"),
        referring=_text(attributes, "ReferringPhysicianName"),
        service_request=request.service_request or order.service_request,
        subject=request.subject or order.subject,
    )


def _text(attributes: Attributes, keyword: str) -> str:
    value = attributes.get(keyword, "")
    return value if isinstance(value, str) else ""
