"""Messages that do not bring along what they refer to, from their answer to the order they become."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from gateway.fhir.auth import Source
from gateway.fhir.holding import held_of, known_to
from gateway.fhir.interpret import understand
from gateway.flow.errand import LEASE, run_due
from gateway.flow.ports import Ports
from gateway.flow.receive import receive
from gateway.flow.replay import Rework, replay
from gateway.flow.settle import settle_received
from gateway.mapping.registry import Modules
from gateway.model.errand import Errand
from gateway.model.errors import NotFound, Unavailable
from gateway.model.ids import MessageId
from gateway.model.lifecycle import State
from gateway.model.message import Inbound, Interpretation, Message, MessageState, Protocol
from gateway.model.order import Order
from gateway.model.resource import Held
from gateway.store import errands, inbox, orders, resources
from tests.conftest import FakeClock

EHR = Source(name="ehr", auth=(), base_url="https://ehr.example/fhir", fresh=timedelta(hours=1))
PATIENCE = timedelta(minutes=5)


class Place:
    """The gateway between a record system that pushes orders and the same one that is read."""

    def __init__(self, ports: Ports, modules: Modules, clock: FakeClock, order: dict[str, Any]) -> None:
        self.ports, self.modules, self.clock = ports, modules, clock
        [self.patient] = order.pop("contained")
        self.order = order
        self.there: dict[str, dict[str, Any]] = {}
        self.is_down = False
        self.asked: list[str] = []

    def again(self, version: int) -> dict[str, Any]:
        """A newer version of the order."""
        meta = {"versionId": f"2{version}", "lastUpdated": self.clock().isoformat()}
        return {**self.order, "meta": meta}

    def push(self, resource: dict[str, Any]) -> MessageId:
        inbound = Inbound(protocol=Protocol.FHIR, source="ehr", peer="", raw=json.dumps(resource).encode())
        return receive(self.ports, inbound, self._arriving, lambda _: b"").message_id

    def work(self) -> None:
        while run_due(self.ports, "ehr", self._run, patience=PATIENCE):
            settle_received(self.ports, self.interpret)

    def interpret(self, message: Message | Inbound) -> Interpretation:
        stored = message if isinstance(message, Message) else None
        known = known_to(
            self.ports.database,
            "ehr",
            stored.id if stored else None,
            stale_before=EHR.stale_before(stored.received_at) if stored else None,
        )
        return understand(message.raw, EHR, self.modules, known=known).interpretation

    def message(self, message_id: MessageId) -> Message:
        with self.ports.database.read() as tx:
            return inbox.show(tx, message_id)

    def orders(self) -> tuple[Order, ...]:
        with self.ports.database.read() as tx:
            return tuple(reversed(orders.newest(tx)))

    def _arriving(self, raw: bytes) -> Interpretation:
        at = self.clock()
        known = known_to(self.ports.database, "ehr", stale_before=EHR.stale_before(at))
        return understand(raw, EHR, self.modules, known=known, at=at).interpretation

    def _run(self, errand: Errand) -> tuple[Held, ...]:
        self.asked.append(errand.target)
        if self.is_down:
            raise Unavailable("cannot be reached")
        if errand.target not in self.there:
            raise NotFound("answered 404")
        held = held_of("ehr", self.there[errand.target], self.clock())
        assert held is not None
        return (held,)


@pytest.fixture
def place(ports: Ports, modules: Modules, clock: FakeClock, wire: Callable[[str], bytes]) -> Place:
    order = json.loads(wire("contained"))
    return Place(ports, modules, clock, {**order, "subject": {"reference": "Patient/7"}})


def _patient(place: Place, own_id: str, **more: Any) -> dict[str, Any]:
    return {**place.patient, "id": own_id, **more}


def _replaced_by(own_id: str) -> list[dict[str, Any]]:
    return [{"type": "replaced-by", "other": {"reference": f"Patient/{own_id}"}}]


def test_an_order_waits_until_its_patient_was_read(place: Place) -> None:
    place.there["Patient/7"] = _patient(place, "7")
    message_id = place.push(place.order)
    assert settle_received(place.ports, place.interpret) == 0
    assert (place.message(message_id).state, place.orders()) == (MessageState.RECEIVED, ())
    place.work()
    assert place.message(message_id).state is MessageState.MAPPED
    [order] = place.orders()
    assert (order.state, order.subject, order.accession) == (State.SCHEDULED, "Patient/7", "FW-21")
    with place.ports.database.read() as tx:
        assert resources.of(tx, "ehr", "ServiceRequest", "21") is not None


def test_a_patient_who_is_known_is_not_asked_for(place: Place) -> None:
    place.push(_patient(place, "7"))
    message_id = place.push(place.order)
    assert place.message(message_id).state is MessageState.MAPPED
    place.work()
    assert place.asked == []


def test_an_absolute_address_below_the_senders_base_is_the_same_patient(place: Place) -> None:
    place.push(_patient(place, "7"))
    address = "https://ehr.example/fhir/Patient/7/_history/2"
    message_id = place.push({**place.order, "subject": {"reference": address}})
    assert place.message(message_id).state is MessageState.MAPPED


@pytest.mark.parametrize(
    "subject", [{"reference": "https://evil.example/fhir/Patient/7"}, {"display": "Doe, Jane"}]
)
def test_another_host_and_a_name_lead_to_nobody(place: Place, subject: dict[str, str]) -> None:
    message_id = place.push({**place.order, "subject": subject})
    assert place.message(message_id).state is MessageState.HELD
    place.work()
    assert place.asked == []


def test_a_patient_is_found_by_identifier(place: Place) -> None:
    own = place.patient["identifier"][0]
    subject = {"type": "Patient", "identifier": {"system": own["system"], "value": own["value"]}}
    target = f"Patient?identifier={own['system']}|{own['value']}"
    place.there[target] = _patient(place, "7")
    message_id = place.push({**place.order, "subject": subject})
    place.work()
    assert place.message(message_id).state is MessageState.MAPPED
    assert place.asked == [target]


def test_what_comes_later_waits_so_that_nothing_overtakes(place: Place) -> None:
    place.there["Patient/7"] = _patient(place, "7")
    first = place.push(place.order)
    second = place.push({**place.order, "status": "revoked", "meta": {"versionId": "2"}})
    assert place.message(second).state is MessageState.RECEIVED
    place.work()
    assert [place.message(one).state for one in (first, second)] == [MessageState.MAPPED] * 2
    assert [order.state for order in place.orders()] == [State.CANCELLED]


def test_an_order_that_ends_waits_for_nobody(place: Place) -> None:
    message_id = place.push({**place.order, "status": "revoked"})
    assert place.message(message_id).state is not MessageState.RECEIVED
    place.work()
    assert place.asked == []


def test_an_order_whose_patient_is_not_there_is_held_and_tried_again_by_a_person(place: Place) -> None:
    message_id = place.push(place.order)
    place.work()
    held = place.message(message_id)
    assert held.state is MessageState.HELD
    assert "ServiceRequest.subject: could not be read from the record system: answered 404" in held.reason
    [order] = place.orders()
    assert order.state is State.HELD
    place.there["Patient/7"] = _patient(place, "7")
    rework = Rework(interpret=place.interpret, text=lambda _: "", encode=lambda _, text: text.encode())
    assert replay(place.ports, message_id, rework, actor="user:anna").state is MessageState.RECEIVED
    place.work()
    assert place.message(message_id).state is MessageState.MAPPED
    assert [(one.id, one.state) for one in place.orders()] == [(order.id, State.SCHEDULED)]


def test_a_record_system_that_is_down_is_asked_again_until_patience_ends(place: Place) -> None:
    place.is_down = True
    message_id = place.push(place.order)
    for _ in range(100):
        place.work()
        if place.message(message_id).state is not MessageState.RECEIVED:
            break
        place.clock.advance(seconds=5)
    held = place.message(message_id)
    assert (held.state, place.clock() - held.received_at) == (MessageState.HELD, PATIENCE)
    assert "cannot be reached" in held.reason
    assert 4 < len(place.asked) < 20


def test_a_reading_that_the_gateway_fails_at_holds_its_order_and_no_other(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.there["Patient/8"] = _patient(place, "8")

    def run(errand: Errand) -> tuple[Held, ...]:
        if errand.target == "Patient/7":
            raise LookupError
        return Place._run(place, errand)

    monkeypatch.setattr(place, "_run", run)
    first = place.push(place.order)
    second = place.push({**place.order, "id": "22", "subject": {"reference": "Patient/8"}})
    place.work()
    assert place.message(first).state is MessageState.HELD
    assert "its log says why" in place.message(first).reason
    assert place.message(second).state is not MessageState.RECEIVED


def _notification(*named: str) -> dict[str, Any]:
    events = [
        {"name": "notification-event", "part": [{"name": "focus", "valueReference": {"reference": name}}]}
        for name in named
    ]
    about = {"name": "subscription", "valueReference": {"reference": "Subscription/1"}}
    kind = {"name": "type", "valueCode": "event-notification"}
    status = {"resourceType": "Parameters", "parameter": [about, kind, *events]}
    return {"resourceType": "Bundle", "type": "history", "entry": [{"resource": status}]}


def test_what_is_named_and_cannot_be_fetched_is_shown_to_a_person_who_tries_again(place: Place) -> None:
    message_id = place.push(_notification("ServiceRequest/22"))
    assert place.message(message_id).state is MessageState.SKIPPED
    place.work()
    held = place.message(message_id)
    because = "what it names could not be read from the record system: answered 404"
    assert (held.state, held.reason) == (MessageState.HELD, because)
    rework = Rework(interpret=place.interpret, text=lambda _: "", encode=lambda _, text: text.encode())
    place.there["ServiceRequest/22"] = {**place.order, "id": "22"}
    replay(place.ports, message_id, rework, actor="user:anna")
    place.work()
    assert place.message(message_id).state is MessageState.SKIPPED


def test_what_is_named_by_a_message_that_waits_is_shown_when_that_is_settled(place: Place) -> None:
    place.there["Patient/7"] = _patient(place, "7")
    place.push(place.order)
    place.is_down = True
    place.work()
    message_id = place.push(_notification("ServiceRequest/22"))
    place.is_down = False
    for _ in range(10):
        place.work()
        place.clock.advance(seconds=60)
    assert place.message(message_id).state is MessageState.HELD


def test_a_worker_that_died_gives_its_errand_back(place: Place) -> None:
    place.there["Patient/7"] = _patient(place, "7")
    message_id = place.push(place.order)
    with place.ports.database.write() as tx:
        assert len(errands.claim(tx, "ehr", place.clock(), LEASE)) == 1
    place.work()
    assert place.asked == []
    place.clock.advance(seconds=LEASE.total_seconds())
    place.work()
    assert place.message(message_id).state is MessageState.MAPPED


def test_a_patient_who_was_merged_is_the_survivor(place: Place) -> None:
    place.there["Patient/7"] = _patient(place, "7", link=_replaced_by("8"))
    survivor = [{**place.patient["identifier"][0], "value": "SURVIVOR"}]
    place.there["Patient/8"] = _patient(place, "8", identifier=survivor)
    place.push(place.order)
    place.work()
    assert [order.patient.patient_id for order in place.orders()] == ["SURVIVOR"]
    assert place.asked == ["Patient/7", "Patient/8"]


def test_patients_who_replace_each_other_are_nobody(place: Place) -> None:
    place.there["Patient/7"] = _patient(place, "7", link=_replaced_by("8"))
    place.there["Patient/8"] = _patient(place, "8", link=_replaced_by("7"))
    message_id = place.push(place.order)
    place.work()
    assert place.message(message_id).state is MessageState.HELD
    assert len(place.asked) == 2


def test_what_is_held_too_long_is_read_again_before_it_is_used(place: Place) -> None:
    """The patient was married meanwhile, and nobody told us."""
    place.there["Patient/7"] = {**place.patient, "id": "7", "name": [{"family": "Before"}]}
    place.order["subject"] = {"reference": "Patient/7"}
    place.push(place.order)
    place.work()
    place.there["Patient/7"]["name"] = [{"family": "Afterwards"}]
    place.clock.advance(seconds=1800)
    soon = place.push(place.again(1))
    assert place.message(soon).state is MessageState.MAPPED
    place.clock.advance(seconds=3660)
    later = place.push(place.again(2))
    assert place.message(later).state is MessageState.RECEIVED
    place.work()
    assert [order.patient.name.partition("^")[0] for order in place.orders()] == ["Afterwards"]


def test_what_cannot_be_read_again_stands_with_a_remark(place: Place) -> None:
    _hold_too_long(place)
    place.push(place.again(1))
    place.work()
    place.clock.advance(seconds=360)
    place.work()
    [order] = place.orders()
    assert order.state is State.SCHEDULED
    assert any("as it was read before" in fault.text for fault in order.faults)


def _named(value: str, system: str = "") -> dict[str, Any]:
    own = {"value": value, **({"system": system} if system else {})}
    return {"type": "Patient", "identifier": own}


def _searched(place: Place, *, with_system: bool) -> str:
    """The order names its patient by identifier alone; what is asked for then."""
    own = place.patient["identifier"][0]
    system = own["system"] if with_system else ""
    place.order["subject"] = _named(own["value"], system)
    return f"Patient?identifier={system}|{own['value']}"


def test_a_reading_that_leads_elsewhere_holds_its_order_and_no_other(place: Place) -> None:
    place.there["Patient/7"] = _patient(place, "8")
    first = place.push(place.order)
    cancel = place.push({**place.order, "id": "22", "status": "revoked"})
    place.work()
    assert place.asked == ["Patient/7"]
    assert place.message(first).state is MessageState.HELD
    assert "ServiceRequest.subject: could not be read from the record system" in place.message(first).reason
    assert place.message(cancel).state is not MessageState.RECEIVED


def test_a_reading_that_led_elsewhere_is_asked_for_once_more_by_a_person(place: Place) -> None:
    place.there["Patient/7"] = _patient(place, "8")
    message_id = place.push(place.order)
    place.work()
    place.there["Patient/7"] = _patient(place, "7")
    rework = Rework(interpret=place.interpret, text=lambda _: "", encode=lambda _, text: text.encode())
    replay(place.ports, message_id, rework, actor="user:anna")
    place.work()
    assert place.asked == ["Patient/7", "Patient/7"]
    assert place.message(message_id).state is MessageState.MAPPED


def test_a_patient_without_the_identifier_that_was_searched_for_is_nobody(place: Place) -> None:
    target = _searched(place, with_system=True)
    other = [{**place.patient["identifier"][0], "value": "OTHER"}]
    place.there[target] = _patient(place, "7", identifier=other)
    message_id = place.push(place.order)
    place.work()
    assert place.asked == [target]
    assert place.message(message_id).state is MessageState.HELD


@pytest.mark.parametrize("with_system", [True, False])
def test_an_identifier_that_several_have_here_is_nobodys(place: Place, with_system: bool) -> None:
    target = _searched(place, with_system=with_system)
    place.push(_patient(place, "7"))
    place.push(_patient(place, "8"))
    place.there[target] = _patient(place, "8")
    message_id = place.push(place.order)
    place.work()
    assert place.asked == [target]
    assert place.message(message_id).state is MessageState.HELD
    assert "several here have the same identifier" in place.message(message_id).reason


def test_an_identifier_without_a_system_is_the_patients_whom_the_record_system_finds(place: Place) -> None:
    target = _searched(place, with_system=False)
    place.there[target] = _patient(place, "7")
    message_id = place.push(place.order)
    place.work()
    assert place.asked == [target]
    assert place.message(message_id).state is MessageState.MAPPED


def test_an_identifier_without_a_system_is_not_guessed_to_be_that_of_somebody_here(place: Place) -> None:
    target = _searched(place, with_system=False)
    place.push(_patient(place, "7"))
    message_id = place.push(place.order)
    place.work()
    assert place.asked == [target]
    assert place.message(message_id).state is MessageState.HELD
    assert "answered 404" in place.message(message_id).reason


def test_an_older_copy_of_what_is_held_leaves_it_standing_with_a_remark(place: Place) -> None:
    """The server answers from a copy of its database that is behind."""
    place.push(_patient(place, "7", meta={"versionId": "5"}))
    place.there["Patient/7"] = _patient(place, "7", meta={"versionId": "4"})
    place.clock.advance(seconds=3660)
    message_id = place.push(place.order)
    place.work()
    assert place.asked == ["Patient/7"]
    assert place.message(message_id).state is MessageState.MAPPED
    [order] = place.orders()
    assert order.state is State.SCHEDULED
    assert any("older version" in fault.text for fault in order.faults)


def test_an_end_waits_for_nothing_that_is_held(place: Place) -> None:
    _hold_too_long(place)
    place.push({**place.again(1), "status": "revoked"})
    assert [order.state for order in place.orders()] == [State.CANCELLED]


def _hold_too_long(place: Place) -> None:
    """The patient was read so long ago that it is to be read again, and the server is down."""
    place.there["Patient/7"] = {**place.patient, "id": "7"}
    place.order["subject"] = {"reference": "Patient/7"}
    place.push(place.order)
    place.work()
    place.clock.advance(seconds=3660)
    place.is_down = True
