"""What each status of a ServiceRequest, a Task and an Appointment does to an order, from the wire to the store."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.fhir.auth import Source
from gateway.fhir.holding import known_to
from gateway.fhir.interpret import understand
from gateway.flow import step
from gateway.flow.belong import move
from gateway.flow.ports import Ports
from gateway.flow.receive import receive
from gateway.flow.release import cancel
from gateway.mapping.registry import Modules
from gateway.mapping.service_request import is_to_abort
from gateway.model.lifecycle import State, Step
from gateway.model.message import Inbound, MessageState, Protocol
from gateway.store import audit, orders, patients
from tests.conftest import FakeClock

SOURCE = Source(name="ehr")
SCHEDULED, CANCELLED, HELD = State.SCHEDULED, State.CANCELLED, State.HELD


class Place:
    """The gateway as one record system sees it."""

    def __init__(self, ports: Ports, modules: Modules, clock: FakeClock, order: dict[str, Any]) -> None:
        self.ports, self.modules, self.clock, self.order = ports, modules, clock, order
        self.version = 0
        self.source = SOURCE

    def push(self, resource: dict[str, Any]) -> MessageState:
        self.version += 1
        self.clock.advance(seconds=60)
        raw = json.dumps({**resource, "meta": self.meta(self.version)}).encode()
        known, at = known_to(self.ports.database, "ehr"), self.clock()
        inbound = Inbound(protocol=Protocol.FHIR, source="ehr", peer="", raw=raw)
        found = understand(raw, self.source, self.modules, known=known, at=at).interpretation
        return receive(self.ports, inbound, lambda _: found, lambda _: b"").state

    def say(self, **more: Any) -> MessageState:
        return self.push({**self.order, **more})

    def meta(self, version: int) -> dict[str, str]:
        """What says that a resource is of that version, changed now."""
        return {"versionId": str(version), "lastUpdated": self.clock().isoformat()}

    def bring(self, *resources: dict[str, Any]) -> MessageState:
        """The resources come as they are, in one Bundle."""
        return self.push(
            {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": r} for r in resources]}
        )

    def delete(self, address: str) -> MessageState:
        entry = {"request": {"method": "DELETE", "url": address}}
        return self.push({"resourceType": "Bundle", "type": "history", "entry": [entry]})

    def descriptions(self) -> list[str]:
        with self.ports.database.read() as tx:
            return [order.description for order in reversed(orders.newest(tx))]

    def states(self) -> list[State]:
        with self.ports.database.read() as tx:
            return [order.state for order in reversed(orders.newest(tx))]


@pytest.fixture
def place(ports: Ports, modules: Modules, clock: FakeClock, wire: Callable[[str], bytes]) -> Place:
    return Place(ports, modules, clock, json.loads(wire("aidbox-notification"))["resource"])


@pytest.mark.parametrize(
    ("said", "states", "verdict"),
    [
        ({"status": "draft"}, [], MessageState.SKIPPED),
        ({"intent": "original-order"}, [SCHEDULED], MessageState.MAPPED),
        ({"intent": "reflex-order"}, [SCHEDULED], MessageState.MAPPED),
        ({"intent": "filler-order"}, [SCHEDULED], MessageState.MAPPED),
        ({"intent": "instance-order"}, [SCHEDULED], MessageState.MAPPED),
        ({"intent": "proposal"}, [], MessageState.SKIPPED),
        ({"intent": "plan"}, [], MessageState.SKIPPED),
        ({"intent": "directive"}, [], MessageState.SKIPPED),
        ({"intent": "option"}, [], MessageState.SKIPPED),
        ({"status": "ended"}, [HELD], MessageState.HELD),
        ({"status": "unknown"}, [HELD], MessageState.HELD),
        ({"doNotPerform": True}, [HELD], MessageState.HELD),
    ],
)
def test_what_a_new_request_becomes(
    place: Place, said: dict[str, Any], states: list[State], verdict: MessageState
) -> None:
    assert (place.say(**said), place.states()) == (verdict, states)


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ({"status": "active"}, SCHEDULED),
        ({"status": "on-hold"}, HELD),
        ({"status": "revoked"}, CANCELLED),
        ({"status": "completed"}, State.COMPLETED),
        ({"status": "entered-in-error"}, CANCELLED),
        ({"status": "ended"}, HELD),
        ({"doNotPerform": True}, HELD),
    ],
)
def test_what_becomes_of_an_order(place: Place, said: dict[str, Any], state: State) -> None:
    place.say()
    place.say(**said)
    assert place.states() == [state]


def test_an_order_that_is_completed_elsewhere_and_not_known_here_is_passed_over(place: Place) -> None:
    assert (place.say(status="completed"), place.states()) == (MessageState.SKIPPED, [])


def test_a_completion_that_is_told_twice_is_no_doubt(place: Place) -> None:
    place.say()
    place.say(status="completed")
    assert place.say(status="completed", note=[{"text": "again"}]) is not MessageState.HELD
    assert place.states() == [State.COMPLETED]


def test_an_order_that_is_replaced_is_cancelled(place: Place) -> None:
    place.say()
    identifier = [{**place.order["identifier"][0], "value": "FW-99"}]
    replaces = [{"reference": "ServiceRequest/31"}, {"reference": "https://other.example/ServiceRequest/31"}]
    assert place.say(id="32", identifier=identifier, replaces=replaces) is MessageState.MAPPED
    assert place.states() == [CANCELLED, SCHEDULED]


def test_an_order_that_was_held_goes_on(place: Place) -> None:
    place.say()
    place.say(status="on-hold")
    place.say(status="active")
    assert place.states() == [SCHEDULED]


def _task(**more: Any) -> dict[str, Any]:
    task = {"resourceType": "Task", "id": "5", "status": "requested", "intent": "order"}
    return {**task, "focus": {"reference": "ServiceRequest/31"}, **more}


def _code(*codes: str) -> dict[str, Any]:
    return {"coding": [{"code": code} for code in codes]}


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ({"status": "requested"}, SCHEDULED),
        ({"status": "received"}, SCHEDULED),
        ({"status": "accepted"}, SCHEDULED),
        ({"status": "in-progress"}, SCHEDULED),
        ({"status": "cancelled"}, CANCELLED),
        ({"status": "rejected"}, CANCELLED),
        ({"status": "entered-in-error"}, CANCELLED),
        ({"code": _code("fulfill"), "status": "cancelled"}, CANCELLED),
        ({"id": "6", "code": _code("abort")}, CANCELLED),
        ({"id": "6", "code": _code("local", "abort")}, CANCELLED),
        ({"id": "6", "code": _code("abort"), "status": "in-progress"}, CANCELLED),
        ({"id": "6", "code": _code("abort"), "status": "draft"}, SCHEDULED),
        ({"id": "6", "code": _code("abort"), "status": "on-hold"}, SCHEDULED),
        ({"id": "6", "code": _code("abort"), "status": "cancelled"}, SCHEDULED),
        ({"id": "6", "code": _code("abort"), "status": "rejected"}, SCHEDULED),
        ({"id": "6", "code": _code("abort"), "status": "entered-in-error"}, SCHEDULED),
        ({"id": "6", "code": _code("approve"), "status": "rejected"}, SCHEDULED),
        ({"id": "6", "code": _code("transport"), "status": "cancelled"}, SCHEDULED),
        ({"id": "6", "code": _code("suspend"), "status": "requested"}, HELD),
        ({"id": "6", "code": _code("suspend"), "status": "cancelled"}, SCHEDULED),
    ],
)
def test_what_a_task_does_to_its_order(place: Place, said: dict[str, Any], state: State) -> None:
    place.say()
    place.push(_task(**said))
    assert place.states() == [state]


@pytest.mark.parametrize(
    ("said", "states"),
    [
        ({"status": "requested"}, [SCHEDULED]),
        ({"status": "in-progress"}, [SCHEDULED]),
        ({"status": "failed"}, [SCHEDULED]),
        ({"status": "draft"}, []),
        ({"status": "completed"}, []),
        ({"status": "completed", "code": _code("approve")}, [SCHEDULED]),
        ({"status": "cancelled", "code": _code("abort")}, [SCHEDULED]),
        ({"status": "completed", "code": _code("abort")}, []),
    ],
)
def test_what_a_new_request_becomes_beside_a_task(
    place: Place, said: dict[str, Any], states: list[State]
) -> None:
    place.bring(place.order, _task(**said))
    assert place.states() == states


@pytest.mark.parametrize(
    "said",
    [{"status": "draft"}, {"status": "in-progress"}, {"status": "completed"}, {"code": _code("approve")}],
)
def test_a_task_keeps_no_change_from_an_order_that_is_open(place: Place, said: dict[str, Any]) -> None:
    place.say()
    code = {**place.order["code"], "text": "LEFT knee"}
    place.bring({**place.order, "code": code, "meta": place.meta(9)}, _task(**said))
    assert (place.descriptions(), place.states()) == (["LEFT knee"], [SCHEDULED])


@pytest.mark.parametrize("said", [{"status": "draft"}, {"intent": "plan"}, {"intent": "option"}])
def test_a_task_schedules_no_draft_and_no_plan(place: Place, said: dict[str, Any]) -> None:
    place.say(**said)
    assert (place.push(_task()), place.states()) == (MessageState.HELD, [HELD])
    place.say()
    assert place.states() == [SCHEDULED]


def test_a_task_may_be_based_on_its_order_instead_of_having_it_in_focus(place: Place) -> None:
    based = [{"reference": "ServiceRequest/31"}]
    assert place.bring(place.order, _task(focus=None, basedOn=based)) is MessageState.MAPPED
    assert place.states() == [SCHEDULED]
    place.push(_task(focus=None, basedOn=based, status="cancelled"))
    assert place.states() == [CANCELLED]


def test_a_task_that_comes_with_a_plan_does_not_schedule_it(place: Place) -> None:
    assert place.bring({**place.order, "intent": "plan"}, _task()) is MessageState.HELD
    assert place.states() == [HELD]


@pytest.mark.parametrize(
    ("newer", "state", "description"),
    [
        ({"status": "on-hold"}, HELD, "RIGHT knee"),
        ({"code": {"text": "LEFT knee", "coding": [{"code": "76700"}]}}, SCHEDULED, "LEFT knee"),
    ],
)
@pytest.mark.parametrize("focus", ["ServiceRequest/31", "https://ehr.example/fhir/ServiceRequest/31"])
def test_a_task_brings_no_older_version_of_its_order_back(
    place: Place, newer: dict[str, Any], state: State, description: str, focus: str
) -> None:
    place.source = Source(name="ehr", base_url="https://ehr.example/fhir")
    old = {
        **place.order,
        "code": {"text": "RIGHT knee", "coding": [{"code": "76700"}]},
        "meta": place.meta(1),
    }
    place.push({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": old}]})
    place.push({"resourceType": "Basic"})
    place.push({**old, **newer})
    task = _task(focus={"reference": focus})
    entries = [{"fullUrl": f"https://ehr.example/fhir/{r['resourceType']}/{r['id']}", "resource": r}
               for r in (old, task)]  # fmt: skip
    place.push({"resourceType": "Bundle", "type": "collection", "entry": entries})
    assert (place.states(), place.descriptions()) == ([state], [description])


def test_an_order_that_a_task_took_back_does_not_come_back_beside_it(place: Place) -> None:
    place.say()
    place.push(_task(id="6", code=_code("abort")))
    answered = _task(id="6", code=_code("abort"), status="completed")
    place.bring({**place.order, "meta": place.meta(9)}, answered)
    assert place.states() == [CANCELLED]


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ({}, CANCELLED),
        ({"code": _code("abort"), "status": "rejected"}, SCHEDULED),
        ({"code": _code("approve")}, SCHEDULED),
        ({"owner": {"reference": "Organization/them"}}, SCHEDULED),
        ({"owner": {"reference": "Organization/us"}}, CANCELLED),
    ],
)
def test_what_becomes_of_an_order_whose_task_is_deleted(
    place: Place, said: dict[str, Any], state: State
) -> None:
    place.source = Source(name="ehr", owners=("Organization/us",))
    place.say()
    place.push(_task(**said))
    place.delete("Task/5")
    assert place.states() == [state]


def test_a_request_to_take_an_order_back_that_is_deleted_itself_changes_nothing(place: Place) -> None:
    place.push(_task(id="6", code=_code("abort")))
    place.say()
    assert place.delete("Task/6") is MessageState.SKIPPED
    assert place.states() == [SCHEDULED]


@pytest.mark.parametrize(
    "about",
    [
        _task(status="cancelled", focus={"reference": "https://other.example/fhir/ServiceRequest/31"}),
        _task(focus={"reference": "https://other.example/fhir/ServiceRequest/31"}),
        _task(code=_code("abort"), focus={"reference": "https://ehr.example/fhir2/ServiceRequest/31/_history/1"}),
        {"resourceType": "Appointment", "id": "5", "status": "booked", "start": "2026-11-25T10:00:00Z",
         "basedOn": [{"reference": "https://other.example/fhir/ServiceRequest/31"}], "participant": []},
        {"resourceType": "Appointment", "id": "5", "status": "arrived",
         "basedOn": [{"reference": "https://other.example/fhir/ServiceRequest/31"}], "participant": []},
    ],
)  # fmt: skip
def test_what_is_about_an_order_of_another_server_is_for_a_person(
    place: Place, about: dict[str, Any]
) -> None:
    place.source = Source(name="ehr", base_url="https://ehr.example/fhir")
    place.say()
    with place.ports.database.read() as tx:
        before = orders.newest(tx)
    assert place.push(about) is MessageState.HELD
    assert place.delete(f"{about['resourceType']}/5") is MessageState.HELD or is_to_abort(about)
    with place.ports.database.read() as tx:
        assert orders.newest(tx) == before


@pytest.mark.parametrize(
    ("said", "days"),
    [({"status": "booked"}, ["2026-11-25", "2026-11-25"]), ({"status": "cancelled"}, ["", ""])],
)
def test_an_appointment_for_several_orders_is_for_each_of_them(
    place: Place, said: dict[str, Any], days: list[str]
) -> None:
    place.say()
    place.say(id="32", identifier=[{**place.order["identifier"][0], "value": "FW-99"}])
    based = [{"reference": f"{it}"} for it in ("CarePlan/1", "ServiceRequest/31", "ServiceRequest/32")]
    appointment = {
        "resourceType": "Appointment",
        "id": "7",
        "start": "2026-11-25T10:00:00Z",
        "basedOn": based,
    }
    assert place.push({**appointment, "participant": [], **said}) is MessageState.MAPPED
    with place.ports.database.read() as tx:
        starts = [
            order.attributes.get("ScheduledProcedureStepStartDateTime", "") for order in orders.newest(tx)
        ]
    assert [str(start)[:10] for start in starts] == days


def test_an_appointment_for_several_orders_that_is_deleted_leaves_none_of_them_a_time(place: Place) -> None:
    place.say()
    place.say(id="32", identifier=[{**place.order["identifier"][0], "value": "FW-99"}])
    based = [{"reference": f"ServiceRequest/{it}"} for it in (31, 32)]
    appointment = {"resourceType": "Appointment", "id": "7", "status": "booked", "basedOn": based}
    place.push({**appointment, "start": "2026-11-25T10:00:00Z", "participant": []})
    place.delete("Appointment/7")
    with place.ports.database.read() as tx:
        assert [order.start for order in orders.newest(tx)] == [None, None]


@pytest.mark.parametrize("base", ["https://ehr.example/fhir", ""])
def test_the_order_of_a_task_may_be_in_the_same_bundle_under_any_address(place: Place, base: str) -> None:
    place.source = Source(name="ehr", base_url=base)
    url = "https://elsewhere.example/r4/ServiceRequest/31"
    entry = [{"fullUrl": url, "resource": place.order}, {"resource": _task(focus={"reference": url})}]
    assert place.push({"resourceType": "Bundle", "type": "collection", "entry": entry}) is MessageState.MAPPED
    assert place.states() == [SCHEDULED]


def test_the_visit_is_kept_with_the_order(place: Place) -> None:
    place.say(encounter={"reference": "Encounter/3"})
    place.say(encounter={"display": "the same"})
    with place.ports.database.read() as tx:
        assert [order.encounter for order in orders.newest(tx)] == ["Encounter/3"]


def test_a_cancellation_that_comes_too_late_is_on_record(place: Place) -> None:
    place.say()
    with place.ports.database.write() as tx:
        [order] = orders.newest(tx)
        step.take(tx, order, Step.START, actor="mpps:US1", evidence="", at=place.clock(), ports=place.ports)
    place.push(_task(id="6", code={"coding": [{"code": "abort"}]}))
    assert place.states() == [State.STARTED]
    with place.ports.database.read() as tx:
        actions = [event.action for event in audit.of_subject(tx, f"order:{order.id}")]
    assert actions[-1] == "order.refuse"


def test_an_order_that_still_names_who_was_given_up_keeps_the_survivors_address(place: Place) -> None:
    place.push({**place.order["contained"][0], "id": "7"})
    place.say(subject={"reference": "Patient/7"})
    at = place.clock()
    with place.ports.database.write() as tx:
        [order] = orders.newest(tx)
        assert order.subject == "Patient/7"
        survivor = patients.save(tx, replace(order.patient, patient_id="STAYS"), at)
        patients.merge_into(tx, order.patient_row, survivor, at)
        move(tx, order, patients.of_row(tx, survivor), at)
    place.say(subject={"reference": "Patient/7"}, note=[{"text": "newer"}])
    with place.ports.database.read() as tx:
        [order] = orders.newest(tx)
    assert (order.patient.patient_id, order.subject) == ("STAYS", "")


@pytest.mark.parametrize(
    "status", ["proposed", "pending", "booked", "arrived", "cancelled", "noshow", "fulfilled"]
)
def test_an_appointment_never_ends_its_order(place: Place, status: str) -> None:
    place.say()
    based = [{"reference": "ServiceRequest/31"}]
    appointment = {"resourceType": "Appointment", "id": "7", "status": status, "basedOn": based}
    place.push({**appointment, "start": "2026-11-25T10:00:00Z", "participant": []})
    assert place.states() == [SCHEDULED]
    with place.ports.database.read() as tx:
        [order] = orders.newest(tx)
    start = str(order.attributes.get("ScheduledProcedureStepStartDateTime", ""))
    days = {"booked": "2026-11-25", "cancelled": "", "noshow": ""}
    assert start[:10] == days.get(status, place.order["occurrenceDateTime"][:10])
    assert (order.arrived_at is not None) is (status == "arrived")


def test_an_order_that_a_person_cancelled_stays_cancelled_and_the_newer_version_is_told(place: Place) -> None:
    place.say()
    with place.ports.database.read() as tx:
        [order] = orders.newest(tx)
    cancel(place.ports, order.id, actor="anna")
    verdict = place.say(note=[{"text": "newer"}])
    assert (place.states(), verdict) == ([CANCELLED], MessageState.HELD)
