"""A machine's question whether its objects are kept, and the answer it is owed."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

from gateway.model.ids import Uid

CommitmentId = NewType("CommitmentId", int)


class CommitmentState(StrEnum):
    """Where the answer stands."""

    PENDING = "pending"  # to be told at `next_at`; also what a lease that ran out becomes
    TELLING = "telling"  # a worker holds the lease
    TOLD = "told"
    DEAD = "dead"  # the machine could not be told for so long that it is not tried any more


class Failure(StrEnum):
    """Why an object is not committed to."""

    ABSENT = "absent"  # no such object is kept here
    OTHER_CLASS = "other class"  # the object is of another SOP class than was said
    UNREADABLE = "unreadable"  # it was kept, and its file is gone or not whole
    REUSED = "reused"  # the transaction's UID was used before for other objects


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An object as a machine names it."""

    sop_class: Uid
    sop_uid: Uid


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a machine asks."""

    peer: str  # its AE title
    address: str
    transaction_uid: Uid
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitment:
    """A stored request and how far its answer came."""

    id: CommitmentId
    request: Request
    is_reused: bool  # the machine used the transaction's UID before for other objects
    state: CommitmentState
    attempts: int
    next_at: datetime
    error: str  # why it could not be told last; "" when nothing was wrong
    created_at: datetime
    told_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The answer: which objects are kept, and which are not."""

    request: Request
    kept: tuple[Reference, ...]
    failed: tuple[tuple[Reference, Failure], ...]
