"""Keep: a received object is filed, recorded and linked to its order; only then may it be acknowledged."""

from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from zoneinfo import ZoneInfo

from gateway.flow import step
from gateway.flow.belong import is_same_person
from gateway.flow.ports import Ports
from gateway.model.audit import AuditEvent
from gateway.model.ids import OrderId, StudyId, Uid
from gateway.model.lifecycle import State, Step, is_allowed
from gateway.model.order import Order
from gateway.model.study import Received, Study
from gateway.model.zones import read_offset
from gateway.store import aside, audit, orders, performed, studies
from gateway.store.database import Tx
from gateway.store.files import Settling


class Outcome(StrEnum):
    """What an object was to us."""

    NEW = "new"
    REPEAT = "repeat"  # the same object again: nothing changes
    DIFFERENT = (
        "different"  # another object under a known SOP Instance UID: the first one stays, it is kept aside
    )


def keep(ports: Ports, received: Received, written: Path, *, sha256: str, size: int) -> Outcome:
    """What the object was; when NEW it is on disk, recorded and linked, all durably. A DIFFERENT one is kept aside.

    `written` is the whole Part 10 file in the files' incoming folder; afterwards it was moved or removed. `sha256`
    is of the data set's bytes, `size` of the file's.
    Raises Unavailable when it cannot be recorded, OSError when the disk cannot take it.
    """
    stored = studies.StoredFile(path="", size=size, sha256=sha256)
    try:
        settling = ports.files.settle(written)
        with ports.database.write() as tx:
            tx.lock(f"study {received.study_uid}")
            known = studies.known(tx, received.sop_uid)
            if known is not None:
                return _again(tx, ports, received, written, settling, known, stored)
            _file(tx, ports, received, written, settling, stored)
        return Outcome.NEW
    finally:
        written.unlink(missing_ok=True)


def _again(
    tx: Tx,
    ports: Ports,
    received: Received,
    written: Path,
    settling: Settling,
    known: studies.StoredFile,
    stored: studies.StoredFile,
) -> Outcome:
    if known.sha256 != stored.sha256:
        if not aside.is_known(tx, received.sop_uid, stored.sha256):
            _set_aside(tx, ports, received, written, settling, stored)
        return Outcome.DIFFERENT
    if not ports.files.path(known.path).exists():  # lost from the disk, and the machine still has it
        ports.files.keep(written, received.study_uid, received.sop_uid)
        settling.wait()
    return Outcome.REPEAT


def _set_aside(
    tx: Tx,
    ports: Ports,
    received: Received,
    written: Path,
    settling: Settling,
    stored: studies.StoredFile,
) -> None:
    """The object stands aside for a person to look at: which of the two is right, no machine can say."""
    at = ports.clock()
    path = ports.files.keep_aside(written, received.sop_uid, stored.sha256)
    with ExitStack() as undo:
        undo.callback(ports.files.discard, path)
        here = replace(stored, path=path)
        study_id = aside.add(tx, received.sop_uid, here, calling_ae=received.calling_ae, at=at)
        event = AuditEvent(
            at=at,
            actor=f"dicom:{received.calling_ae}",
            action="object.set_aside",
            subject=f"study:{study_id}",
            detail="SOP Instance UID (0008,0018): known, with other content",
        )
        audit.record(tx, event)
        settling.wait()
        undo.pop_all()


def _file(
    tx: Tx,
    ports: Ports,
    received: Received,
    written: Path,
    settling: Settling,
    stored: studies.StoredFile,
) -> None:
    at = ports.clock()
    path = ports.files.keep(written, received.study_uid, received.sop_uid)
    with ExitStack() as undo:
        undo.callback(ports.files.discard, path)
        started = study_start(received, ports.zone)
        study_id = studies.add(tx, received, replace(stored, path=path), started, at)
        study = studies.head(tx, study_id)
        is_settled = study.order_id is not None and study.patient_id == received.patient_id
        if not is_settled and not study.doubt:  # a doubt stays until a person settles it
            _link(tx, study, received, at)
        _start(tx, ports, study_id, received, at)
        settling.wait()
        undo.pop_all()


def study_start(received: Received, zone: ZoneInfo) -> datetime | None:
    """When the study began, aware UTC; None when the header gives no full date and time.

    The object's own Timezone Offset From UTC wins over the site's zone. Source: DICOM PS3.3 C.12.1.1.8.
    """
    digits = received.study_time.split(".")[0]
    try:
        local = datetime.strptime(received.study_date + digits.ljust(6, "0"), "%Y%m%d%H%M%S")  # noqa: DTZ007
    except ValueError:
        return None
    if len(digits) < 4:
        return None
    return local.replace(tzinfo=read_offset(received.zone_offset) or zone).astimezone(UTC)


def link_again(tx: Tx, ports: Ports, study: Study, *, actor: str, at: datetime) -> OrderId | None:
    """The order of a study that belonged to none, now that more is known of its patient; None when still none.

    The order starts, and the study completes anew, so that whoever waits for it is told.
    """
    found = _claimed(tx, study.study_uid, study)
    if not found:
        return None
    modality = study.series[0].modality if study.series else ""
    best = _nearest(found, study.calling_ae, modality)
    if not _is_his(tx, best, study) or best.state in (State.CANCELLED, State.DISCONTINUED):
        return None
    studies.link(tx, study.id, best.id, "", at)
    studies.reopen(tx, study.id)
    if best.state is not State.STARTED and is_allowed(best.state, Step.START):
        step.take(tx, best, Step.START, actor=actor, evidence=f"study:{study.id}", at=at, ports=ports)
    return best.id


def _link(tx: Tx, study: Study, received: Received, at: datetime) -> None:
    """The study linked by its UID, else by accession number and patient; any contradiction becomes a doubt."""
    found = _claimed(tx, study.study_uid, received)
    if not found:
        return
    best = _nearest(found, received.calling_ae, received.modality)
    if not _is_his(tx, best, received) or not _is_his(tx, best, study):
        doubt = f"the images name another patient than order {best.id}, whose study they claim to be"
        studies.link(tx, study.id, None, doubt, at)
    elif best.state in (State.CANCELLED, State.DISCONTINUED) and not _is_explained(tx, study, best):
        studies.link(tx, study.id, best.id, f"images came for order {best.id}, which is {best.state}", at)
    else:
        studies.link(tx, study.id, best.id, "", at)


def _claimed(tx: Tx, study_uid: Uid, images: Received | Study) -> tuple[Order, ...]:
    """The orders whose study the images say they are: by its UID, else by accession number and patient."""
    by_uid = orders.of_study(tx, study_uid)
    if by_uid or not images.accession:
        return by_uid
    return tuple(order for order in orders.of_accession(tx, images.accession) if _is_his(tx, order, images))


def _is_his(tx: Tx, order: Order, images: Received | Study) -> bool:
    """Whether the images name the order's patient, by this or by an identifier that was merged with it."""
    return order.patient.patient_id == images.patient_id or is_same_person(
        tx, order.patient_row, images.patient_id, images.issuer
    )


def _is_explained(tx: Tx, study: Study, order: Order) -> bool:
    """Whether the machine itself said that it gave the order up: what it made until then is its due."""
    return order.state is State.DISCONTINUED and performed.is_told_of(tx, study.study_uid)


def _nearest(found: tuple[Order, ...], calling_ae: str, modality: str) -> Order:
    """Of sister steps, the one for this machine, else for this modality, else one that still runs."""

    def distance(order: Order) -> tuple[bool, bool, bool]:
        return (
            order.station != calling_ae,
            order.modality != modality,
            order.state not in (State.SENT, State.STARTED),
        )

    return min(found, key=distance)


def _start(tx: Tx, ports: Ports, study_id: StudyId, received: Received, at: datetime) -> None:
    """The linked order has started: its first image came."""
    study = studies.head(tx, study_id)
    if study.order_id is None or study.doubt:
        return
    linked = orders.show(tx, study.order_id)
    sisters = orders.of_study(tx, linked.study_uid)
    order = _nearest(sisters, received.calling_ae, received.modality) if sisters else linked
    if order.state is not State.STARTED and is_allowed(order.state, Step.START):
        actor = f"dicom:{received.calling_ae}"
        evidence = f"study:{study_id}"
        step.take(tx, order, Step.START, actor=actor, evidence=evidence, at=at, ports=ports)
