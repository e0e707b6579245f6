"""Merge: two identifiers are one patient. Part of the receiving transaction; `unmerge` takes it back."""

from gateway.flow import step
from gateway.flow.announce import announce
from gateway.flow.belong import VAGUE, move, vaguely_named
from gateway.flow.keep import link_again
from gateway.flow.occasion import Occasion
from gateway.flow.order_of_news import newest
from gateway.model.audit import AuditEvent
from gateway.model.ids import MergeId, OrderId
from gateway.model.lifecycle import FINAL, State
from gateway.model.merge import Moved, Relinked
from gateway.model.order import OrderRequest, Severity
from gateway.model.patient import Patient
from gateway.store import audit, merges, orders, patients, studies
from gateway.store.patients import Known

SELF = "both identifiers of the merge are the same"
DONE = "the two patients of the merge are one here already"
ELSEWHERE = "the patient who is given up was merged into another one before: a person must settle it"
LEFT = "orders under the same identifier without an issuer, or with one the merge leaves out, were not moved"


def merge(occasion: Occasion, request: OrderRequest) -> None:
    """The orders and studies of the prior patient are the survivor's, unless a doubt or a reason against it is noted.

    Who was given up stays known, so that what still names him goes to the survivor.
    """
    doubts = [str(fault) for fault in request.faults if fault.severity is not Severity.WARN]
    prior_id, prior_issuer = request.text("PriorPatientID"), request.text("PriorIssuerOfPatientID")
    patient_id, issuer = request.text("PatientID"), request.text("IssuerOfPatientID")
    if doubts:
        occasion.doubts.extend(doubts)
        return
    if prior_id == patient_id and (prior_issuer == issuer or not prior_issuer or not issuer):
        occasion.passed.append(SELF)
        return
    if vaguely_named(occasion.tx, prior_id, prior_issuer) or vaguely_named(occasion.tx, patient_id, issuer):
        occasion.doubts.append(f"the merge names {VAGUE}")
        return
    prior = _found_or_made(
        occasion, Patient(patient_id=prior_id, issuer=prior_issuer, name="", birth_date="", sex="")
    )
    named = _found_or_made(occasion, _told(request, prior.patient))
    _carry_out(occasion, request, prior, named)


def _carry_out(occasion: Occasion, request: OrderRequest, prior: Known, named: Known) -> None:
    now = patients.survivor(occasion.tx, named)
    freed_from = None
    if now.row == prior.row:  # turned round: who was given up before is the one who stays
        freed_from = named.merged_into
        patients.merge_into(occasion.tx, named.row, None, occasion.at)
        now = named
    elif patients.survivor(occasion.tx, prior).row == now.row:
        occasion.passed.append(DONE)
        return
    elif prior.merged_into is not None:
        occasion.doubts.append(ELSEWHERE)
        return
    now = _renewed(occasion, request, now)
    merge_id = merges.add(
        occasion.tx,
        at=occasion.at,
        message_id=occasion.message_id,
        prior=prior.row,
        survivor=now.row,
        freed_from=freed_from,
    )
    patients.merge_into(occasion.tx, prior.row, now.row, occasion.at)
    merges.write_moved(occasion.tx, merge_id, _moved(occasion, merge_id, prior, now))
    _record(occasion, "patient.merge", f"patient:{prior.row}", f"into patient:{now.row} merge:{merge_id}")
    occasion.merges.append(merge_id)
    if _has_twin_orders(occasion, prior):
        occasion.doubts.append(LEFT)


def _has_twin_orders(occasion: Occasion, prior: Known) -> bool:
    """Whether orders stay under the same identifier without an issuer."""
    twin = patients.of_identity(occasion.tx, prior.patient.patient_id, "")
    return twin is not None and twin.row != prior.row and bool(orders.of_patient(occasion.tx, twin.row))


def _found_or_made(occasion: Occasion, patient: Patient) -> Known:
    known = patients.of_identity(occasion.tx, patient.patient_id, patient.issuer)
    return known or patients.of_row(occasion.tx, patients.save(occasion.tx, patient, occasion.at))


def _told(request: OrderRequest, before: Patient) -> Patient:
    """The survivor as the message names him, with what it leaves out taken from who he was before."""

    def now(keyword: str, was: str) -> str:
        return request.text(keyword) if keyword in request.attributes else was

    return Patient(
        patient_id=request.text("PatientID"),
        issuer=request.text("IssuerOfPatientID"),
        name=now("PatientName", before.name),
        birth_date=now("PatientBirthDate", before.birth_date),
        sex=now("PatientSex", before.sex),
    )


def _renewed(occasion: Occasion, request: OrderRequest, survivor: Known) -> Known:
    """The survivor, and his orders, with what the message says of him, unless something newer is known."""
    told = _told(request, survivor.patient)
    is_his = (told.patient_id, told.issuer) == (survivor.patient.patient_id, survivor.patient.issuer)
    if not is_his or (occasion.sent is not None and occasion.sent.is_older(survivor.told_at)):
        return survivor
    patients.write(occasion.tx, survivor, told, occasion.at, newest(None, occasion.sent))
    now = patients.of_row(occasion.tx, survivor.row)
    if told != survivor.patient:
        for order in orders.of_patient(occasion.tx, survivor.row, will_change=True):
            if order.state not in FINAL:
                renewed = move(occasion.tx, order, now, occasion.at)
                step.record(
                    occasion.tx, renewed, "order.patient", occasion.actor, occasion.evidence, occasion.at
                )
    return now


def _moved(occasion: Occasion, merge_id: MergeId, prior: Known, survivor: Known) -> Moved:
    """What the merge moved. An order that is being examined keeps the patient its machine knows until the end."""
    done: list[OrderId] = []
    waiting: list[OrderId] = []
    for order in orders.of_patient(occasion.tx, prior.row, will_change=True):
        detail = f"{occasion.evidence} merge:{merge_id}"
        if order.state is State.STARTED:
            waiting.append(order.id)
            step.record(occasion.tx, order, "order.merge-waits", occasion.actor, detail, occasion.at)
        else:
            done.append(order.id)
            moved = move(occasion.tx, order, survivor, occasion.at)
            step.record(occasion.tx, moved, "order.merge", occasion.actor, detail, occasion.at)
            announce(occasion.tx, occasion.ports, moved, "order.merge", occasion.actor, occasion.at)
    return Moved(
        orders=tuple(done), waiting=tuple(waiting), studies=_relinked(occasion, merge_id, prior, survivor)
    )


def _relinked(occasion: Occasion, merge_id: MergeId, prior: Known, survivor: Known) -> tuple[Relinked, ...]:
    """The studies whose order is known now that the two are one."""
    found = []
    ids = {prior.patient.patient_id, survivor.patient.patient_id}
    for study in studies.without_order(occasion.tx, sorted(ids)):
        order_id = link_again(occasion.tx, occasion.ports, study, actor=occasion.actor, at=occasion.at)
        if order_id is not None:
            found.append(Relinked(study=study.id, order=order_id, doubt=study.doubt))
            detail = f"order:{order_id} {occasion.evidence} merge:{merge_id}"
            _record(occasion, "study.link", f"study:{study.id}", detail)
    return tuple(found)


def _record(occasion: Occasion, action: str, subject: str, detail: str) -> None:
    event = AuditEvent(at=occasion.at, actor=occasion.actor, action=action, subject=subject, detail=detail)
    audit.record(occasion.tx, event)
