"""Complete: a study is whole, its order is done, and the news is owed, all in one transaction."""

from collections.abc import Callable
from datetime import datetime, timedelta

from gateway.flow import step
from gateway.flow.announce import announce, withdraw
from gateway.flow.ports import Ports
from gateway.model.audit import AuditEvent
from gateway.model.delivery import Outgoing
from gateway.model.ids import StudyId
from gateway.model.lifecycle import State, Step
from gateway.model.order import Order
from gateway.model.study import Study, StudyState
from gateway.store import audit, orders, outbox, performed, studies
from gateway.store.database import Tx

FORGOTTEN = timedelta(minutes=30)
"""A step in progress without news or image for this long holds a quiet study open no more."""

Render = Callable[[Study, tuple[Order, ...]], tuple[Outgoing, ...]]
"""The news of a study and its orders, for every destination; of one in doubt, that it is taken back."""


def complete_quiet(ports: Ports, render: Render) -> int:
    """How many studies became complete: nothing came for the quiet period, or all that the machine made is here.

    A machine that says it is still at it is waited for, unless it seems to have forgotten.
    """
    now = ports.clock()
    moment = now - ports.quiet
    with ports.database.read() as tx:
        quiet = studies.quiet_since(tx, moment)
        whole = performed.whole_studies(tx)
        busy = performed.busy_studies(tx, now - max(ports.quiet, FORGOTTEN))
    ready: list[tuple[StudyId, datetime | None]] = [(study_id, None) for study_id in whole]
    ready += [(study_id, moment) for study_id in quiet if study_id not in busy and study_id not in whole]
    return sum(_complete(ports, study_id, render, actor="gateway", last=last) for study_id, last in ready)


def complete_now(ports: Ports, study_id: StudyId, render: Render, *, actor: str) -> None:
    """The study is complete because a person says so. Raises NotFound."""
    _complete(ports, study_id, render, actor=actor, last=None)


def _complete(ports: Ports, study_id: StudyId, render: Render, *, actor: str, last: datetime | None) -> bool:
    """Whether the study was completed; an image that came after `last` keeps it open."""
    with ports.database.write() as tx:
        study = studies.show(tx, study_id)
        tx.lock(f"study {study.study_uid}")
        study = studies.show(tx, study_id)
        if study.state is StudyState.COMPLETE or (last is not None and study.last_at > last):
            return False
        at = ports.clock()
        studies.complete(tx, study_id, at)
        event = AuditEvent(
            at=at, actor=actor, action="study.complete", subject=f"study:{study_id}", detail=""
        )
        audit.record(tx, event)
        found = _finished(tx, ports, study, actor, at)
        if study.doubt:  # a person must first settle whose study it is
            _take_back(tx, studies.show(tx, study_id), found, render, at)
        else:
            _tell(tx, ports, studies.show(tx, study_id), found, render, at)
    return True


def _finished(tx: Tx, ports: Ports, study: Study, actor: str, at: datetime) -> tuple[Order, ...]:
    """The study's orders; those that had started are completed now."""
    if study.order_id is None:
        return ()
    linked = orders.show(tx, study.order_id)
    if study.doubt:
        return (linked,)
    found = orders.of_study(tx, linked.study_uid)
    evidence = f"study:{study.id}"
    return tuple(
        step.take(tx, order, Step.COMPLETE, actor=actor, evidence=evidence, at=at, ports=ports)
        if order.state is State.STARTED
        else order
        for order in found
    )


def _take_back(tx: Tx, study: Study, found: tuple[Order, ...], render: Render, at: datetime) -> None:
    """Who was told of the study before its doubt appeared is told that it was an error; nobody else is."""
    told = outbox.told(tx, study.study_uid)
    for outgoing in render(study, found) if told else ():
        if (outgoing.destination, outgoing.kind) in told:
            outbox.add(tx, outgoing, at)


def _tell(
    tx: Tx,
    ports: Ports,
    study: Study,
    found: tuple[Order, ...],
    render: Render,
    at: datetime,
) -> None:
    """The news of the study is owed to all who want it."""
    for outgoing in render(study, found):
        outbox.add(tx, outgoing, at)
    linked = next((order for order in found if order.id == study.order_id), None)
    if linked is not None:
        announce(tx, ports, linked, "study.complete", f"study:{study.id}", at, study=study, orders=found)
    if linked is not None and linked.study_uid != study.study_uid:
        withdraw(tx, ports, linked, f"study:{study.id}", at)
