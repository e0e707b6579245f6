"""Which time an order has when its ServiceRequest and Appointments speak of it, in any order."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.flow.ports import Ports
from gateway.mapping.registry import Modules
from gateway.model.lifecycle import State
from gateway.model.message import MessageState
from gateway.model.order import Order
from gateway.store import orders
from tests.conftest import FakeClock
from tests.fhir.test_states import Place

OWN = "2026-11-23T10:00"  # what the ServiceRequest itself asks for


@pytest.fixture
def place(ports: Ports, modules: Modules, clock: FakeClock, wire: Callable[[str], bytes]) -> Place:
    order = json.loads(wire("aidbox-notification"))["resource"]
    return Place(ports, modules, clock, {**order, "id": "31", "occurrenceDateTime": f"{OWN}:00Z"})


def booked(number: str, day: int, status: str = "booked") -> dict[str, Any]:
    return {
        "resourceType": "Appointment",
        "id": number,
        "status": status,
        "start": f"2026-11-{day}T14:00:00Z",
        "basedOn": [{"reference": "ServiceRequest/31"}],
        "participant": [],
    }


def the_order(place: Place) -> Order:
    with place.ports.database.read() as tx:
        (order,) = orders.newest(tx)
    return order


def start(place: Place) -> str:
    found = the_order(place).start
    return f"{found:%Y-%m-%dT%H:%M}" if found else ""


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize("is_first", [False, True])
def test_an_order_and_its_appointment_come_in_one_bundle(
    place: Place, is_known: bool, is_first: bool
) -> None:
    if is_known:
        place.say()
    both = [place.order, booked("7", 25)]
    entry = [{"resource": resource} for resource in (reversed(both) if is_first else both)]
    verdict = place.push({"resourceType": "Bundle", "type": "collection", "entry": entry})
    assert (verdict, start(place)) == (MessageState.MAPPED, "2026-11-25T14:00")


def test_an_arrival_in_the_bundle_of_its_order_is_noted(place: Place) -> None:
    entry = [{"resource": resource} for resource in (place.order, booked("7", 23, "arrived"))]
    place.push({"resourceType": "Bundle", "type": "collection", "entry": entry})
    assert the_order(place).arrived_at is not None


def test_the_time_of_an_appointment_stands_whatever_the_order_says_later(place: Place) -> None:
    place.say()
    assert start(place) == OWN
    place.push(booked("7", 25))
    assert place.say(note=[{"text": "fasting"}]) is MessageState.MAPPED
    assert start(place) == "2026-11-25T14:00"
    place.push(booked("7", 25, "cancelled"))
    assert start(place) == ""
    place.say(note=[{"text": "again"}])
    assert start(place) == OWN


def test_the_end_of_an_earlier_appointment_takes_no_time_from_a_later_one(place: Place) -> None:
    place.say()
    place.push(booked("7", 25))
    place.push(booked("8", 26))
    assert place.push(booked("7", 25, "cancelled")) is MessageState.SKIPPED
    assert (start(place), the_order(place).state) == ("2026-11-26T14:00", State.SCHEDULED)
    assert place.push(booked("8", 26, "noshow")) is MessageState.MAPPED
    assert start(place) == ""
