"""An errand: what must be read from a record system after its message was answered."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.model.ids import MessageId


class ErrandKind(StrEnum):
    """What is read, and for what."""

    READ = "read"  # a reference of a message that waits for it
    FETCH = "fetch"  # what a notification names; it comes in as a message of its own
    POLL = "poll"  # everything of the source that changed


class ErrandState(StrEnum):
    """How far an errand is."""

    OPEN = "open"  # due at `next_at`; under a lease while somebody is at it
    DONE = "done"
    FAILED = "failed"  # given up; `error` says why


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a message needs read. `target` is "Patient/7", "Patient?identifier=system|value", or "" for a poll."""

    kind: ErrandKind
    target: str = ""
    field: str = ""  # what leads there: "ServiceRequest.subject"; "" when no field does


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """A stored errand."""

    id: int
    source: str
    kind: ErrandKind
    target: str
    message_id: MessageId | None  # the message it is done for; None when it is done for none
    field: str
    state: ErrandState
    attempts: int
    next_at: datetime
    error: str  # what the host said last; never a value of a patient
    created_at: datetime
