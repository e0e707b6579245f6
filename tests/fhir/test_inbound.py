import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fhir.resources.R4B.bundle import Bundle as R4BBundle
from starlette.applications import Starlette

from gateway.fhir.auth import Basic, Bearer, Source
from gateway.fhir.inbound import routes
from gateway.flow.ports import Ports
from gateway.mapping.registry import Modules
from gateway.model.lifecycle import State
from gateway.model.message import Message, MessageState, Protocol
from gateway.model.order import Order
from gateway.store import inbox, orders
from gateway.store.database import Database

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpora" / "fhir"
BASIC = "Basic " + base64.b64encode(b"u:p").decode()
SOURCES = {
    "ehr": Source(name="ehr", auth=((Bearer(token="s3cret"),),), base_url="https://ehr.example/fhir"),
    "old": Source(name="old", auth=((Basic(user="u", password="p"),),), release="R4B"),
    "open": Source(name="open", auth=()),
}
ALLOWED = {"Authorization": "Bearer s3cret"}

Push = Callable[..., httpx.Response]


class Gateway:
    """The FHIR edge as a client meets it."""

    def __init__(self, ports: Ports, modules: Callable[[], Modules], max_bytes: int) -> None:
        self.app = Starlette(routes=routes(ports, modules, SOURCES, max_bytes=max_bytes))

    def ask(
        self,
        method: str,
        path: str,
        content: bytes | AsyncIterator[bytes] = b"",
        headers: Mapping[str, str] = ALLOWED,
    ) -> httpx.Response:
        return asyncio.run(self._ask(method, path, content, headers))

    def push(self, content: bytes, path: str = "/fhir/ehr") -> httpx.Response:
        return self.ask("POST", path, content)

    async def _ask(
        self, method: str, path: str, content: bytes | AsyncIterator[bytes], headers: Mapping[str, str]
    ) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, client=("10.0.0.9", 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.request(method, path, content=content, headers=dict(headers))


@pytest.fixture
def gateway(ports: Ports, modules: Modules) -> Gateway:
    return Gateway(ports, lambda: modules, 64 * 1024)


def _messages(ports: Ports) -> tuple[Message, ...]:
    with ports.database.read() as tx:
        return tuple(reversed(inbox.newest(tx)))


def _orders(ports: Ports) -> tuple[Order, ...]:
    with ports.database.read() as tx:
        return tuple(reversed(orders.newest(tx)))


def _texts(outcome: Any) -> list[str]:
    assert outcome["resourceType"] == "OperationOutcome"
    return [issue["diagnostics"] for issue in outcome["issue"]]


def test_an_order_with_its_patient_inside_is_scheduled(
    gateway: Gateway, ports: Ports, wire: Callable[[str], bytes]
) -> None:
    answer = gateway.push(wire("contained"))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/fhir+json"
    assert _texts(answer.json()) == ["orders: 1 scheduled, 0 held, 0 cancelled"]
    (order,) = _orders(ports)
    assert (order.state, order.accession, order.modality) == (State.SCHEDULED, "FW-21", "US")
    assert (order.patient.patient_id, order.patient.name) == ("MRN7007", "Quill^Petra")
    assert (order.source, order.service_request, order.subject) == ("ehr", "ServiceRequest/21", "")


def test_an_order_with_its_patient_beside_it_is_scheduled(
    gateway: Gateway, ports: Ports, wire: Callable[[str], bytes]
) -> None:
    answer = gateway.push(wire("collection"))
    assert (answer.status_code, answer.json()["type"]) == (200, "batch-response")
    (order,) = _orders(ports)
    assert (order.state, order.patient.patient_id) == (State.SCHEDULED, "MRN7007")
    assert (order.service_request, order.subject) == ("ServiceRequest/22", "Patient/7")


def test_the_message_is_kept_with_what_it_is_found_by(
    gateway: Gateway, ports: Ports, wire: Callable[[str], bytes]
) -> None:
    answer = gateway.push(wire("contained"))
    (message,) = _messages(ports)
    assert (message.protocol, message.source, message.peer) == (Protocol.FHIR, "ehr", "10.0.0.9")
    assert (message.raw, message.answer) == (wire("contained"), answer.content)
    assert (message.state, message.accession) == (MessageState.MAPPED, "FW-21")
    keys = message.keys
    assert (keys.control_id, keys.message_type) == ("ServiceRequest/21/_history/1", "ServiceRequest")
    assert (keys.sender, keys.version, keys.sent_at) == ("ehr", "R4", "2026-11-20T08:01:00Z")


@pytest.mark.parametrize(
    ("name", "control_id", "message_type", "sent_at"),
    [
        ("transaction", "batch-5001", "Bundle/transaction", "2026-11-20T08:30:00Z"),
        ("message", "msg-5004", "Bundle/message", "2026-11-20T08:40:00Z"),
    ],
)
def test_a_bundle_is_known_by_its_own_name(
    gateway: Gateway,
    ports: Ports,
    wire: Callable[[str], bytes],
    name: str,
    control_id: str,
    message_type: str,
    sent_at: str,
) -> None:
    gateway.push(wire(name))
    (message,) = _messages(ports)
    keys = message.keys
    assert (keys.control_id, keys.message_type, keys.sent_at) == (control_id, message_type, sent_at)


@pytest.mark.parametrize("name", ["contained", "collection", "transaction", "message", "patient"])
def test_a_repeat_gets_the_same_answer_and_changes_nothing(
    gateway: Gateway, ports: Ports, wire: Callable[[str], bytes], name: str
) -> None:
    first = gateway.push(wire(name))
    before = _orders(ports)
    again = gateway.push(wire(name))
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert _orders(ports) == before
    assert len(_messages(ports)) == 1


def test_a_message_is_answered_by_a_message(gateway: Gateway, wire: Callable[[str], bytes]) -> None:
    answer = gateway.push(wire("message"), path="/fhir/ehr/$process-message")
    bundle = answer.json()
    header, outcome = (entry["resource"] for entry in bundle["entry"])
    assert (answer.status_code, bundle["type"]) == (200, "message")
    assert header["response"]["identifier"] == "msg-5004"
    assert header["response"]["code"] == "ok"
    assert header["eventCoding"]["code"] == "O23"
    assert header["destination"] == [{"endpoint": "https://ehr.example/fhir"}]
    assert header["response"]["details"]["reference"] == bundle["entry"][1]["fullUrl"]
    assert outcome["resourceType"] == "OperationOutcome"
    R4BBundle.model_validate(bundle)


def test_a_message_that_nothing_is_taken_of_is_a_fatal_error(
    gateway: Gateway, wire: Callable[[str], bytes]
) -> None:
    tree = json.loads(wire("message"))
    for entry in tree["entry"][1:]:
        entry["resource"].pop("intent", None)
    header = gateway.push(json.dumps(tree).encode(), path="/fhir/ehr/$process-message").json()["entry"][0][
        "resource"
    ]
    assert header["response"]["code"] == "fatal-error"


NO_MESSAGE = json.dumps(
    {"resourceType": "Bundle", "type": "message", "entry": [{"resource": {"resourceType": "Patient"}}]}
).encode()


def test_what_comes_as_a_message_and_is_none_is_kept_and_refused(gateway: Gateway, ports: Ports) -> None:
    answer = gateway.push(NO_MESSAGE, path="/fhir/ehr/$process-message")
    assert (answer.status_code, answer.json()["resourceType"]) == (400, "OperationOutcome")
    assert "MessageHeader" in answer.text
    (message,) = _messages(ports)
    assert (message.state, message.raw) == (MessageState.FAILED, NO_MESSAGE)


def test_the_same_elsewhere_is_a_bundle_without_an_order(gateway: Gateway) -> None:
    assert gateway.push(NO_MESSAGE).status_code == 200


def test_a_transaction_gets_an_answer_for_each_entry(
    gateway: Gateway, ports: Ports, wire: Callable[[str], bytes]
) -> None:
    answer = gateway.push(wire("transaction"))
    bundle = answer.json()
    assert (answer.status_code, bundle["type"]) == (200, "transaction-response")
    patient, scheduled, held, deleted = (entry["response"] for entry in bundle["entry"])
    assert patient == {"status": "200 OK"}
    assert scheduled["status"] == "200 OK"
    assert _texts(scheduled["outcome"]) == ["orders: 1 scheduled, 0 held, 0 cancelled"]
    assert held["status"] == "200 OK"
    summary, remark = _texts(held["outcome"])
    assert summary == "orders: 0 scheduled, 1 held, 0 cancelled"
    assert remark.startswith("AccessionNumber is required")
    assert deleted["status"] == "200 OK"
    assert [order.state for order in _orders(ports)] == [State.SCHEDULED, State.HELD]
    assert [order.subject for order in _orders(ports)] == ["", ""]


def test_a_revoked_order_is_cancelled(gateway: Gateway, ports: Ports, wire: Callable[[str], bytes]) -> None:
    order = json.loads(wire("contained"))
    gateway.push(json.dumps(order).encode())
    order["status"], order["meta"]["versionId"] = "revoked", "2"
    answer = gateway.push(json.dumps(order).encode())
    assert _texts(answer.json()) == ["orders: 0 scheduled, 0 held, 1 cancelled"]
    assert [order.state for order in _orders(ports)] == [State.CANCELLED]


def test_an_order_whose_patient_must_be_read_first_is_accepted_and_waits(
    gateway: Gateway, ports: Ports, wire: Callable[[str], bytes]
) -> None:
    order = json.loads(wire("contained"))
    del order["contained"]
    answer = gateway.push(json.dumps({**order, "subject": {"reference": "Patient/7"}}).encode())
    assert answer.status_code == 200
    assert _texts(answer.json()) == ["kept; what it refers to is read first"]
    assert [message.state for message in _messages(ports)] == [MessageState.RECEIVED]


@pytest.mark.parametrize(
    ("reference", "subject"),
    [
        ("https://ehr.example/fhir/Patient/7", "Patient/7"),
        ("https://ehr.example.evil/fhir/Patient/7", ""),
        ("http://ehr.example/fhir/Patient/7", ""),
    ],
)
def test_a_patient_of_another_server_is_not_taken_for_the_senders(
    gateway: Gateway, ports: Ports, wire: Callable[[str], bytes], reference: str, subject: str
) -> None:
    order = json.loads(wire("contained"))
    gateway.push(json.dumps({**order["contained"][0], "id": "7"}).encode())  # known, so it need not be read
    gateway.push(json.dumps({**order, "subject": {"reference": reference}}).encode())
    assert [order.subject for order in _orders(ports)] == [subject]


def test_a_resource_that_is_no_order_is_accepted_and_passed_over(
    gateway: Gateway, ports: Ports, wire: Callable[[str], bytes]
) -> None:
    answer = gateway.ask("PUT", "/fhir/ehr/Patient/7", wire("patient"))
    assert answer.status_code == 200
    assert _texts(answer.json()) == ["kept; there is no order in it"]
    assert [message.state for message in _messages(ports)] == [MessageState.SKIPPED]


def test_an_order_that_no_module_is_meant_for_is_kept_as_failed(
    gateway: Gateway, ports: Ports, wire: Callable[[str], bytes]
) -> None:
    order = {**json.loads(wire("contained")), "intent": "wish"}
    answer = gateway.push(json.dumps(order).encode())
    assert answer.status_code == 200
    assert answer.json()["issue"][0]["severity"] == "error"
    assert [message.state for message in _messages(ports)] == [MessageState.FAILED]
    assert _orders(ports) == ()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/fhir/ehr"),
        ("POST", "/fhir/ehr/orders"),
        ("POST", "/fhir/ehr/$process-message"),
        ("PUT", "/fhir/ehr/ServiceRequest/21"),
    ],
)
@pytest.mark.parametrize("content_type", ["application/fhir+json", "text/plain; charset=utf-8", ""])
def test_every_way_of_pushing_and_every_content_type_is_taken(
    gateway: Gateway, ports: Ports, wire: Callable[[str], bytes], method: str, path: str, content_type: str
) -> None:
    headers = {**ALLOWED, "Content-Type": content_type} if content_type else ALLOWED
    assert gateway.ask(method, path, wire("contained"), headers).status_code == 200
    assert len(_orders(ports)) == 1


@pytest.mark.parametrize("raw", [b'{"a":1}', b"not json", b" ", b"\xff", b"[" * 5000])
def test_what_is_no_fhir_is_kept_and_answered_with_400(gateway: Gateway, ports: Ports, raw: bytes) -> None:
    for _ in range(2):
        answer = gateway.push(raw)
        assert answer.status_code == 400
        assert _texts(answer.json())[0].startswith("nothing was taken: ")
    kept = _messages(ports)
    assert [message.state for message in kept] == [MessageState.FAILED] * 2
    assert kept[0].raw == raw
    assert kept[0].reason != ""


@pytest.mark.parametrize(
    ("source", "authorization", "status"),
    [
        ("ehr", "Bearer s3cret", 200),
        ("ehr", "Bearer wrong", 401),
        ("ehr", "", 401),
        ("ehr", BASIC, 401),
        ("old", BASIC, 200),
        ("old", "Bearer s3cret", 401),
        ("open", "", 200),
        ("nobody", "Bearer s3cret", 404),
    ],
)
def test_only_who_is_known_may_push(
    gateway: Gateway,
    ports: Ports,
    wire: Callable[[str], bytes],
    source: str,
    authorization: str,
    status: int,
) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    answer = gateway.ask("POST", f"/fhir/{source}", wire("contained"), headers)
    assert answer.status_code == status
    assert ("www-authenticate" in answer.headers) is (status == 401)
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert len(_messages(ports)) == (status == 200)


def test_a_body_over_the_limit_is_not_read(gateway: Gateway, ports: Ports) -> None:
    async def chunks(count: int) -> AsyncIterator[bytes]:
        for number in range(count):
            assert number <= 65, "the gateway reads on"
            yield b" " * 1024

    assert gateway.push(b" " * (64 * 1024 + 1)).status_code == 413
    assert gateway.ask("POST", "/fhir/ehr", chunks(1000)).status_code == 413
    assert _messages(ports) == ()
    assert gateway.ask("POST", "/fhir/ehr", chunks(64)).status_code == 400


def test_a_database_out_of_reach_asks_the_sender_to_come_back(
    ports: Ports, modules: Modules, wire: Callable[[str], bytes], tmp_path: Path
) -> None:
    bare = Database(f"sqlite:///{tmp_path}/nowhere/gateway.db")  # without its tables
    away = replace(ports, database=bare)
    answer = Gateway(away, lambda: modules, 64 * 1024).push(wire("contained"))
    bare.close()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["issue"][0]["code"] == "transient"


def test_a_fault_of_our_own_keeps_the_message(ports: Ports, wire: Callable[[str], bytes]) -> None:
    def broken() -> Modules:
        raise RuntimeError

    answer = Gateway(ports, broken, 64 * 1024).push(wire("contained"))
    assert answer.status_code == 500
    (message,) = _messages(ports)
    assert (message.state, message.raw) == (MessageState.FAILED, wire("contained"))


@pytest.mark.parametrize(("source", "release"), [("ehr", "4.0.1"), ("old", "4.3.0")])
def test_everybody_may_ask_what_the_gateway_can(gateway: Gateway, source: str, release: str) -> None:
    answer = gateway.ask("GET", f"/fhir/{source}/metadata", headers={})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/fhir+json")
    statement = answer.json()
    assert (statement["resourceType"], statement["fhirVersion"]) == ("CapabilityStatement", release)
    assert statement["implementation"]["url"] == f"http://gateway/fhir/{source}"
    assert gateway.ask("GET", "/fhir/nobody/metadata", headers={}).status_code == 404


@pytest.mark.parametrize("name", ["contained", "collection", "transaction", "history", "message", "patient"])
def test_neither_answers_nor_logs_tell_of_the_patient(
    gateway: Gateway, wire: Callable[[str], bytes], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="gateway"):
        said = gateway.push(wire(name)).text
        said += gateway.ask("POST", "/fhir/ehr", wire(name), {}).text
    said += "".join(str(vars(record)) for record in caplog.records if record.name.startswith("gateway"))
    for secret in ("Quill", "Petra", "MRN7007", "1975", "s3cret"):
        assert secret not in said


@pytest.mark.corpora
@pytest.mark.skipif(not CORPUS.is_dir(), reason="the shared corpora are not here")
def test_whatever_others_send_is_answered(gateway: Gateway, ports: Ports) -> None:
    files = sorted(path for path in CORPUS.rglob("*.json") if path.stat().st_size <= 64 * 1024)
    statuses = {gateway.push(path.read_bytes(), "/fhir/open").status_code for path in files}
    assert statuses <= {200, 400}
    assert len(_orders(ports)) > 0


def test_a_task_carries_its_request_and_appointments_move_it(gateway: Gateway, ports: Ports) -> None:
    case = Path(__file__).parents[2] / "fixtures" / "fhir" / "task-and-order.json"
    answer = gateway.push(case.read_bytes()).json()
    with ports.database.read() as tx:
        (order,) = orders.newest(tx)
    assert (order.accession, order.service_request, order.subject) == ("A-9", "ServiceRequest/9", "Patient/7")
    assert [entry["response"]["status"] for entry in answer["entry"]] == ["200 OK"] * 3
    fates: list[tuple[str, str, bool]] = []
    for status in ("booked", "arrived", "noshow"):
        appointment = {
            "resourceType": "Appointment", "status": status, "start": "2026-05-01T08:00:00Z",
            "basedOn": [{"reference": "ServiceRequest/9"}],
        }  # fmt: skip
        assert gateway.push(json.dumps(appointment).encode()).status_code == 200
        with ports.database.read() as tx:
            (order,) = orders.newest(tx)
        start = order.start.isoformat() if order.start else ""
        fates.append((order.state, start, order.arrived_at is not None))
    assert fates == [
        ("scheduled", "2026-05-01T08:00:00+00:00", False),
        ("scheduled", "2026-05-01T08:00:00+00:00", True),
        ("scheduled", "", True),
    ]
