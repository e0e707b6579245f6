"""What machines asked to be committed to, told under a lease until they know."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert, or_, select, update

from gateway.model.commitment import Commitment, CommitmentId, CommitmentState, Reference, Request
from gateway.model.ids import Uid
from gateway.store.database import Tx
from gateway.store.machine_tables import commitments
from gateway.store.studies import StoredFile
from gateway.store.tables import instances

_CHUNK = 500  # a statement takes so many values on every database


def add(tx: Tx, request: Request, *, is_reused: bool, at: datetime) -> CommitmentId:
    """The request is there, its answer owed from `at` on."""
    row = insert(commitments).values(
        peer=request.peer,
        address=request.address,
        transaction_uid=request.transaction_uid,
        wanted=[[one.sop_class, one.sop_uid] for one in request.references],
        is_reused=int(is_reused),
        state=CommitmentState.PENDING,
        attempts=0,
        next_at=at,
        created_at=at,
    )
    return CommitmentId(tx.connection.execute(row.returning(commitments.c.id)).scalar_one())


def of_transaction(tx: Tx, peer: str, transaction_uid: Uid) -> Commitment | None:
    """The first request of the peer under that transaction UID, None when there is none."""
    same = (commitments.c.transaction_uid == transaction_uid) & (commitments.c.peer == peer)
    row = tx.connection.execute(select(commitments).where(same).order_by(commitments.c.id).limit(1))
    found = row.one_or_none()
    return _read(found) if found is not None else None


def owe_again(tx: Tx, commitment_id: CommitmentId, at: datetime) -> None:
    """The answer is owed again from `at` on, unless it is being told just now."""
    mine = (commitments.c.id == commitment_id) & (commitments.c.state != CommitmentState.TELLING)
    values = {"state": CommitmentState.PENDING, "attempts": 0, "next_at": at, "created_at": at}
    tx.connection.execute(update(commitments).where(mine).values(values))


def claim(tx: Tx, now: datetime, lease: timedelta) -> Commitment | None:
    """The answer that is due longest, held until the lease runs out; None when nothing is due."""
    due = or_(
        (commitments.c.state == CommitmentState.PENDING) & (commitments.c.next_at <= now),
        (commitments.c.state == CommitmentState.TELLING) & (commitments.c.lease_until <= now),
    )
    query = select(commitments).where(due).order_by(commitments.c.next_at, commitments.c.id).limit(1)
    row = tx.connection.execute(query.with_for_update(skip_locked=True)).one_or_none()
    if row is None:
        return None
    values = {"state": CommitmentState.TELLING, "lease_until": now + lease, "attempts": row.attempts + 1}
    tx.connection.execute(update(commitments).where(commitments.c.id == row.id).values(values))
    return show(tx, CommitmentId(row.id))


def settle(
    tx: Tx, claimed: Commitment, state: CommitmentState, *, at: datetime, next_at: datetime, error: str = ""
) -> None:
    """What came of a claimed one. Nothing changes when the lease was lost to another worker meanwhile."""
    mine = (
        (commitments.c.id == claimed.id)
        & (commitments.c.state == CommitmentState.TELLING)
        & (commitments.c.attempts == claimed.attempts)
    )
    told_at = at if state is CommitmentState.TOLD else None
    values = {"state": state, "next_at": next_at, "error": error, "told_at": told_at}
    tx.connection.execute(update(commitments).where(mine).values(values))


def show(tx: Tx, commitment_id: CommitmentId) -> Commitment:
    """The request with that number, which must be there."""
    row = tx.connection.execute(select(commitments).where(commitments.c.id == commitment_id)).one()
    return _read(row)


def newest(tx: Tx, limit: int = 100) -> tuple[Commitment, ...]:
    """The newest requests first."""
    query = select(commitments).order_by(commitments.c.id.desc()).limit(limit)
    return tuple(_read(row) for row in tx.connection.execute(query))


def kept(tx: Tx, uids: tuple[Uid, ...]) -> dict[Uid, tuple[Uid, StoredFile]]:
    """The SOP class and the file of each of the instances that is stored, by SOP Instance UID."""
    found: dict[Uid, tuple[Uid, StoredFile]] = {}
    for start in range(0, len(uids), _CHUNK):
        query = select(instances).where(instances.c.sop_uid.in_(uids[start : start + _CHUNK]))
        for row in tx.connection.execute(query):
            stored = StoredFile(path=row.path, size=row.size, sha256=row.sha256)
            found[Uid(row.sop_uid)] = Uid(row.sop_class), stored
    return found


def _read(row: Any) -> Commitment:
    return Commitment(
        id=CommitmentId(row.id),
        request=Request(
            peer=row.peer,
            address=row.address,
            transaction_uid=Uid(row.transaction_uid),
            references=tuple(Reference(sop_class=Uid(kind), sop_uid=Uid(uid)) for kind, uid in row.wanted),
        ),
        is_reused=bool(row.is_reused),
        state=CommitmentState(row.state),
        attempts=row.attempts,
        next_at=row.next_at,
        error=row.error,
        created_at=row.created_at,
        told_at=row.told_at,
    )
