"""Perform: what a machine tells of its work is kept and moves the orders it works on, in one transaction.

The order follows what all performed steps of it say together; where the state table has no way, as for an order
that its study's quiet time completed already, only the machine's words are kept.
"""

from collections.abc import Callable, Iterable
from datetime import datetime

from gateway.flow import step
from gateway.flow.ports import Ports
from gateway.model.audit import AuditEvent
from gateway.model.errors import Conflict, NotFound
from gateway.model.ids import OrderId, Uid
from gateway.model.lifecycle import State, is_allowed
from gateway.model.order import Order
from gateway.model.performed import (
    FINISHED,
    Begun,
    Letter,
    LinkedStep,
    Performed,
    PerformedState,
    Scheduled,
    Told,
    step_for,
)
from gateway.store import audit, orders, performed
from gateway.store.database import Tx

_TRIES = 3  # when a person changes the same order at the same moment


class KnownStep(Conflict):
    """A performed step with that UID is there already."""


class FinishedStep(Conflict):
    """The performed step was completed or discontinued: it may no longer be updated."""


def begin(ports: Ports, begun: Begun, told: Told, letter: Letter) -> None:
    """The step is kept, in progress, and its orders have started. Raises KnownStep, Unavailable."""

    def work(tx: Tx) -> None:
        _lock(tx, begun.sop_uid, begun.steps)
        if performed.of_uid(tx, begun.sop_uid) is not None:
            raise KnownStep("performed step: there is one with that SOP Instance UID")
        links, doubt = _linked(tx, begun)
        at = ports.clock()
        performed.add(tx, begun, told, links, doubt, letter, at)
        _settle(ports, tx, begun.sop_uid, begun.calling_ae, at)

    _repeated(ports, work)


def change(ports: Ports, sop_uid: Uid, told: Told, letter: Letter, *, calling_ae: str) -> None:
    """The step is as the machine now says, and so are its orders.

    Raises NotFound for a step that nobody began, FinishedStep, Unavailable.
    """

    def work(tx: Tx) -> None:
        found = _known(tx, sop_uid)
        _lock(tx, sop_uid, found.begun_as.steps)
        if _known(tx, sop_uid).state in FINISHED:
            raise FinishedStep("performed step: it is finished and may no longer be updated")
        at = ports.clock()
        performed.change(tx, found.id, told, letter, at)
        _settle(ports, tx, sop_uid, calling_ae, at)

    _repeated(ports, work)


def _repeated(ports: Ports, work: Callable[[Tx], None]) -> None:
    """`work` is done in a transaction, again when somebody else changed an order under its hands."""
    for tried in range(_TRIES):
        try:
            with ports.database.write() as tx:
                return work(tx)
        except (KnownStep, FinishedStep):
            raise
        except Conflict:
            if tried == _TRIES - 1:
                raise
    return None


def _lock(tx: Tx, sop_uid: Uid, steps: Iterable[Scheduled]) -> None:
    """Images of the same studies wait their turn: both move the same orders."""
    tx.lock(f"performed {sop_uid}")
    for study_uid in sorted({one.study_uid for one in steps}):
        tx.lock(f"study {study_uid}")


def _known(tx: Tx, sop_uid: Uid) -> Performed:
    found = performed.of_uid(tx, sop_uid)
    if found is None:
        raise NotFound("performed step: there is none with that SOP Instance UID")
    return found


def _linked(tx: Tx, begun: Begun) -> tuple[tuple[LinkedStep, ...], str]:
    """Each step with its order, and the first thing a person should look at."""
    links, doubts = [], []
    for one in begun.steps:
        order, doubt = _order_of(tx, one, begun)
        links.append(LinkedStep(step=one, order_id=order.id if order else None))
        doubts.append(doubt)
    return tuple(links), next((doubt for doubt in doubts if doubt), "")


def _order_of(tx: Tx, scheduled: Scheduled, begun: Begun) -> tuple[Order | None, str]:
    """The order by its study UID, else by accession number and patient; a contradiction is a doubt."""
    found = orders.of_study(tx, scheduled.study_uid) or tuple(
        order
        for order in orders.of_accession(tx, scheduled.accession)
        if scheduled.accession and order.patient.patient_id == begun.patient_id
    )
    if not found:
        return None, ""
    best = min(found, key=lambda order: _distance(order, scheduled, begun))
    if begun.patient_id and begun.patient_id != best.patient.patient_id:
        return (
            None,
            f"the machine names another patient than order {best.id}, whose study it claims to examine",
        )
    if best.state in (State.CANCELLED, State.DISCONTINUED):
        return best, f"the machine examines for order {best.id}, which is {best.state}"
    return best, ""


def _distance(order: Order, scheduled: Scheduled, begun: Begun) -> tuple[bool, ...]:
    """Of sister steps, the one that the machine names, else the one for this machine, else for this modality."""
    return (
        not scheduled.step_id or order.step_id != scheduled.step_id,
        not scheduled.accession or order.accession != scheduled.accession,
        order.station not in (begun.calling_ae, begun.station),
        order.modality != begun.modality,
        order.state not in (State.SENT, State.STARTED),
    )


def _settle(ports: Ports, tx: Tx, sop_uid: Uid, calling_ae: str, at: datetime) -> None:
    """The trail says what the machine told, and the orders follow."""
    found = _known(tx, sop_uid)
    actor = f"dicom:{calling_ae}"
    word = found.state.lower().replace(" ", "-")
    event = AuditEvent(
        at=at, actor=actor, action=f"performed.{word}", subject=f"performed:{found.id}", detail=""
    )
    audit.record(tx, event)
    for order_id in sorted({link.order_id for link in found.links if link.order_id is not None}):
        _move(ports, tx, order_id, actor, f"performed:{found.id}", at)


def _move(ports: Ports, tx: Tx, order_id: OrderId, actor: str, evidence: str, at: datetime) -> None:
    order = orders.show(tx, order_id)
    wanted = step_for(_states(tx, order_id))
    if wanted is None or order.state is step.leads_to(wanted) or not is_allowed(order.state, wanted):
        return
    step.take(tx, order, wanted, actor=actor, evidence=evidence, at=at, ports=ports)


def _states(tx: Tx, order_id: OrderId) -> tuple[PerformedState, ...]:
    return tuple(one.state for one in performed.of_orders(tx, [order_id]))
