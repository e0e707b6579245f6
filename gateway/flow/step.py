"""One step of an order's life, stored with its evidence. Part of the caller's transaction."""

from dataclasses import replace
from datetime import datetime

from gateway.flow.announce import announce
from gateway.flow.belong import move_after_exam
from gateway.flow.ports import Ports
from gateway.model.audit import AuditEvent
from gateway.model.lifecycle import FINAL, TRANSITIONS, State, Step, next_state
from gateway.model.order import Order
from gateway.store import audit, orders
from gateway.store.database import Tx


def take(
    tx: Tx,
    order: Order,
    step: Step,
    *,
    actor: str,
    evidence: str,
    at: datetime,
    ports: Ports,
    local: tuple[str, str] | None = None,
) -> Order:
    """The order in the state that `step` leads to, with whatever else was changed in `order`; the news is owed.

    `local` is its day and time for a machine's query, when that changes too.

    Raises Conflict when the step is not allowed, or someone else changed the order since it was read.
    """
    moved = orders.save(tx, replace(order, state=next_state(order.state, step), updated_at=at), local)
    record(tx, moved, f"order.{step}", actor, evidence, at)
    if order.state is State.STARTED and moved.state in FINAL:
        moved = move_after_exam(tx, moved, actor, at)
    announce(tx, ports, moved, f"order.{step}", evidence, at)
    return moved


def record(tx: Tx, order: Order, action: str, actor: str, evidence: str, at: datetime) -> None:
    """The action stands in the audit trail; `evidence` names what it rests on ("message:7", "study:3")."""
    event = AuditEvent(at=at, actor=actor, action=action, subject=f"order:{order.id}", detail=evidence)
    audit.record(tx, event)


def refuse(tx: Tx, order: Order, actor: str, evidence: str, at: datetime, ports: Ports) -> None:
    """The order stays as it is, though its sender asked for its end; whoever wants to know that is told."""
    record(tx, order, "order.refuse", actor, evidence, at)
    announce(tx, ports, order, "order.refuse", evidence, at)


def leads_to(step: Step) -> State:
    """The state the step ends in, wherever it begins."""
    return next(state for (_, way), state in TRANSITIONS.items() if way is step)
