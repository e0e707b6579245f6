import pytest

from gateway.model.errors import Conflict
from gateway.model.lifecycle import FINAL, TRANSITIONS, State, Step, is_allowed, next_state


def test_send_and_recall_are_each_others_undoing() -> None:
    assert next_state(State.SCHEDULED, Step.SEND) is State.SENT
    assert next_state(State.SENT, Step.RECALL) is State.SCHEDULED


def test_a_final_state_has_no_way_out() -> None:
    assert not [state for state, _ in TRANSITIONS if state in FINAL]


def test_every_state_can_be_reached_and_every_step_leads_to_one_state() -> None:
    assert {*TRANSITIONS.values(), State.HELD} == set(State)
    for step in Step:
        assert len({end for (_, way), end in TRANSITIONS.items() if way is step}) == 1


def test_a_step_the_table_does_not_know_is_a_conflict() -> None:
    assert not is_allowed(State.HELD, Step.SEND)
    with pytest.raises(Conflict, match="held"):
        next_state(State.HELD, Step.SEND)
