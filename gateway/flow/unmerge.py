"""Unmerge: a person takes a merge of two patients back."""

from datetime import datetime

from gateway.flow import step
from gateway.flow.announce import announce
from gateway.flow.belong import move
from gateway.flow.ports import Ports
from gateway.model.audit import AuditEvent
from gateway.model.errors import Conflict
from gateway.model.ids import MergeId
from gateway.model.lifecycle import State
from gateway.model.merge import Merge, Relinked
from gateway.model.order import Order
from gateway.store import audit, merges, orders, patients, studies
from gateway.store.database import Tx


def unmerge(ports: Ports, merge_id: MergeId, *, actor: str) -> Merge:
    """The merge, taken back: everything it moved belongs to the prior patient again; what came later stays.

    Raises NotFound, and Conflict with what to do first when it cannot be taken back now.
    """
    with ports.database.write() as tx:
        merge = merges.show(tx, merge_id)
        for patient_id in sorted({merge.prior.patient_id, merge.survivor.patient_id}):
            tx.lock(f"patient {patient_id}")
        merge = merges.show(tx, merge_id)
        moved = _moved(tx, merge, will_change=True)
        _check(tx, merge, moved)
        at = ports.clock()
        patients.merge_into(tx, merge.prior_row, None, at)
        if merge.freed_from is not None:
            patients.merge_into(tx, merge.survivor_row, merge.freed_from, at)
        for linked in merge.moved.studies:
            _unlink(tx, linked, actor, f"merge:{merge_id}", at)
        prior = patients.of_row(tx, merge.prior_row)
        for order in moved:
            back = move(tx, order, prior, at)
            step.record(tx, back, "order.unmerge", actor, f"merge:{merge_id}", at)
            announce(tx, ports, back, "order.unmerge", f"merge:{merge_id}", at)
        merges.undone(tx, merge_id, actor=actor, at=at)
        _record(tx, "patient.unmerge", f"patient:{merge.prior_row}", actor, f"merge:{merge_id}", at)
        return merges.show(tx, merge_id)


def hindrance(tx: Tx, merge: Merge) -> str:
    """Why the merge cannot be taken back now, and what to do first; "" when it can."""
    return _hindrance(tx, merge, _moved(tx, merge))


def _check(tx: Tx, merge: Merge, moved: tuple[Order, ...]) -> None:
    because = _hindrance(tx, merge, moved)
    if because:
        raise Conflict(f"merge {merge.id} cannot be undone: {because}")


def _hindrance(tx: Tx, merge: Merge, moved: tuple[Order, ...]) -> str:
    if merge.undone_at is not None:
        return "it was undone already"
    survivor = patients.of_row(tx, merge.survivor_row)
    if survivor.merged_into is not None:
        later = merges.standing(tx, survivor.row)
        first = f": undo merge {later.id} first" if later is not None else ""
        return f"the patient who stayed was himself merged into another one since{first}"
    if patients.of_row(tx, merge.prior_row).merged_into != merge.survivor_row:
        return "the patient who was given up is not merged any more: look at the merges after it"
    running = [order for order in moved if order.state is State.STARTED]
    if running:
        return f"order {running[0].id} is being examined: undo it when the exam is over"
    return ""


def _moved(tx: Tx, merge: Merge, *, will_change: bool = False) -> tuple[Order, ...]:
    """The orders that the merge moved and that are still where it put them."""
    there = orders.of_patient(tx, merge.survivor_row, will_change=will_change)
    return tuple(order for order in there if order.id in merge.moved.orders)


def _unlink(tx: Tx, linked: Relinked, actor: str, evidence: str, at: datetime) -> None:
    """The images belong to no order again, unless somebody linked them to another one; who knows of them is told."""
    if studies.show(tx, linked.study).order_id == linked.order:
        studies.link(tx, linked.study, None, linked.doubt, at)
        studies.reopen(tx, linked.study)
        _record(tx, "study.unlink", f"study:{linked.study}", actor, evidence, at)


def _record(tx: Tx, action: str, subject: str, actor: str, detail: str, at: datetime) -> None:
    audit.record(tx, AuditEvent(at=at, actor=actor, action=action, subject=subject, detail=detail))
