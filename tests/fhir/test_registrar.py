"""Subscriptions: made, found again, renewed, and told of when something is wrong."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fhir.resources.R4B.subscription import Subscription as R4Subscription
from fhir.resources.subscription import Subscription as R5Subscription
from pydantic import TypeAdapter, ValidationError

from gateway.fhir.exchange import Connection
from gateway.fhir.registrar import Form, Registrar, Watcher, Wish, render
from gateway.sections import Subscribe
from tests.conftest import FakeClock

BASE = "https://ehr.example/fhir"
ENDPOINT = "https://gateway.example/fhir/ehr"
TOPIC = "https://ehr.example/topics/orders"
WISH = Wish(
    form=Form.R4,
    endpoint=ENDPOINT,
    criteria="ServiceRequest?category=a|b",
    headers=("Authorization: Bearer hush:hush",),
    lasts=timedelta(days=30),
)


class Ehr:
    """A server that keeps Subscriptions."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.is_down = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.is_down:
            return httpx.Response(403, json={"resourceType": "OperationOutcome", "issue": []})
        if request.method == "GET":
            entries = [{"resource": one} for one in self.kept.values()]
            return httpx.Response(200, json={"resourceType": "Bundle", "type": "searchset", "entry": entries})
        own_id = request.url.path.rpartition("/")[2] if request.method == "PUT" else str(len(self.kept) + 1)
        self.kept[own_id] = {**json.loads(request.content), "id": own_id}
        return httpx.Response(201, headers={"Location": f"{BASE}/Subscription/{own_id}/_history/1"})


@pytest.fixture
def ehr() -> Ehr:
    return Ehr()


@pytest.fixture
def make(ehr: Ehr, clock: FakeClock) -> Callable[[Wish], Registrar]:
    client = httpx.Client(transport=httpx.MockTransport(ehr))
    return lambda wish: Registrar(wish, BASE, Connection(client, 5.0), clock)


@pytest.mark.parametrize("form", [Form.R4, Form.BACKPORT])
@pytest.mark.parametrize("payload", ["full-resource", "empty"])
def test_what_is_asked_for_is_valid_in_r4(clock: FakeClock, form: Form, payload: str) -> None:
    topic = TOPIC if form is Form.BACKPORT else ""
    wish = Wish(
        form=form, endpoint=ENDPOINT, criteria=WISH.criteria, topic=topic, payload=payload, heartbeat_s=60
    )
    found = render(wish, clock())
    R4Subscription.model_validate(found)
    assert found["criteria"] == (topic or WISH.criteria)
    assert ("payload" in found["channel"]) is (form is Form.BACKPORT or payload != "empty")


def test_what_is_asked_for_is_valid_in_r5(clock: FakeClock) -> None:
    wish = Wish(form=Form.R5, endpoint=ENDPOINT, criteria=WISH.criteria, topic=TOPIC, headers=WISH.headers)
    found = render(wish, clock())
    R5Subscription.model_validate(found)
    assert found["parameter"] == [{"name": "Authorization", "value": "Bearer hush:hush"}]
    assert found["filterBy"] == [
        {"resourceType": "ServiceRequest", "filterParameter": "category", "value": "a|b"}
    ]


def test_a_subscription_is_made_once_and_found_again(
    ehr: Ehr, make: Callable[[Wish], Registrar], clock: FakeClock
) -> None:
    registrar = make(WISH)
    assert registrar.show() is None
    first = registrar.subscribe()
    assert (first.address, first.status, first.ends) == (
        "Subscription/1",
        "requested",
        clock() + timedelta(days=30),
    )
    ehr.kept["1"]["status"] = "active"
    registrar.subscribe()
    assert list(ehr.kept) == ["1"]
    assert "hush" not in repr(WISH)


@pytest.mark.parametrize(("status", "is_renewed"), [("active", False), ("error", True), ("off", True)])
def test_one_that_failed_is_asked_for_anew(
    ehr: Ehr, make: Callable[[Wish], Registrar], status: str, is_renewed: bool
) -> None:
    registrar = make(WISH)
    registrar.subscribe()
    ehr.kept["1"]["status"] = status
    registrar.watch()
    assert ehr.kept["1"]["status"] == ("requested" if is_renewed else status)


def test_one_that_is_about_to_end_is_renewed(
    ehr: Ehr, make: Callable[[Wish], Registrar], clock: FakeClock
) -> None:
    registrar = make(WISH)
    registrar.subscribe()
    clock.advance(seconds=19 * 86400)
    before = ehr.kept["1"]["end"]
    registrar.watch()
    assert ehr.kept["1"]["end"] == before
    clock.advance(seconds=2 * 86400)
    registrar.watch()
    assert ehr.kept["1"]["end"] > before


def test_a_person_is_told_what_is_wrong(ehr: Ehr, make: Callable[[Wish], Registrar]) -> None:
    registrar = make(WISH)
    watcher = Watcher({"ehr": registrar})
    watcher.look()
    assert list(watcher.warnings) == [
        "fhir.sources.ehr.subscribe: there is none; make it with: gateway fhir subscribe"
    ]
    registrar.subscribe()
    ehr.is_down = True
    watcher.look()
    assert watcher.warnings[0].endswith("the server answered 403")
    ehr.is_down = False
    watcher.look()
    assert list(watcher.warnings) == []


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"criteria": "ServiceRequest?status=active"}, "must not ask for a status"),
        ({"criteria": "ServiceRequest?status:not=draft"}, "must not ask for a status"),
        ({}, "criteria: needed"),
        ({"form": "r5", "criteria": "ServiceRequest?a=b"}, "topic: needed"),
        ({"criteria": "ServiceRequest?a=b", "payload": "id-only"}, "neither id-only nor heartbeats"),
    ],
)
def test_a_wish_that_would_lose_orders_is_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        TypeAdapter(Subscribe).validate_python({"endpoint": ENDPOINT, **given})
