"""The contract of /fhir/{source}: each sender's own way of pushing, as it is on the wire, and the least of REST."""

import asyncio
import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.operationoutcome import OperationOutcome
from starlette.applications import Starlette

from gateway.fhir.auth import Source
from gateway.fhir.inbound import routes
from gateway.fhir.interpret import understand
from gateway.flow.ports import Ports
from gateway.flow.replay import Rework, replay
from gateway.mapping.registry import Modules
from gateway.model.errand import ErrandKind
from gateway.model.lifecycle import State
from gateway.model.message import Inbound, Interpretation, Message, MessageState
from gateway.store import errands, inbox, orders
from tests.conftest import FakeClock

SOURCES = {
    "ehr": Source(
        name="ehr", auth=(), base_url="https://ehr.example/fhir", polls="ServiceRequest?category=imaging"
    ),
    "mute": Source(name="mute", auth=()),
}
Wire = Callable[[str], bytes]


@dataclass
class Gateway:
    """The FHIR edge as a sender meets it."""

    ports: Ports
    app: Starlette

    def ask(
        self, method: str, path: str, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        return asyncio.run(self._ask(method, f"/fhir/{path}", content, dict(headers or {})))

    def states(self) -> list[State]:
        with self.ports.database.read() as tx:
            return [order.state for order in reversed(orders.newest(tx))]

    def messages(self) -> tuple[Message, ...]:
        with self.ports.database.read() as tx:
            return tuple(reversed(inbox.newest(tx)))

    def wanted(self) -> list[tuple[ErrandKind, str]]:
        with self.ports.database.read() as tx:
            return [
                (one.kind, one.target)
                for message in reversed(inbox.newest(tx))
                for one in errands.of_message(tx, message.id)
            ]

    async def _ask(self, method: str, path: str, content: bytes, headers: dict[str, str]) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, client=("10.0.0.9", 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.request(method, path, content=content, headers=headers)


@pytest.fixture
def gateway(ports: Ports, modules: Modules) -> Gateway:
    app = Starlette(routes=routes(ports, lambda: modules, SOURCES, max_bytes=64 * 1024))
    return Gateway(ports, app)


def _outcome(answer: httpx.Response) -> Any:
    tree = answer.json()
    OperationOutcome.model_validate(tree)
    return tree["issue"][0]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("hapi-transaction", "transaction-response"),
        ("backport-full", "batch-response"),
        ("microsoft-full", "batch-response"),
        ("google-full", ""),
        ("aidbox-notification", ""),
        ("document", "batch-response"),
        ("create-order", "batch-response"),
    ],
)
def test_every_sender_gets_its_order_scheduled_and_an_answer_it_can_read(
    gateway: Gateway, wire: Wire, name: str, kind: str
) -> None:
    answer = gateway.ask("POST", "ehr", wire(name), {"Content-Type": "text/plain; charset=utf-8"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/fhir+json")
    assert gateway.states() == [State.SCHEDULED]
    tree = answer.json()
    assert tree.get("type", "") == kind
    (Bundle if kind else OperationOutcome).model_validate(tree)
    assert gateway.wanted() == []


@pytest.mark.parametrize("name", ["backport-id-only", "athena-id-only", "r5-id-only", "google-name"])
def test_what_is_only_named_is_fetched(gateway: Gateway, wire: Wire, name: str) -> None:
    answer = gateway.ask("POST", "ehr", wire(name))
    assert answer.status_code == 200
    assert gateway.wanted() == [(ErrandKind.FETCH, "ServiceRequest/31")]
    assert [message.state for message in gateway.messages()] == [MessageState.SKIPPED]


@pytest.mark.parametrize("name", ["backport-empty", ""])
def test_what_is_not_even_named_is_looked_for(gateway: Gateway, wire: Wire, name: str) -> None:
    answer = gateway.ask("POST", "ehr", wire(name) if name else b"")
    assert answer.status_code == 200
    assert gateway.wanted() == [(ErrandKind.POLL, "")]


@pytest.mark.parametrize("name", ["backport-id-only", "backport-empty", "athena-identifier", ""])
def test_what_cannot_be_asked_for_is_shown_to_a_person(gateway: Gateway, wire: Wire, name: str) -> None:
    source = "ehr" if name == "athena-identifier" else "mute"
    assert gateway.ask("POST", source, wire(name) if name else b"").status_code == 200
    [message] = gateway.messages()
    assert (message.state, gateway.wanted()) == (MessageState.HELD, [])
    assert "names what changed" in message.reason


@pytest.mark.parametrize("name", ["backport-handshake", "backport-heartbeat", "aidbox-handshake"])
def test_a_sign_of_life_is_taken_each_time(gateway: Gateway, wire: Wire, clock: FakeClock, name: str) -> None:
    for _ in range(2):
        clock.advance(seconds=60)
        assert gateway.ask("POST", "ehr", wire(name)).status_code == 200
    assert [message.state for message in gateway.messages()] == [MessageState.SKIPPED] * 2
    assert (gateway.states(), gateway.wanted()) == ([], [])


def test_one_event_sent_again_in_other_bytes_is_taken_once(gateway: Gateway, wire: Wire) -> None:
    first = gateway.ask("POST", "ehr", wire("athena-id-only"))
    again = gateway.ask("POST", "ehr", wire("athena-id-only").replace(b'"history"', b'"history", "id": "x"'))
    assert (again.status_code, again.content) == (200, first.content)
    assert len(gateway.messages()) == 1


@pytest.mark.parametrize("name", ["google-deleted", "backport-deleted"])
def test_a_sender_tells_that_an_order_was_deleted(gateway: Gateway, wire: Wire, name: str) -> None:
    gateway.ask("POST", "ehr", wire("google-full"))
    assert gateway.ask("POST", "ehr", wire(name)).status_code == 200
    assert gateway.states() == [State.CANCELLED]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers"),
    [
        ("DELETE", "ehr/ServiceRequest/31", b"", {}),
        ("POST", "ehr", b"{}", {"X-Medplum-Deleted-Resource": "ServiceRequest/31"}),
        ("POST", "ehr/ServiceRequest/31/$cancel-order", b'{"resourceType": "Parameters"}', {}),
    ],
)
def test_an_order_is_deleted_and_comes_back_only_in_a_newer_version(
    gateway: Gateway, wire: Wire, method: str, path: str, body: bytes, headers: dict[str, str]
) -> None:
    order = json.loads(wire("aidbox-notification"))["resource"]
    gateway.ask("PUT", "ehr/ServiceRequest/31", json.dumps(order).encode())
    answer = gateway.ask(method, path, body, headers)
    assert (answer.status_code, _outcome(answer)["diagnostics"]) == (
        200,
        "orders: 0 scheduled, 0 held, 1 cancelled",
    )
    assert gateway.ask("GET", "ehr/ServiceRequest/31").status_code == 410
    late = {**order, "note": [{"text": "late"}]}
    gateway.ask("PUT", "ehr/ServiceRequest/31", json.dumps(late).encode())
    assert gateway.states() == [State.CANCELLED]
    newer = {**order, "meta": {"versionId": "3", "lastUpdated": "2026-11-20T10:00:00Z"}}
    gateway.ask("PUT", "ehr/ServiceRequest/31", json.dumps(newer).encode())
    assert sorted(gateway.states()) == [State.CANCELLED, State.SCHEDULED]
    assert gateway.ask("GET", "ehr/ServiceRequest/31").status_code == 200


def test_what_came_before_and_has_no_version_is_held_when_something_else_came_since(
    gateway: Gateway, wire: Wire, modules: Modules
) -> None:
    """It is active, on hold, active again; or what was sent first was sent once more, late."""
    order = json.loads(wire("aidbox-notification"))["resource"]
    del order["meta"]
    active, on_hold = (json.dumps({**order, "status": one}).encode() for one in ("active", "on-hold"))
    for body in (active, active, on_hold, on_hold, active, active):
        assert gateway.ask("PUT", "ehr/ServiceRequest/31", body).status_code == 200
    assert gateway.states() == [State.HELD]
    *_, back = gateway.messages()
    assert len(gateway.messages()) == 3
    assert back.state is MessageState.HELD
    assert "once more or news cannot be told" in back.reason

    def interpret(message: Message | Inbound) -> Interpretation:
        return understand(message.raw, SOURCES["ehr"], modules, request=message.request).interpretation

    rework = Rework(interpret=interpret, text=lambda _: "", encode=lambda _, text: text.encode())
    replay(gateway.ports, back.id, rework, actor="user:anna")
    assert gateway.states() == [State.SCHEDULED]
    gateway.ask("PUT", "ehr/ServiceRequest/31", on_hold)
    assert gateway.messages()[-1].state is MessageState.HELD
    assert len(gateway.messages()) == 4


def test_what_has_a_version_is_a_repeat_whatever_came_since(gateway: Gateway, wire: Wire) -> None:
    order = json.loads(wire("aidbox-notification"))["resource"]
    for number, status in ((1, "active"), (2, "on-hold"), (1, "active")):
        order |= {"status": status, "meta": {"lastUpdated": f"2026-11-20T08:0{number}:00Z"}}
        bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": order}]}
        gateway.ask("POST", "ehr", json.dumps(bundle).encode())
    assert (gateway.states(), len(gateway.messages())) == ([State.HELD], 2)


def test_two_deletions_of_one_order_are_no_repeat(gateway: Gateway, wire: Wire, clock: FakeClock) -> None:
    order = json.loads(wire("aidbox-notification"))["resource"]
    for version in ("1", "3"):
        clock.advance(seconds=60)
        order["meta"] = {"versionId": version, "lastUpdated": f"2026-11-20T0{version}:00:00Z"}
        gateway.ask("PUT", "ehr/ServiceRequest/31", json.dumps(order).encode())
        gateway.ask("DELETE", "ehr/ServiceRequest/31")
    assert gateway.states() == [State.CANCELLED, State.CANCELLED]


def test_deleting_what_is_not_known_is_no_doubt(gateway: Gateway) -> None:
    assert gateway.ask("DELETE", "ehr/ServiceRequest/99").status_code == 200
    assert [message.state for message in gateway.messages()] == [MessageState.SKIPPED]


def test_a_history_that_ends_in_a_deletion_takes_the_order_back(gateway: Gateway, wire: Wire) -> None:
    order = json.loads(wire("aidbox-notification"))["resource"]
    url = "https://ehr.example/fhir/ServiceRequest/31"
    kept = {"fullUrl": url, "resource": order, "request": {"method": "PUT", "url": "ServiceRequest/31"}}
    gone = {"fullUrl": url, "request": {"method": "DELETE", "url": "ServiceRequest/31"}}
    bundle = {"resourceType": "Bundle", "type": "history", "entry": [gone, kept]}
    gateway.ask("POST", "ehr", json.dumps(bundle).encode())
    assert gateway.states() == []
    bundle["entry"] = [kept, gone]
    gateway.ask("POST", "mute", json.dumps(bundle).encode())
    assert gateway.states() == [State.SCHEDULED]


@pytest.mark.parametrize(
    ("method", "url", "state"),
    [
        ("PATCH", "ServiceRequest/31", MessageState.HELD),
        ("POST", "ServiceRequest/31/$cancel-order", MessageState.HELD),
        ("GET", "ServiceRequest/31", MessageState.SKIPPED),
    ],
)
def test_what_an_entry_asks_and_is_not_done_is_said(
    gateway: Gateway, method: str, url: str, state: MessageState
) -> None:
    patient = {
        "request": {"method": "PUT", "url": "Patient/8"},
        "resource": {"resourceType": "Patient", "id": "8"},
    }
    entry = {"request": {"method": method, "url": url}, "resource": {"resourceType": "Parameters"}}
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [patient, entry]}
    answer = gateway.ask("POST", "ehr", json.dumps(bundle).encode())
    said = [one["response"]["status"] for one in answer.json()["entry"]]
    assert said == ["200 OK", "405 Method Not Allowed"]
    assert [message.state for message in gateway.messages()] == [state]


def test_what_happened_in_a_history_is_not_asked_of_us(gateway: Gateway, wire: Wire) -> None:
    order = json.loads(wire("aidbox-notification"))["resource"]
    entry = {"request": {"method": "PATCH", "url": "ServiceRequest/31"}, "resource": order}
    bundle = {"resourceType": "Bundle", "type": "history", "entry": [entry]}
    answer = gateway.ask("POST", "ehr", json.dumps(bundle).encode())
    assert [one["response"]["status"] for one in answer.json()["entry"]] == ["200 OK"]
    assert gateway.states() == [State.SCHEDULED]


def test_a_deletion_by_search_is_not_done_and_said(gateway: Gateway) -> None:
    entry = {"request": {"method": "DELETE", "url": "ServiceRequest?identifier=a|b"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    answer = gateway.ask("POST", "ehr", json.dumps(bundle).encode())
    assert answer.json()["entry"][0]["response"]["status"].startswith("405")
    assert [message.state for message in gateway.messages()] == [MessageState.HELD]


def test_a_sender_that_works_by_rest_finds_what_it_created(gateway: Gateway, wire: Wire) -> None:
    order = json.loads(wire("contained"))
    [patient] = order.pop("contained")
    identifier = {"system": "urn:mrn", "value": "MRN7007"}
    patient = {**patient, "identifier": [*patient["identifier"], identifier]}
    del patient["id"]
    query = "mute/Patient?identifier=urn:mrn%7CMRN7007"
    assert gateway.ask("GET", query).json()["total"] == 0
    created = gateway.ask("POST", "mute/Patient", json.dumps(patient).encode())
    own_id = created.json()["id"]
    assert (created.status_code, created.headers["location"]) == (
        201,
        f"http://gateway/fhir/mute/Patient/{own_id}",
    )
    assert gateway.ask("GET", f"mute/Patient/{own_id}").headers["etag"] == created.headers["etag"]
    again = gateway.ask("POST", "mute/Patient", json.dumps(patient).encode())
    assert (again.status_code, again.json()["id"]) == (201, own_id)
    found = gateway.ask("GET", query).json()
    Bundle.model_validate(found)
    assert [entry["resource"]["id"] for entry in found["entry"]] == [own_id]
    posted = gateway.ask("POST", "mute/Patient/_search", b"identifier=urn:mrn|MRN7007").json()
    assert posted["total"] == 1
    order.update(subject={"reference": f"Patient/{own_id}"})
    del order["id"]
    answer = gateway.ask("POST", "mute/ServiceRequest", json.dumps(order).encode())
    assert (answer.status_code, gateway.states()) == (201, [State.SCHEDULED])


def test_a_transaction_that_creates_says_where_each_resource_is(gateway: Gateway, wire: Wire) -> None:
    bundle = json.loads(wire("hapi-transaction"))
    bundle["entry"] = [
        {**entry, "fullUrl": f"urn:uuid:{number}", "request": {"method": "POST", "url": "x"}}
        for number, entry in enumerate(bundle["entry"])
    ]
    order, patient = (entry["resource"] for entry in bundle["entry"])
    del order["id"], patient["id"]
    order["subject"]["reference"] = "urn:uuid:1"
    answers = [gateway.ask("POST", "ehr/", json.dumps(bundle).encode()).json() for _ in range(2)]
    assert answers[0] == answers[1]
    responses = [entry["response"] for entry in answers[0]["entry"]]
    assert [one["status"] for one in responses] == ["201 Created"] * 2
    stored = gateway.ask("GET", f"ehr/{responses[0]['location']}").json()
    assert stored["subject"]["reference"] == responses[1]["location"]
    assert gateway.states() == [State.SCHEDULED]


def test_a_revoked_order_is_cancelled_though_its_task_still_asks_for_it(gateway: Gateway, wire: Wire) -> None:
    order = json.loads(wire("aidbox-notification"))["resource"]
    task = {
        "resourceType": "Task",
        "id": "5",
        "status": "requested",
        "intent": "order",
        "focus": {"reference": "ServiceRequest/31"},
    }
    for version, status in (("1", "active"), ("2", "revoked")):
        meta = {"versionId": version, "lastUpdated": f"2026-11-20T0{version}:00:00Z"}
        newer = {**order, "status": status, "meta": meta}
        bundle = {
            "resourceType": "Bundle",
            "type": "searchset",
            "entry": [{"resource": task}, {"resource": newer}],
        }
        gateway.ask("POST", "ehr", json.dumps(bundle).encode())
    assert gateway.states() == [State.CANCELLED]


def test_a_task_for_an_order_that_has_ended_is_for_a_person(gateway: Gateway, wire: Wire) -> None:
    order = {**json.loads(wire("aidbox-notification"))["resource"], "status": "revoked"}
    gateway.ask("PUT", "ehr/ServiceRequest/31", json.dumps(order).encode())
    task = {
        "resourceType": "Task",
        "id": "5",
        "status": "requested",
        "intent": "order",
        "focus": {"reference": "ServiceRequest/31"},
    }
    gateway.ask("PUT", "ehr/Task/5", json.dumps(task).encode())
    assert State.SCHEDULED not in gateway.states()
    assert gateway.messages()[-1].state is MessageState.HELD


def test_a_create_on_condition_creates_once(gateway: Gateway) -> None:
    patient = {"resourceType": "Patient", "identifier": [{"system": "s", "value": "1"}]}
    condition = {"If-None-Exist": "identifier=s|1"}
    first = gateway.ask("POST", "ehr/Patient", json.dumps(patient).encode(), condition)
    other = json.dumps({**patient, "gender": "female"}).encode()
    second = gateway.ask("POST", "ehr/Patient", other, condition)
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == first.json()
    gateway.ask("POST", "ehr/Patient", other)
    third = gateway.ask("POST", "ehr/Patient", b'{"resourceType": "Patient"}', condition)
    assert (third.status_code, _outcome(third)["code"]) == (412, "multiple-matches")


@pytest.mark.parametrize(
    ("wish", "kind"),
    [
        ("return=minimal", ""),
        ("return=representation", "Patient"),
        ("return=OperationOutcome", "OperationOutcome"),
    ],
)
def test_the_answer_is_what_the_sender_prefers(gateway: Gateway, wish: str, kind: str) -> None:
    body = b'{"resourceType": "Patient", "multipleBirthInteger": 52.10}'
    for method, path in (("POST", "ehr/Patient"), ("PUT", "ehr/Patient/8")):
        answer = gateway.ask(method, path, body, {"Prefer": wish})
        assert (answer.json()["resourceType"] if kind else answer.content) == (kind or b"")
        assert "52.10" in answer.text or kind != "Patient"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("ehr/Patient/8", b'{"resourceType": "Patient", "id": "9"}'),
        ("ehr/ServiceRequest/8", b'{"resourceType": "Patient", "id": "8"}'),
        ("ehr/Patient/a_b", b'{"resourceType": "Patient"}'),
    ],
)
def test_an_update_of_another_resource_than_the_address_names_is_refused(
    gateway: Gateway, path: str, body: bytes
) -> None:
    answer = gateway.ask("PUT", path, body)
    assert (answer.status_code, _outcome(answer)["severity"]) == (400, "error")
    assert [message.state for message in gateway.messages()] == [MessageState.FAILED]


def test_a_put_without_an_id_has_that_of_the_address(gateway: Gateway) -> None:
    gateway.ask("PUT", "ehr/Patient/8", b'{"resourceType": "Patient"}')
    assert gateway.ask("GET", "ehr/Patient/8").json() == {"resourceType": "Patient", "id": "8"}
    assert gateway.ask("GET", "mute/Patient/8").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "ehr/Patient/404", 404),
        ("GET", "nobody/Patient", 404),
        ("GET", "ehr", 405),
        ("PATCH", "ehr/Patient/8", 405),
        ("PUT", "ehr/Patient", 405),
        ("DELETE", "ehr", 405),
        ("GET", "ehr/Patient/8/_history/1", 404),
        ("GET", "ehr/Patient?identifier=|", 400),
    ],
)
def test_what_is_not_there_or_not_offered_is_said_in_fhir(
    gateway: Gateway, method: str, path: str, status: int
) -> None:
    answer = gateway.ask(method, path)
    assert (answer.status_code, _outcome(answer)["severity"]) == (status, "error")
    assert ("allow" in answer.headers) == (status == 405)


def test_xml_is_kept_and_its_sender_told_what_to_change(gateway: Gateway) -> None:
    answer = gateway.ask("POST", "ehr", b'<ServiceRequest xmlns="http://hl7.org/fhir"/>')
    assert answer.status_code == 415
    assert "Subscription.channel.payload" in _outcome(answer)["diagnostics"]
    assert [message.state for message in gateway.messages()] == [MessageState.FAILED]


def test_a_packed_body_is_unpacked_within_the_limit(gateway: Gateway, wire: Wire) -> None:
    packed = {"Content-Encoding": "gzip"}
    assert gateway.ask("POST", "ehr", gzip.compress(wire("contained")), packed).status_code == 200
    assert gateway.states() == [State.SCHEDULED]
    assert gateway.messages()[0].raw == wire("contained")
    assert gateway.ask("POST", "ehr", gzip.compress(b" " * 10_000_000), packed).status_code == 413
    assert gateway.ask("POST", "ehr", b"no gzip", packed).status_code == 415
    assert gateway.ask("POST", "ehr", gzip.compress(wire("contained"))[:-9], packed).status_code == 415
    assert gateway.ask("POST", "ehr", b"{}", {"Content-Encoding": "br"}).status_code == 415
