"""Commit: a machine asks whether its objects are kept, and is told so until it knows. Source: DICOM PS3.4 J."""

import logging
from collections.abc import Callable
from datetime import timedelta

from gateway.flow.deliver import wait_s
from gateway.flow.ports import Ports
from gateway.model.commitment import (
    Commitment,
    CommitmentId,
    CommitmentState,
    Failure,
    Reference,
    Report,
    Request,
)
from gateway.model.errors import Refused, Unavailable
from gateway.store import commitments
from gateway.store.database import Tx
from gateway.store.studies import StoredFile

log = logging.getLogger(__name__)

LEASE = timedelta(minutes=5)
TRIED_FOR = timedelta(days=3)


def request_commitment(ports: Ports, request: Request) -> CommitmentId:
    """The number under which the request is durable. The same request again is owed the same answer again."""
    with ports.database.write() as tx:
        tx.lock(f"commitment {request.transaction_uid}")
        at = ports.clock()
        first = commitments.of_transaction(tx, request.peer, request.transaction_uid)
        if first is not None and set(first.request.references) == set(request.references):
            commitments.owe_again(tx, first.id, at)
            return first.id
        return commitments.add(tx, request, is_reused=first is not None, at=at)


def report_due(ports: Ports, tell: Callable[[Report], None]) -> int:
    """How many answers were tried; 0 when none was due.

    `tell` raises Unavailable when the machine cannot be told now, and Refused when it does not want to know.
    """
    tried = 0
    while (claimed := _claim(ports)) is not None:
        tried += 1
        _tell(ports, claimed, tell)
    return tried


def _claim(ports: Ports) -> Commitment | None:
    with ports.database.write() as tx:
        return commitments.claim(tx, ports.clock(), LEASE)


def _tell(ports: Ports, claimed: Commitment, tell: Callable[[Report], None]) -> None:
    try:
        tell(_report(ports, claimed))
    except Unavailable as error:
        is_over = ports.clock() - claimed.created_at > TRIED_FOR
        state = CommitmentState.DEAD if is_over else CommitmentState.PENDING
        _settle(ports, claimed, state, str(error))
    except Refused as error:
        _settle(ports, claimed, CommitmentState.DEAD, str(error))
    else:
        _settle(ports, claimed, CommitmentState.TOLD)


def _settle(ports: Ports, claimed: Commitment, state: CommitmentState, error: str = "") -> None:
    extra = {
        "commitment": claimed.id,
        "peer": claimed.request.peer,
        "attempts": claimed.attempts,
        "error": error,
    }
    log.log(logging.WARNING if error else logging.INFO, f"commitment.{state}", extra=extra)
    at = ports.clock()
    again = at + timedelta(seconds=wait_s(claimed.attempts, asked_s=None, spread=claimed.id * 37 % 100 / 100))
    with ports.database.write() as tx:
        commitments.settle(tx, claimed, state, at=at, next_at=again, error=error)


def _report(ports: Ports, claimed: Commitment) -> Report:
    """What is kept now, as the database and the disk say."""
    request = claimed.request
    if claimed.is_reused:
        reused = tuple((one, Failure.REUSED) for one in request.references)
        return Report(request=request, kept=(), failed=reused)
    with ports.database.read() as tx:
        known = _known(tx, request)
    found = {one: _failure(ports, one, known) for one in request.references}
    return Report(
        request=request,
        kept=tuple(one for one, failure in found.items() if failure is None),
        failed=tuple((one, failure) for one, failure in found.items() if failure is not None),
    )


_Known = dict[Reference, StoredFile | None]


def _known(tx: Tx, request: Request) -> _Known:
    """The file of each object that is recorded; None where it is of another class."""
    kept = commitments.kept(tx, tuple({one.sop_uid for one in request.references}))
    return {
        one: kept[one.sop_uid][1] if kept[one.sop_uid][0] == one.sop_class else None
        for one in request.references
        if one.sop_uid in kept
    }


def _failure(ports: Ports, reference: Reference, known: _Known) -> Failure | None:
    if reference not in known:
        return Failure.ABSENT
    stored = known[reference]
    if stored is None:
        return Failure.OTHER_CLASS
    try:
        size = ports.files.path(stored.path).stat().st_size
    except OSError:
        return Failure.UNREADABLE
    return None if size == stored.size else Failure.UNREADABLE
