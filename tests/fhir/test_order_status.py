import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from gateway.fhir.client import Client
from gateway.fhir.destination import Destination, OrderUpdate, Write
from gateway.fhir.order_news import announcer
from gateway.flow import release
from gateway.flow.deliver import deliver_due
from gateway.flow.ports import Announce, Ports
from gateway.model.audit import AuditEvent
from gateway.model.delivery import Change, Delivery, DeliveryState, Outgoing
from gateway.model.errors import Refused, Unavailable
from gateway.model.ids import DeliveryId, MessageId, OrderId
from gateway.model.lifecycle import State
from gateway.model.message import Inbound, Keys, Message, MessageState, Protocol
from gateway.model.order import Order
from gateway.model.search import Found
from gateway.model.study import Study
from gateway.store import audit, inbox, outbox

Connect = Callable[..., Client]
Make = Callable[..., Order]
AT = datetime(2026, 11, 23, 10, tzinfo=UTC)
TASK = {
    "resourceType": "Task",
    "id": "7",
    "status": "requested",
    "intent": "order",
    "focus": {"reference": "ServiceRequest/9"},
    "owner": {"reference": "Organization/1"},
}
REQUEST = {"resourceType": "ServiceRequest", "id": "9", "status": "active", "intent": "order"}


def _destination(url: str = "", update: OrderUpdate = OrderUpdate.TASK) -> Destination:
    return Destination(name="ehr", url=url, order_update=update)


def _message(*resources: dict[str, Any], number: int = 1, source: str = "ehr") -> Message:
    entries = [{"resource": one} for one in resources]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    return Message(
        id=MessageId(number),
        protocol=Protocol.FHIR,
        source=source,
        peer="",
        received_at=AT,
        raw=json.dumps(bundle).encode(),
        keys=Keys(),
        state=MessageState.MAPPED,
        reason="",
        answer=b"",
        module="",
        accession="",
        patient_id="",
        placer="",
        filler="",
    )


@pytest.fixture
def order(order_factory: Make) -> Order:
    return order_factory(source="ehr", service_request="ServiceRequest/9", state=State.SENT)


def _news(
    order: Order,
    action: str,
    *messages: Message,
    update: OrderUpdate = OrderUpdate.TASK,
    evidence: str = "by hand",
    study: Study | None = None,
) -> list[tuple[str, str, str]]:
    change = Change(
        order=order, action=action, evidence=evidence, at=AT, messages=lambda: messages, study=study
    )
    found = announcer((_destination(update=update),))(change)
    assert all(one.in_turn and one.key == f"order:{order.id}" for one in found)
    return [(one.kind, json.loads(one.payload)["address"], one.destination) for one in found]


@pytest.mark.parametrize(
    ("action", "kinds"),
    [
        ("order.send", ["Task accepted"]),
        ("order.start", ["Task in-progress"]),
        ("order.complete", ["Task completed", "ServiceRequest completed"]),
        ("order.cancel", ["Task cancelled", "ServiceRequest revoked"]),
        ("order.discontinue", ["Task failed", "ServiceRequest revoked"]),
        ("order.recall", []),
        ("order.expire", []),
    ],
)
def test_each_step_is_told_by_the_orders_own_resources(order: Order, action: str, kinds: list[str]) -> None:
    told = _news(order, action, _message(TASK, REQUEST), update=OrderUpdate.BOTH)
    assert [kind for kind, _, _ in told] == kinds
    only = [kind for kind, _, _ in _news(order, action, _message(TASK), update=OrderUpdate.TASK)]
    assert only == [kind for kind in kinds if kind.startswith("Task")]
    assert _news(order, action, _message(TASK), update=OrderUpdate.NONE) == []


def test_the_task_is_the_one_that_asks_for_the_order(order: Order) -> None:
    other = {**TASK, "id": "8", "focus": {"reference": "ServiceRequest/10"}}
    told = _news(order, "order.start", _message(other, TASK))
    assert told == [("Task in-progress", "Task/7", "ehr")]
    absolute = {**TASK, "focus": {"reference": "https://ehr.example/fhir/ServiceRequest/9"}}
    assert _news(order, "order.start", _message(absolute)) == told


def test_an_order_without_a_task_is_not_told_of(order: Order) -> None:
    assert _news(order, "order.start", _message(REQUEST)) == []
    assert _news(order, "order.start", _message({**TASK, "id": ""})) == []
    assert _news(order, "order.start", replace(_message(TASK), raw=b"{")) == []
    assert _news(order, "order.start", _message(TASK, source="another")) == []


def test_an_order_of_another_server_is_not_told_of(order_factory: Make) -> None:
    stranger = order_factory(source="ris", service_request="ServiceRequest/9")
    assert _news(stranger, "order.start", _message(TASK, source="ris")) == []


def test_a_contained_request_is_found_by_its_only_task(order: Order) -> None:
    contained = {**TASK, "focus": {"reference": "#a"}}
    assert _news(replace(order, service_request=""), "order.start", _message(contained)) == [
        ("Task in-progress", "Task/7", "ehr")
    ]


def test_what_the_server_asked_for_itself_is_not_told_back(order: Order) -> None:
    asked = _message(TASK, number=5)
    assert _news(order, "order.cancel", asked, evidence="message:5") == []
    assert _news(order, "order.send", asked, evidence="message:5") != []


def test_a_study_that_is_there_is_the_output_of_every_order_it_is_for(order: Order, single: Study) -> None:
    done = replace(order, state=State.COMPLETED)
    other = replace(done, id=OrderId(order.id + 1), service_request="ServiceRequest/10")
    message = _message(TASK, {**TASK, "id": "8", "focus": {"reference": "ServiceRequest/10"}})
    change = Change(
        order=done,
        action="study.complete",
        evidence="study:1",
        at=AT,
        messages=lambda: (message,),
        study=single,
        orders=(done, other, replace(other, state=State.CANCELLED)),
    )
    found = announcer((_destination(),))(change)
    told = [(json.loads(one.payload)["address"], json.loads(one.payload)["study"]) for one in found]
    assert told == [("Task/7", "2.25.1001"), ("Task/8", "2.25.1001")]


@pytest.mark.parametrize("write", [Write.WEBHOOK, Write.MESSAGE])
def test_who_is_no_fhir_server_is_not_told(order: Order, write: Write) -> None:
    announce: Announce = announcer((replace(_destination(), write=write),))
    change = Change(order=order, action="order.start", evidence="", at=AT, messages=lambda: (_message(TASK),))
    assert announce(change) == ()


@pytest.fixture
def tell(ehr: Any, connect: Connect, order: Order) -> Callable[..., None]:
    """Sends the news of an action to the record system, which holds the Task and the ServiceRequest."""
    client = connect(_destination(ehr.url))
    ehr.put({name: value for name, value in TASK.items() if name != "id"}, "7")
    ehr.put({name: value for name, value in REQUEST.items() if name != "id"}, "9")

    def tell(action: str, *, study: Study | None = None, attempts: int = 1) -> None:
        change = Change(
            order=replace(order, state=State.COMPLETED) if study else order,
            action=action,
            evidence="by hand",
            at=AT,
            messages=lambda: (_message(TASK),),
            study=study,
        )
        for news in announcer((_destination(update=OrderUpdate.BOTH),))(change):
            client.send(_delivery(news, attempts))

    return tell


def _delivery(news: Outgoing, attempts: int) -> Delivery:
    return Delivery(
        id=DeliveryId(1),
        destination=news.destination,
        kind=news.kind,
        key=news.key,
        order_id=news.order_id,
        payload=news.payload,
        in_turn=True,
        state=DeliveryState.SENDING,
        attempts=attempts,
        next_at=AT,
        error="",
        created_at=AT,
        delivered_at=None,
    )


def _task(ehr: Any) -> Any:
    return ehr.newest("Task")[0]


def test_the_task_goes_the_way_of_the_order(ehr: Any, tell: Callable[..., None], single: Study) -> None:
    seen = []
    for action in ("order.send", "order.start", "order.complete"):
        tell(action)
        seen.append((_task(ehr)["status"], _task(ehr)["businessStatus"]["text"]))
    assert seen == [
        ("accepted", "on the machine's worklist"),
        ("in-progress", "the examination has begun"),
        ("completed", "the examination is done"),
    ]
    assert _task(ehr)["owner"] == TASK["owner"]
    assert _task(ehr)["lastModified"] == "2026-11-23T10:00:00.000+00:00"
    assert ehr.newest("ServiceRequest")[0]["status"] == "completed"
    changes = [one for one in ehr.asked if one.method == "PUT"]
    assert all("if-match" in one.headers for one in changes)


def test_a_study_becomes_the_output_once(ehr: Any, tell: Callable[..., None], single: Study) -> None:
    _, study = ehr.put(
        {
            "resourceType": "ImagingStudy",
            "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:2.25.1001"}],
        }
    )
    tell("order.complete")
    tell("study.complete", study=single)
    tell("study.complete", study=single)
    (output,) = _task(ehr)["output"]
    assert output["type"]["text"] == "Imaging study"
    assert output["valueReference"] == {
        "type": "ImagingStudy",
        "identifier": {"system": "urn:dicom:uid", "value": "urn:oid:2.25.1001"},
        "reference": f"ImagingStudy/{study['id']}",
    }
    assert _task(ehr)["meta"]["versionId"] == "3"


def test_a_completed_task_waits_for_its_study_a_few_times(
    ehr: Any, tell: Callable[..., None], single: Study, ports: Ports
) -> None:
    with ports.database.write() as tx:
        news = Outgoing(destination="ehr", kind="ImagingStudy", key="2.25.1001", order_id=None, payload=b"{}")
        outbox.add(tx, news, ports.clock())
    with pytest.raises(Unavailable, match="the study is not there yet"):
        tell("study.complete", study=single)
    assert _task(ehr)["status"] == "requested"
    tell("study.complete", study=single, attempts=4)
    (output,) = _task(ehr)["output"]
    assert "reference" not in output["valueReference"]


@pytest.mark.parametrize(
    ("action", "status", "reason"),
    [
        ("order.cancel", "cancelled", "the order was cancelled where it was to be done"),
        ("order.discontinue", "failed", "the examination was given up"),
    ],
)
def test_an_end_has_a_reason(
    ehr: Any, tell: Callable[..., None], action: str, status: str, reason: str
) -> None:
    tell(action)
    assert (_task(ehr)["status"], _task(ehr)["statusReason"]) == (status, {"text": reason})
    assert ehr.newest("ServiceRequest")[0]["status"] == "revoked"


@pytest.mark.parametrize("status", ["completed", "cancelled", "failed", "rejected", "entered-in-error"])
def test_what_has_ended_is_left_alone(ehr: Any, tell: Callable[..., None], status: str) -> None:
    ehr.resources["Task/7"][-1]["status"] = status
    for action in ("order.send", "order.start", "order.cancel"):
        tell(action)
    assert len(ehr.resources["Task/7"]) == 1


def test_a_state_that_is_older_changes_nothing(ehr: Any, tell: Callable[..., None]) -> None:
    tell("order.start")
    tell("order.send")
    assert _task(ehr)["status"] == "in-progress"


def test_another_ones_change_is_not_lost(ehr: Any, tell: Callable[..., None]) -> None:
    async def meddle(scope: Scope, receive: Receive, send: Send) -> None:
        """Somebody writes a note between our reading and our writing."""
        if not any("note" in one for one in ehr.resources["Task/7"]):
            ehr.put({**{k: v for k, v in _task(ehr).items() if k != "meta"}, "note": [{"text": "x"}]}, "7")
        await ehr.app(scope, receive, send)

    ehr.faults += [ehr.app, meddle]
    tell("order.send")
    assert (_task(ehr)["status"], _task(ehr)["note"]) == ("accepted", [{"text": "x"}])


def test_a_decimal_of_the_owner_keeps_its_digits(ehr: Any, tell: Callable[..., None]) -> None:
    text = '{"resourceType":"Task","id":"7","status":"requested","input":[{"valueDecimal":1.50}]}'
    ehr.faults.append(Response(text, media_type="application/fhir+json"))
    tell("order.send")
    assert b'"valueDecimal":1.50' in ehr.bodies[-1]


def test_a_task_that_is_gone_is_for_a_person(ehr: Any, tell: Callable[..., None]) -> None:
    del ehr.resources["Task/7"]
    with pytest.raises(Refused, match="answered 404: unknown"):
        tell("order.send")


def test_something_else_in_its_place_is_tried_again(ehr: Any, tell: Callable[..., None]) -> None:
    ehr.faults.append(JSONResponse({"resourceType": "Basic"}))
    with pytest.raises(Unavailable, match="without the Task"):
        tell("order.send")


@pytest.mark.parametrize("body", [b"", b'{"resourceType":"Task","priority":1e99999999999999999999}'])
def test_an_answer_that_cannot_be_read_is_tried_again(
    ehr: Any, tell: Callable[..., None], body: bytes
) -> None:
    ehr.faults.append(Response(body, media_type="application/fhir+json"))
    with pytest.raises(Unavailable, match="answered 200 without the Task"):
        tell("order.send")


@pytest.mark.parametrize("output", [5, {"type": {}}, "x"])
def test_an_output_that_is_no_list_is_not_ours_to_change(
    ehr: Any, tell: Callable[..., None], single: Study, output: object
) -> None:
    ehr.resources["Task/7"][-1]["output"] = output
    tell("order.start")
    assert (_task(ehr)["status"], _task(ehr)["output"]) == ("in-progress", output)
    with pytest.raises(Refused, match="the output of the Task is no list"):
        tell("study.complete", study=single)
    assert (_task(ehr)["status"], _task(ehr)["output"]) == ("in-progress", output)


ABORT = {**TASK, "id": "8", "code": {"coding": [{"code": "abort"}]}}


@pytest.mark.parametrize(
    ("action", "status"), [("order.cancel", "Task completed"), ("order.refuse", "Task rejected")]
)
def test_a_request_to_cancel_is_answered(order: Order, action: str, status: str) -> None:
    said = _news(order, action, _message(ABORT, number=2), _message(TASK), evidence="message:2")
    assert said == [(status, "Task/8", "ehr")]


def test_a_cancellation_in_the_order_itself_has_no_task_to_answer(order: Order) -> None:
    for action in ("order.cancel", "order.refuse"):
        assert _news(order, action, _message(REQUEST, number=2), _message(TASK), evidence="message:2") == []
    assert _news(order, "order.refuse", _message(ABORT), update=OrderUpdate.NONE, evidence="message:1") == []


def test_later_news_is_for_the_task_that_asks_for_the_order(order: Order) -> None:
    said = _news(order, "order.complete", _message(ABORT, number=2), _message(TASK))
    assert said == [("Task completed", "Task/7", "ehr")]


@pytest.mark.parametrize(("before", "after"), [("requested", "rejected"), ("in-progress", "in-progress")])
def test_a_request_to_cancel_is_refused_on_the_server(
    ehr: Any, connect: Connect, order: Order, before: str, after: str
) -> None:
    ehr.put({**ABORT, "status": before}, "8")
    destination = _destination(ehr.url)
    change = Change(
        order=order, action="order.refuse", evidence="message:1", at=AT, messages=lambda: (_message(ABORT),)
    )
    [news] = announcer((destination,))(change)
    connect(destination).send(_delivery(news, 1))
    assert ehr.resources["Task/8"][-1]["status"] == after


def test_the_news_leaves_in_turn_from_the_step_to_the_server(
    ehr: Any, connect: Connect, ports: Ports, order_factory: Make
) -> None:
    """From the receptionist's toggle to the Task on the server, through the outbox."""
    ehr.put({name: value for name, value in TASK.items() if name != "id"}, "7")
    destination = _destination(ehr.url)
    waiting = order_factory(source="ehr", service_request="ServiceRequest/9", state=State.SCHEDULED)
    with ports.database.write() as tx:
        inbound = Inbound(protocol=Protocol.FHIR, source="ehr", peer="", raw=_message(TASK).raw)
        number = inbox.add(
            tx,
            inbound,
            sha256="0" * 64,
            at=AT,
            keys=Keys(),
            state=MessageState.MAPPED,
            reason="",
            module="",
            found=Found(),
        )
        event = AuditEvent(
            at=AT, actor="x", action="order.update", subject=f"order:{waiting.id}", detail=f"message:{number}"
        )
        audit.record(tx, event)
    telling = replace(ports, announce=announcer((destination,)))
    release.send(telling, waiting.id, actor="anna", station="US1")
    release.cancel(telling, waiting.id, actor="anna")
    assert deliver_due(ports, connect(destination).send, at_once=4) == 2
    statuses = [one["status"] for one in ehr.resources["Task/7"]]
    assert statuses == ["requested", "accepted", "cancelled"]
