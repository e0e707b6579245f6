"""Whatever a record system does meanwhile, in the end it holds each study once, in its last state."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.fhir.client import Client
from gateway.fhir.destination import Destination, Write
from gateway.flow.deliver import deliver_due, retry
from gateway.flow.ports import Ports
from gateway.model.delivery import Delivery, DeliveryState, Outgoing
from gateway.store import outbox

STUDIES = 4
WRITES = (
    Write.AUTO,
    Write.TRANSACTION,
    Write.CONDITIONAL_UPDATE,
    Write.CONDITIONAL_CREATE,
    Write.SEARCH_THEN,
    Write.PUT_ID,
)
CAPABILITY = {
    "resourceType": "CapabilityStatement",
    "fhirVersion": "4.0.1",
    "rest": [
        {
            "mode": "server",
            "interaction": [{"code": "transaction"}],
            "resource": [{"type": "ImagingStudy", "conditionalUpdate": True}],
        }
    ],
}
REFUSAL = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "processing"}]}


async def _half(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
    await send({"type": "http.response.body", "body": b'{"resourceType":"Im'})


async def _never(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _busy(status: int, headers: dict[str, str] | None = None) -> ASGIApp:
    return JSONResponse(REFUSAL, status, headers=headers)


BEFORE: tuple[ASGIApp, ...] = (
    _busy(500),
    _busy(503),
    _busy(429, {"Retry-After": "20"}),
    _busy(412),
    _busy(409),
    _busy(422),
    _half,
    _never,
    Response("<html>Please log in</html>", media_type="text/html"),
    JSONResponse({"resourceType": "Bundle", "entry": [{"response": {"status": "500"}}]}),
)
AFTERWARDS: tuple[ASGIApp, ...] = (_busy(500), _busy(504), _half, _never)


def _owe(ports: Ports, whole: Callable[..., Delivery], number: int, images: int) -> None:
    key = f"2.25.10{number}"
    news = whole(key=key, images=images)
    with ports.database.write() as tx:
        out = Outgoing(destination="ehr", kind="ImagingStudy", key=key, order_id=None, payload=news.payload)
        outbox.add(tx, out, ports.clock())


def _owed(ports: Ports) -> list[Delivery]:
    with ports.database.read() as tx:
        return [one for one in outbox.newest(tx) if one.state is DeliveryState.PENDING]


def _by_hand(ports: Ports) -> None:
    """A person tries again what is dead and was not followed by something newer."""
    with ports.database.read() as tx:
        newest: dict[str, Delivery] = {}
        for one in outbox.newest(tx):
            newest.setdefault(one.key, one)
    for one in newest.values():
        if one.state is DeliveryState.DEAD:
            retry(ports, one.id, actor="anna")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("write", WRITES)
def test_in_the_end_each_study_is_there_once_in_its_last_state(
    ehr: Any,
    connect: Callable[..., Client],
    whole: Callable[..., Delivery],
    ports: Ports,
    clock: Any,
    write: Write,
    seed: int,
) -> None:
    chance = random.Random(f"{seed} {write}")
    ehr.capability.update(CAPABILITY)
    client = connect(Destination(name="ehr", url=ehr.url, write=write), timeout_s=0.25)
    last: dict[int, int] = {}
    for images in range(1, 10):
        number = chance.randrange(STUDIES)
        _owe(ports, whole, number, images)
        last[number] = images
        ehr.faults.extend(chance.choice((*BEFORE, ehr.app, ehr.app, ehr.app)) for _ in range(4))
        ehr.afterwards.extend(chance.sample(AFTERWARDS, chance.randrange(2)))
        deliver_due(ports, client.send, at_once=3)
        clock.advance(seconds=chance.randrange(60))
    ehr.faults.clear()
    ehr.afterwards.clear()
    _by_hand(ports)
    for _ in range(20):
        clock.advance(seconds=900)
        deliver_due(ports, client.send, at_once=3)
        _by_hand(ports)
    assert _owed(ports) == []
    held = {one["identifier"][0]["value"]: one["numberOfInstances"] for one in ehr.newest("ImagingStudy")}
    assert held == {f"urn:oid:2.25.10{number}": images for number, images in last.items()}
    assert len(ehr.newest("ImagingStudy")) == len(last)
    assert len(ehr.newest("Observation")) == len(last)


def test_an_hour_without_the_record_system_loses_nothing(
    connect: Callable[..., Client], whole: Callable[..., Delivery], ports: Ports, clock: Any, ehr: Any
) -> None:
    away = connect(Destination(name="ehr", url="http://127.0.0.1:9/fhir"))
    for number in range(STUDIES):
        _owe(ports, whole, number, 3)
    for _ in range(60):
        deliver_due(ports, away.send, at_once=4)
        clock.advance(seconds=60)
    assert len(_owed(ports)) == STUDIES
    clock.advance(seconds=900)
    assert deliver_due(ports, connect(Destination(name="ehr", url=ehr.url)).send, at_once=4) == STUDIES
    assert len(ehr.newest("ImagingStudy")) == STUDIES
