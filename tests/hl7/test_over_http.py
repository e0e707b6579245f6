import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from gateway.flow.ports import Ports
from gateway.hl7.access import TRIES, TRIES_WITHIN, Access
from gateway.hl7.inbound import Rules, receiver
from gateway.hl7.over_http import Door, routes
from gateway.mapping.registry import Modules
from gateway.model.credential import Basic, Bearer
from gateway.model.er7 import read_er7
from gateway.store import inbox
from gateway.store.database import Database

ORDER = (
    "MSH|^~\\&|RIS|HOSP|GW|RAD|20261123085500+0000||ORM^O01|CTL1|P|2.5.1|||{accept}|{application}||UNICODE UTF-8\r"
    "PID|1||MRN1^^^HOSP^MR||DOE^JANE||19800214|F\r"
    "ORC|NW|P1|A100||||^^^20261123103000+0000^^R\r"
    "OBR|1|P1|A100|USABD^Abdomen^L||||||||||||||A100||||||US\r"
)
PUSH = ORDER.format(accept="", application="").encode()


class Client:
    """A client of the application, from an address of its own."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("POST", path, **options)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, client=("192.0.2.7", 4711))
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                return await client.request(method, path, **options)

        return asyncio.run(asked())


Clients = Callable[[Door], Client]


@pytest.fixture
def open_door(ports: Ports, modules: Modules) -> Door:
    return Door(
        inlet=receiver(ports, lambda: modules, "ris", Rules()), auth=None, access=Access(), max_bytes=100_000
    )


@pytest.fixture
def serve(ports: Ports) -> Clients:
    """A client of the route for one door, called "ris"."""
    return lambda door: Client(Starlette(routes=routes({"ris": door}, ports.clock)))


async def pieces(*raws: bytes) -> AsyncIterator[bytes]:
    for raw in raws:
        yield raw


def verdicts(raw: bytes) -> list[str]:
    return [segment.value(1) for segment in read_er7(raw.decode()).named("MSA")]


def kept(ports: Ports) -> int:
    with ports.database.read() as tx:
        return len(inbox.newest(tx))


@pytest.mark.parametrize(
    "kind", ["application/hl7-v2", "x-application/hl7-v2+er7", "text/plain; charset=latin-1", ""]
)
def test_a_message_is_answered_in_the_body_whatever_its_type_says(
    ports: Ports, serve: Clients, open_door: Door, kind: str
) -> None:
    answer = serve(open_door).post("/hl7/ris", content=PUSH, headers={"content-type": kind})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/hl7-v2")
    assert verdicts(answer.content) == ["AA"]
    with ports.database.read() as tx:
        (message,) = inbox.newest(tx)
    assert (message.raw, message.answer, message.source, message.peer) == (
        PUSH,
        answer.content,
        "ris",
        "192.0.2.7",
    )


@pytest.mark.parametrize(("body", "code"), [(b"no HL7", "AR"), (PUSH.replace(b"ORM^O01", b"XXX^X01"), "AR")])
def test_a_refusal_in_hl7_is_200(serve: Clients, open_door: Door, body: bytes, code: str) -> None:
    answer = serve(open_door).post("/hl7/ris", content=body)
    assert (answer.status_code, verdicts(answer.content)) == (200, [code])


def test_both_answers_of_enhanced_mode_stand_in_the_body(serve: Clients, open_door: Door) -> None:
    answer = serve(open_door).post("/hl7/ris", content=ORDER.format(accept="AL", application="AL").encode())
    assert (answer.status_code, verdicts(answer.content)) == (200, ["CA", "AA"])


def test_a_sender_that_wants_no_answer_gets_an_empty_one(
    ports: Ports, serve: Clients, open_door: Door
) -> None:
    answer = serve(open_door).post("/hl7/ris", content=ORDER.format(accept="NE", application="NE").encode())
    assert (answer.status_code, answer.content, kept(ports)) == (204, b"", 1)


def test_a_frame_left_around_the_message_is_taken_off(ports: Ports, serve: Clients, open_door: Door) -> None:
    assert serve(open_door).post("/hl7/ris", content=b"\x0b" + PUSH + b"\x1c\r").status_code == 200
    with ports.database.read() as tx:
        assert [message.raw for message in inbox.newest(tx)] == [PUSH]


def test_a_batch_gets_an_answer_for_each_message(serve: Clients, open_door: Door) -> None:
    body = b"BHS|^~\\&|RIS\r" + PUSH + PUSH.replace(b"CTL1", b"CTL2").replace(b"A100", b"A200") + b"BTS|2\r"
    assert verdicts(serve(open_door).post("/hl7/ris", content=body).content) == ["AA", "AA"]


def test_an_unknown_listener_is_not_found(ports: Ports, serve: Clients, open_door: Door) -> None:
    client = serve(open_door)
    assert client.post("/hl7/other", content=PUSH).status_code == 404
    assert client.ask("GET", "/hl7/ris").status_code == 405
    assert kept(ports) == 0


@pytest.mark.parametrize("is_announced", [True, False])
def test_too_long_a_body_is_not_taken(
    ports: Ports, serve: Clients, open_door: Door, is_announced: bool
) -> None:
    content: Any = PUSH if is_announced else pieces(PUSH[:100], PUSH[100:])
    answer = serve(replace(open_door, max_bytes=200)).post("/hl7/ris", content=content)
    assert (answer.status_code, kept(ports)) == (413, 0)


def test_only_who_proves_itself_may_send(ports: Ports, serve: Clients, open_door: Door) -> None:
    bearer = serve(replace(open_door, auth=Bearer(token="s3cret")))
    for given in ("", "Bearer", "Bearer wrong", "Basic s3cret"):
        answer = bearer.post("/hl7/ris", content=PUSH, headers={"authorization": given})
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="hl7"')
    assert kept(ports) == 0
    assert (
        bearer.post("/hl7/ris", content=PUSH, headers={"authorization": "bearer s3cret"}).status_code == 200
    )
    basic = serve(replace(open_door, auth=Basic(user="ris", password="pass")))
    pair = base64.b64encode(b"ris:pass").decode()
    assert basic.post("/hl7/ris", content=PUSH, headers={"authorization": f"Basic {pair}"}).status_code == 200
    assert basic.post("/hl7/ris", content=PUSH, headers={"authorization": "Basic ?"}).status_code == 401


def test_an_address_that_guesses_is_not_listened_to_for_a_while(
    serve: Clients, open_door: Door, clock: Any
) -> None:
    client = serve(replace(open_door, auth=Bearer(token="s3cret")))
    right = {"authorization": "Bearer s3cret"}
    for number in range(TRIES):
        wrong = {"authorization": f"Bearer {number}"}
        assert client.post("/hl7/ris", content=PUSH, headers=wrong).status_code == 401
    barred = client.post("/hl7/ris", content=PUSH, headers=right)
    assert (barred.status_code, barred.headers["retry-after"]) == (429, "300")
    clock.advance(seconds=TRIES_WITHIN.total_seconds())
    assert client.post("/hl7/ris", content=PUSH, headers=right).status_code == 200


def test_the_allow_list_holds_for_http_too(ports: Ports, serve: Clients, open_door: Door) -> None:
    elsewhere = Access(networks=(ip_network("10.0.0.0/8"),))
    assert serve(replace(open_door, access=elsewhere)).post("/hl7/ris", content=PUSH).status_code == 403
    assert kept(ports) == 0


def test_what_cannot_be_stored_is_503_with_the_answer_in_the_body(
    ports: Ports, modules: Modules, serve: Clients, open_door: Door, tmp_path: Path
) -> None:
    bare = Database(f"sqlite:///{tmp_path}/bare.db")
    inlet = receiver(replace(ports, database=bare), lambda: modules, "ris")
    answer = serve(replace(open_door, inlet=inlet)).post("/hl7/ris", content=PUSH)
    assert (answer.status_code, verdicts(answer.content), answer.headers["retry-after"]) == (503, ["AE"], "5")
    bare.close()
