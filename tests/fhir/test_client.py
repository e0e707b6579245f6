import asyncio
import json
import logging
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.fhir.auth import Basic, Bearer, Header
from gateway.fhir.client import Client
from gateway.fhir.destination import Destination, Write
from gateway.fhir.news import outgoing
from gateway.fhir.outcome import Issue, render_outcome
from gateway.flow.deliver import deliver_due
from gateway.flow.ports import Ports
from gateway.model.delivery import Delivery, DeliveryState, Outgoing
from gateway.model.errors import Refused, Unavailable
from gateway.model.ids import DeliveryId
from gateway.model.study import Study
from gateway.store import outbox

LONDON = ZoneInfo("Europe/London")
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
TOKEN = "urn:dicom:uid|urn:oid:2.25.1001"
STRATEGIES = (
    Write.TRANSACTION,
    Write.CONDITIONAL_UPDATE,
    Write.CONDITIONAL_CREATE,
    Write.SEARCH_THEN,
    Write.PUT_ID,
)


def _delivery(news: Outgoing) -> Delivery:
    return Delivery(
        id=DeliveryId(1),
        destination=news.destination,
        kind=news.kind,
        key=news.key,
        order_id=news.order_id,
        payload=news.payload,
        in_turn=news.in_turn,
        state=DeliveryState.SENDING,
        attempts=1,
        next_at=NOW,
        error="",
        created_at=NOW,
        delivered_at=None,
    )


def _told(delivery: Delivery) -> Any:
    """The study in the delivery."""
    entries = json.loads(delivery.payload)["entry"]
    return next(one["resource"] for one in entries if one["resource"]["resourceType"] == "ImagingStudy")


@pytest.fixture(params=STRATEGIES)
def destination(request: pytest.FixtureRequest, ehr: Any) -> Destination:
    return Destination(name="ehr", url=ehr.url, write=request.param)


@pytest.fixture
def delivery(single: Study) -> Delivery:
    (news,) = outgoing(single, (), (Destination(name="ehr", url=""),), LONDON)
    return _delivery(news)


def _refusing(status: int, text: str = "", headers: dict[str, str] | None = None) -> ASGIApp:
    body = render_outcome(Issue(severity="error", code="processing", text=text)) if text else None
    return (
        JSONResponse(body, status, headers=headers) if body else Response(status_code=status, headers=headers)
    )


def test_what_is_sent_twice_is_there_once(
    ehr: Any, destination: Destination, delivery: Delivery, connect: Callable[..., Client]
) -> None:
    client = connect(destination)
    client.send(delivery)
    client.send(delivery)
    assert {token: len(versions) for token, versions in ehr.studies.items()} == {TOKEN: 2}
    assert ehr.studies[TOKEN][-1] == _told(delivery)


def test_the_query_travels_encoded(ehr: Any, delivery: Delivery, connect: Callable[..., Client]) -> None:
    connect(Destination(name="ehr", url=ehr.url, write=Write.CONDITIONAL_UPDATE)).send(delivery)
    (asked,) = ehr.asked
    assert asked.scope["query_string"] == b"identifier=urn:dicom:uid%7Curn:oid:2.25.1001"
    assert asked.headers["content-type"] == "application/fhir+json"
    assert asked.headers["prefer"] == "return=minimal"
    assert "authorization" not in asked.headers


def test_the_study_in_a_transaction_is_the_very_bytes(
    ehr: Any, delivery: Delivery, connect: Callable[..., Client]
) -> None:
    exact = replace(delivery, payload=delivery.payload.replace(b'"available"', b'"available","x":52.10'))
    connect(Destination(name="ehr", url=ehr.url)).send(exact)
    assert exact.payload in ehr.bodies[0]
    (entry,) = json.loads(ehr.bodies[0])["entry"]
    assert entry["fullUrl"] == "urn:oid:2.25.1001"
    assert entry["request"]["url"] == "ImagingStudy?identifier=urn:dicom:uid%7Curn:oid:2.25.1001"


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        (Bearer(token="s3cret"), "authorization", "Bearer s3cret"),
        (Basic(user="gw", password="pässword"), "authorization", "Basic Z3c6cMOkc3N3b3Jk"),
        (Header(name="X-Api-Key", value="k"), "x-api-key", "k"),
    ],
)
def test_it_proves_itself(
    ehr: Any,
    delivery: Delivery,
    connect: Callable[..., Client],
    auth: Bearer | Basic | Header,
    header: str,
    value: str,
) -> None:
    connect(Destination(name="ehr", url=ehr.url, auth=auth)).send(delivery)
    assert ehr.asked[0].headers[header] == value


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504])
def test_a_passing_trouble_is_worth_another_try(
    ehr: Any, destination: Destination, delivery: Delivery, connect: Callable[..., Client], status: int
) -> None:
    ehr.faults.append(_refusing(status, "busy"))
    client = connect(destination)
    with pytest.raises(Unavailable, match=f"answered {status}: busy"):
        client.send(delivery)
    client.send(delivery)
    assert len(ehr.studies[TOKEN]) == 1


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Retry-After": "17"}, 17.0),
        ({"Retry-After": "999999999999999999999"}, 3600.0),
        (
            {"Retry-After": "Mon, 23 Nov 2026 09:01:30 GMT", "Date": "Mon, 23 Nov 2026 09:00:00 GMT"},
            90.0,
        ),
        ({"Retry-After": "Mon, 23 Nov 2020 09:01:30 GMT", "Date": "Mon, 23 Nov 2026 09:00:00 GMT"}, 0.0),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        (
            {
                "Retry-After": "Mon, 23 Nov 2026 09:01:30 +99999999999999",
                "Date": "Mon, 23 Nov 2026 09:00:00 GMT",
            },
            None,
        ),
        ({}, None),
    ],
)
def test_the_servers_own_wish_is_passed_on(
    ehr: Any,
    destination: Destination,
    delivery: Delivery,
    connect: Callable[..., Client],
    headers: dict[str, str],
    expected: float | None,
) -> None:
    ehr.faults.append(_refusing(503, headers=headers))
    with pytest.raises(Unavailable) as caught:
        connect(destination).send(delivery)
    assert caught.value.retry_after_s == expected


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 405, 410, 422, 501])
def test_what_will_never_be_taken_is_refused_with_what_the_server_said(
    ehr: Any, destination: Destination, delivery: Delivery, connect: Callable[..., Client], status: int
) -> None:
    ehr.faults += [
        _refusing(status, "unknown token\0")
    ] * 2  # a server without transactions is asked a second way
    with pytest.raises(Refused, match=f"^answered {status}: unknown token $"):
        connect(destination).send(delivery)
    assert ehr.studies == {}


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_without_transactions_gets_a_conditional_update(
    ehr: Any, delivery: Delivery, connect: Callable[..., Client], status: int
) -> None:
    ehr.faults.append(_refusing(status))
    connect(Destination(name="ehr", url=ehr.url, write=Write.TRANSACTION)).send(delivery)
    assert [asked.method for asked in ehr.asked] == ["PUT"]
    assert ehr.studies[TOKEN][-1] == _told(delivery)


def test_several_matches_are_refused_and_nothing_is_created(
    ehr: Any, destination: Destination, delivery: Delivery, connect: Callable[..., Client]
) -> None:
    ehr.faults.append(_refusing(412, "2 matches"))
    with pytest.raises(Refused, match=r"several there .*: 2 matches"):
        connect(destination).send(delivery)
    assert ehr.studies == {}


def test_the_outbox_is_emptied_when_the_server_is_well_again(
    ehr: Any,
    destination: Destination,
    ports: Ports,
    single: Study,
    clock: Any,
    connect: Callable[..., Client],
) -> None:
    client = connect(destination)
    ehr.faults.append(_refusing(503, headers={"Retry-After": "40"}))
    with ports.database.write() as tx:
        for news in outgoing(replace(single, order_id=None), (), (destination,), LONDON):
            outbox.add(tx, news, ports.clock())
    states = []
    for seconds in (0, 39, 1, 3600):
        clock.advance(seconds=seconds)
        deliver_due(ports, client.send)
        with ports.database.read() as tx:
            states.append(outbox.newest(tx)[0].state)
    assert states == [DeliveryState.PENDING] * 2 + [DeliveryState.DELIVERED] * 2
    assert len(ehr.studies[TOKEN]) == 1


def test_a_redirect_is_not_followed(
    ehr: Any, destination: Destination, delivery: Delivery, connect: Callable[..., Client]
) -> None:
    ehr.faults.append(_refusing(307, headers={"Location": ehr.url}))
    with pytest.raises(Refused, match="answered 307"):
        connect(destination).send(delivery)
    assert ehr.asked == []


async def _half(scope: Scope, receive: Receive, send: Send) -> None:
    """The connection ends in the middle of the answer."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
    await send({"type": "http.response.body", "body": b'{"resourceType":"Im'})


async def _slow(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "http.disconnect":
        await asyncio.sleep(0)


async def _endless(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(17):
        await send({"type": "http.response.body", "body": b" " * 65536, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize(
    ("fault", "timeout_s", "text"),
    [(_half, 5, "the connection broke"), (_endless, 5, "longer than"), (_slow, 0.3, "no answer within")],
)
def test_a_fault_after_the_work_was_done_leaves_one_study(
    ehr: Any,
    destination: Destination,
    delivery: Delivery,
    connect: Callable[..., Client],
    fault: ASGIApp,
    timeout_s: float,
    text: str,
) -> None:
    ehr.afterwards.append(fault)
    client = connect(destination, timeout_s=timeout_s)
    with pytest.raises(Unavailable, match=text):
        client.send(delivery)
    connect(destination).send(delivery)
    assert list(ehr.studies) == [TOKEN]


def test_a_page_that_stands_in_between_is_no_success(
    ehr: Any, destination: Destination, delivery: Delivery, connect: Callable[..., Client]
) -> None:
    ehr.faults.append(Response("<html>Please log in</html>", media_type="text/html"))
    with pytest.raises(Unavailable, match="answered 200"):
        connect(destination).send(delivery)


def test_a_dribbling_answer_ends_some_time(
    ehr: Any, destination: Destination, delivery: Delivery, ports: Ports
) -> None:
    ehr.faults.append(JSONResponse({"resourceType": "Bundle"}))
    ticks = iter(range(0, 10_000, 20))
    client = Client((destination,), ports, timeout_s=5, monotonic=lambda: float(next(ticks)))
    with pytest.raises(Unavailable, match="no whole answer within 15 s"):
        client.send(delivery)
    client.close()


def test_nobody_at_the_address_is_worth_another_try(
    delivery: Delivery, connect: Callable[..., Client]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(Unavailable, match="cannot be reached"):
        connect(Destination(name="ehr", url=f"http://127.0.0.1:{port}/fhir")).send(delivery)


@pytest.mark.parametrize(
    ("response", "error", "text"),
    [
        ({"status": "412 Precondition Failed"}, Refused, "several there"),
        ({"status": "503"}, Unavailable, "answered 503"),
        (
            {
                "status": "422",
                "outcome": render_outcome(Issue(severity="error", code="invalid", text="no subject")),
            },
            Refused,
            "answered 422: no subject",
        ),
        ({"status": "no"}, Unavailable, "without a transaction's response"),
        ({}, Unavailable, "without a transaction's response"),
        ({"status": 201}, Unavailable, "without a transaction's response"),
    ],
)
def test_the_entrys_own_status_decides_in_a_transaction(
    ehr: Any,
    delivery: Delivery,
    connect: Callable[..., Client],
    response: dict[str, Any],
    error: type[Exception],
    text: str,
) -> None:
    ehr.faults.append(JSONResponse({"resourceType": "Bundle", "entry": [{"response": response}]}))
    with pytest.raises(error, match=text):
        connect(Destination(name="ehr", url=ehr.url)).send(delivery)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"entry":[]}', b'{"entry":7}', b'{"resourceType":'])
def test_a_transaction_without_an_answer_is_not_done(
    ehr: Any, delivery: Delivery, connect: Callable[..., Client], body: bytes
) -> None:
    ehr.faults.append(Response(body, media_type="application/fhir+json"))
    with pytest.raises(Unavailable):
        connect(Destination(name="ehr", url=ehr.url)).send(delivery)


def test_what_nobody_can_take_is_refused(delivery: Delivery, connect: Callable[..., Client]) -> None:
    client = connect(Destination(name="ehr", url="http://127.0.0.1:9"))
    with pytest.raises(Refused, match="not configured"):
        client.send(replace(delivery, destination="gone"))
    with pytest.raises(Refused, match="studies and the state of orders only"):
        client.send(replace(delivery, kind="Observation"))


def test_no_secret_shows_in_a_destinations_text() -> None:
    for auth in (
        Bearer(token="s3cret"),
        Basic(user="u", password="s3cret"),
        Header(name="h", value="s3cret"),
    ):
        assert "s3cret" not in repr(Destination(name="ehr", url="http://x", auth=auth))


def test_nothing_sent_is_logged_by_us(
    ehr: Any,
    destination: Destination,
    delivery: Delivery,
    connect: Callable[..., Client],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG, logger="gateway"):
        connect(destination).send(delivery)
    assert [record for record in caplog.records if record.name.startswith("gateway")] == []


def test_what_a_server_repeats_of_the_patient_is_not_kept(
    ehr: Any, destination: Destination, delivery: Delivery, connect: Callable[..., Client]
) -> None:
    ehr.faults += [_refusing(422, "Patient MRN1 of GENHOSP: unknown"), _refusing(503, "MRN1 is locked")]
    with pytest.raises(Refused, match=r"answered 422: Patient … of …: unknown"):
        connect(destination).send(delivery)
    with pytest.raises(Unavailable, match=r"answered 503: … is locked"):
        connect(destination).send(delivery)
