"""The one state machine of an order: its states, the steps between them, and who may appear on a machine."""

from enum import StrEnum

from gateway.model.errors import Conflict


class State(StrEnum):
    """Where an order stands."""

    HELD = "held"  # a doubt only a person can settle
    SCHEDULED = "scheduled"  # complete, waiting for the receptionist
    SENT = "sent"  # on the machine's worklist
    STARTED = "started"  # the machine is at it, or its first image came
    COMPLETED = "completed"  # the study is whole
    DISCONTINUED = "discontinued"  # begun or planned, and given up
    CANCELLED = "cancelled"  # taken back by the one who ordered it
    EXPIRED = "expired"  # left behind by its day


class Step(StrEnum):
    """What happens to an order."""

    HOLD = "hold"
    ACCEPT = "accept"
    SEND = "send"
    RECALL = "recall"
    START = "start"
    COMPLETE = "complete"
    DISCONTINUE = "discontinue"
    CANCEL = "cancel"
    EXPIRE = "expire"


TRANSITIONS: dict[tuple[State, Step], State] = {
    (State.HELD, Step.ACCEPT): State.SCHEDULED,
    (State.HELD, Step.START): State.STARTED,  # images came all the same: they say what happened
    (State.HELD, Step.COMPLETE): State.COMPLETED,
    (State.HELD, Step.DISCONTINUE): State.DISCONTINUED,
    (State.HELD, Step.CANCEL): State.CANCELLED,
    (State.HELD, Step.EXPIRE): State.EXPIRED,
    (State.SCHEDULED, Step.HOLD): State.HELD,
    (State.SCHEDULED, Step.SEND): State.SENT,
    (State.SCHEDULED, Step.START): State.STARTED,  # typed in by hand at the machine
    (State.SCHEDULED, Step.COMPLETE): State.COMPLETED,
    (State.SCHEDULED, Step.DISCONTINUE): State.DISCONTINUED,
    (State.SCHEDULED, Step.CANCEL): State.CANCELLED,
    (State.SCHEDULED, Step.EXPIRE): State.EXPIRED,
    (State.SENT, Step.HOLD): State.HELD,
    (State.SENT, Step.RECALL): State.SCHEDULED,
    (State.SENT, Step.START): State.STARTED,
    (State.SENT, Step.COMPLETE): State.COMPLETED,
    (State.SENT, Step.DISCONTINUE): State.DISCONTINUED,
    (State.SENT, Step.CANCEL): State.CANCELLED,
    (State.SENT, Step.EXPIRE): State.EXPIRED,
    (State.STARTED, Step.COMPLETE): State.COMPLETED,
    (State.STARTED, Step.DISCONTINUE): State.DISCONTINUED,
    (State.EXPIRED, Step.ACCEPT): State.SCHEDULED,
    (State.EXPIRED, Step.START): State.STARTED,
    (State.EXPIRED, Step.COMPLETE): State.COMPLETED,
}

FINAL = frozenset({State.COMPLETED, State.DISCONTINUED, State.CANCELLED})


def next_state(state: State, step: Step) -> State:
    """The state that `step` leads to.

    Raises Conflict when the table has no such way.
    """
    try:
        return TRANSITIONS[state, step]
    except KeyError:
        raise Conflict(f"an order that is {state} cannot take the step '{step}'") from None


def is_allowed(state: State, step: Step) -> bool:
    """Whether `step` leads anywhere from `state`."""
    return (state, step) in TRANSITIONS
