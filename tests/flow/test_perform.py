"""Whatever a machine says in whatever order: the order stays inside its state table."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.flow import perform
from gateway.flow.ports import Ports
from gateway.model.errors import NotFound
from gateway.model.ids import OrderId, Uid
from gateway.model.lifecycle import FINAL, State, Step, next_state
from gateway.model.performed import FINISHED, Begun, Letter, PerformedState, Scheduled, Told, step_for
from gateway.model.search import Found
from gateway.store import audit, orders, performed
from gateway.store.database import Database

LETTER = Letter(verb="N-SET", transfer_syntax="1.2.840.10008.1.2", content=b"as it came")
UIDS = [Uid("1.2.1"), Uid("1.2.2"), Uid("1.2.3")]

Said = tuple[Uid, PerformedState | None]  # None: begin


def begun(uid: Uid, study_uid: str, patient_id: str = "MRN1") -> Begun:
    return Begun(
        sop_uid=uid, calling_ae="US1", station="US1", modality="US", step_id="P", description="", issuer="",
        patient_id=patient_id, patient_name="", birth_date="", sex="",
        steps=(Scheduled(study_uid=Uid(study_uid), accession="A1"),),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("states", "step"),
    [
        ("", None),
        ("I", Step.START),
        ("IC", Step.START),
        ("ID", Step.START),
        ("CD", Step.COMPLETE),
        ("DD", Step.DISCONTINUE),
    ],
)
def test_the_steps_of_an_order_are_one_thing_to_it(states: str, step: Step | None) -> None:
    known = {state.value[0]: state for state in PerformedState}
    assert step_for(known[letter] for letter in states) is step


@given(
    start=st.sampled_from(State),
    said=st.lists(st.tuples(st.sampled_from(UIDS), st.one_of(st.none(), st.sampled_from(PerformedState)))),
)
@settings(max_examples=60, deadline=None)
def test_no_sequence_leaves_the_state_table(migrated: Path, start: State, said: list[Said]) -> None:
    with _opened(migrated) as (ports, order_id):
        _set_state(ports, order_id, start)
        told: dict[Uid, PerformedState] = {}
        for uid, state in said:
            before = _state(ports, order_id)
            outcome = _say(ports, uid, state, order_id)
            assert outcome == _expected(told, uid, state)
            if outcome is None:
                told[uid] = state or PerformedState.IN_PROGRESS
            after = _state(ports, order_id)
            assert after is before or after in {
                next_state(before, step) for step in Step if _leads(before, step)
            }
            assert after is before or before not in FINAL
        with ports.database.read() as tx:
            steps = [event.action for event in audit.of_subject(tx, f"order:{order_id}")]
            kept = {uid: found.state for uid in UIDS if (found := performed.of_uid(tx, uid)) is not None}
        assert kept == told
        reached = start
        for action in steps:
            reached = next_state(reached, Step(action.removeprefix("order.")))
        assert reached is _state(ports, order_id)


def _expected(told: dict[Uid, PerformedState], uid: Uid, state: PerformedState | None) -> type | None:
    if state is None:
        return perform.KnownStep if uid in told else None
    if uid not in told:
        return NotFound
    return perform.FinishedStep if told[uid] in FINISHED else None


def _say(ports: Ports, uid: Uid, state: PerformedState | None, order_id: OrderId) -> type | None:
    try:
        if state is None:
            with ports.database.read() as tx:
                study_uid = orders.show(tx, order_id).study_uid
            perform.begin(ports, begun(uid, study_uid), Told(), LETTER)
        else:
            perform.change(ports, uid, Told(state=state), LETTER, calling_ae="US1")
    except (perform.KnownStep, perform.FinishedStep, NotFound) as error:
        return type(error)
    return None


def _leads(state: State, step: Step) -> bool:
    from gateway.model.lifecycle import is_allowed

    return is_allowed(state, step)


def _state(ports: Ports, order_id: OrderId) -> State:
    with ports.database.read() as tx:
        return orders.show(tx, order_id).state


def _set_state(ports: Ports, order_id: OrderId, state: State) -> None:
    with ports.database.write() as tx:
        orders.save(tx, replace(orders.show(tx, order_id), state=state))


@contextmanager
def _opened(migrated: Path) -> Iterator[tuple[Ports, OrderId]]:
    """A store with one order: Hypothesis needs a fresh one each time."""
    from datetime import timedelta
    from itertools import count
    from zoneinfo import ZoneInfo

    from gateway.flow.ports import Release
    from gateway.model.message import Inbound, Keys, MessageState, Protocol
    from gateway.model.order import ModuleRef, Order
    from gateway.model.patient import Patient
    from gateway.store import inbox, patients
    from gateway.store.files import Files

    at = datetime(2026, 11, 23, 9, tzinfo=UTC)
    with tempfile.TemporaryDirectory() as folder:
        numbers = count(1)
        ports = Ports(
            database=Database(f"sqlite:///{shutil.copy(migrated, folder)}"), files=Files(Path(folder)),
            clock=lambda: at, new_uid=lambda: Uid(f"2.25.{next(numbers)}"), zone=ZoneInfo("Europe/London"),
            stations=(), release=Release.MANUAL, listed=frozenset({State.SENT}), quiet=timedelta(60),
            expire_after=timedelta(3),
        )  # fmt: skip
        patient = Patient(patient_id="MRN1", issuer="", name="Doe^Jane", birth_date="", sex="")
        with ports.database.write() as tx:
            message_id = inbox.add(
                tx, Inbound(protocol=Protocol.HL7V2, source="ris", peer="", raw=b"MSH|"), sha256="0" * 64, at=at,
                keys=Keys(control_id="M"), state=MessageState.MAPPED, reason="", module="test",
                found=Found(accession="A1", patient_id="MRN1"),
            )  # fmt: skip
            order = Order(
                id=OrderId(0), source="ris", patient_row=patients.save(tx, patient, at), patient=patient,
                accession="A1", placer="", filler="", procedure_id="", step_id="S1", study_uid=Uid("1.2.9"),
                state=State.SENT, modality="US", station="US1", start=at, has_time=True, description="",
                priority="", referring="", attributes={}, faults=(), service_request="", subject="",
                module=ModuleRef(name="test", version="0"), message_id=message_id, arrived_at=None, sent_at=at,
                sent_by="", created_at=at, updated_at=at, version=1,
            )  # fmt: skip
            order_id = orders.add(tx, order, ("20261123", "090000"), ()).id
        try:
            yield ports, order_id
        finally:
            ports.database.close()
