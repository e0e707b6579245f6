"""Which change of an order is told to the server that the order came from, by its Task or its ServiceRequest.

Source: FHIR R4 task.html, state machine; valueset-request-status.html; HL7 Clinical Order Workflows.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.fhir.arrival import read_arrival
from gateway.fhir.asked import is_given_here, read_asked
from gateway.fhir.classify import text_at
from gateway.fhir.destination import Destination, OrderUpdate, Write
from gateway.fhir.references import graph
from gateway.flow.ports import Announce
from gateway.mapping.service_request import request_address
from gateway.model.delivery import Change, Outgoing
from gateway.model.errors import Malformed
from gateway.model.lifecycle import State
from gateway.model.message import Message, Protocol
from gateway.model.order import Order

_STUDY_IS_THERE = "study.complete"
_BY_TASK = frozenset({OrderUpdate.TASK, OrderUpdate.BOTH})
_BY_REQUEST = frozenset({OrderUpdate.SERVICE_REQUEST, OrderUpdate.BOTH})
_NO_FHIR_SERVER = frozenset({Write.MESSAGE, Write.WEBHOOK})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """How a change is told."""

    task: str  # Task.status
    request: str  # ServiceRequest.status; "": it stays as it is
    words: str  # Task.businessStatus
    because: str = ""  # Task.statusReason


_TOLD = {
    "order.send": _Told(task="accepted", request="", words="on the machine's worklist"),
    "order.start": _Told(task="in-progress", request="", words="the examination has begun"),
    "order.complete": _Told(task="completed", request="completed", words="the examination is done"),
    _STUDY_IS_THERE: _Told(task="completed", request="completed", words="the images are there"),
    "order.cancel": _Told(
        task="cancelled",
        request="revoked",
        words="not done",
        because="the order was cancelled where it was to be done",
    ),
    "order.discontinue": _Told(
        task="failed", request="revoked", words="given up", because="the examination was given up"
    ),
}

_ANSWERED = {
    "order.cancel": _Told(task="completed", request="", words="the order is cancelled"),
    "order.refuse": _Told(
        task="rejected",
        request="",
        words="not cancelled",
        because="it is too late: the examination has begun or is over",
    ),
}
"""What a Task that asks to abort an order is answered. Source: HL7 Clinical Order Workflows, cancellation request."""


def announcer(destinations: Iterable[Destination]) -> Announce:
    """What turns a change into news for the server that the order came from, when it wants such news."""
    told = tuple(
        one
        for one in destinations
        if one.order_update is not OrderUpdate.NONE and one.write not in _NO_FHIR_SERVER
    )

    def announce(change: Change) -> tuple[Outgoing, ...]:
        how, answer = _TOLD.get(change.action), _ANSWERED.get(change.action)
        wanting = [one for one in told if one.knows(change.order.source)]
        if not wanting or (how is None and answer is None):
            return ()
        answers = tuple(_answers(change, answer, wanting)) if answer is not None else ()
        if how is None or _is_echo(change):
            return answers
        messages = change.messages()
        news = (
            news
            for order in _concerned(change)
            for one in wanting
            if one.knows(order.source)
            for news in _news(change, how, order, one, messages)
        )
        return (*answers, *news)

    return announce


def _answers(change: Change, how: _Told, wanting: Iterable[Destination]) -> Iterator[Outgoing]:
    """The Task of the message at hand that asks to abort the order is told what came of it."""
    asking = (one for one in change.messages() if change.evidence == f"message:{one.id}")
    task = next(filter(None, (_task_in(one, change.order, aborts=True) for one in asking)), "")
    for destination in wanting if task else ():
        if destination.order_update in _BY_TASK:
            yield _outgoing(change, change.order, destination, task, how.task, how)


def _concerned(change: Change) -> tuple[Order, ...]:
    """The order; of a study that is there, every order that it is for and that is done."""
    if change.action != _STUDY_IS_THERE:
        return (change.order,)
    return tuple(order for order in change.orders or (change.order,) if order.state is State.COMPLETED)


def _is_echo(change: Change) -> bool:
    """Whether the server itself asked for it: then it knows. That the order is on a worklist it cannot know."""
    if change.action == "order.send" or not change.evidence.startswith("message:"):
        return False
    asked = (one for one in change.messages() if change.evidence == f"message:{one.id}")
    return any(one.protocol is Protocol.FHIR and one.source == change.order.source for one in asked)


def _news(
    change: Change, how: _Told, order: Order, destination: Destination, messages: tuple[Message, ...]
) -> Iterator[Outgoing]:
    task = _task_of(order, messages) if destination.order_update in _BY_TASK else ""
    if task:
        yield _outgoing(change, order, destination, task, how.task, how)
    is_theirs = bool(order.service_request) and not is_given_here(order.service_request)
    if destination.order_update in _BY_REQUEST and is_theirs and how.request:
        yield _outgoing(change, order, destination, order.service_request, how.request, how)


def _outgoing(
    change: Change, order: Order, destination: Destination, address: str, status: str, how: _Told
) -> Outgoing:
    payload: dict[str, Any] = {
        "address": address,
        "status": status,
        "words": how.words,
        "because": how.because,
        "at": change.at.isoformat(timespec="milliseconds"),
        "study": change.study.study_uid if change.study is not None else "",
    }
    return Outgoing(
        destination=destination.name,
        kind=f"{address.partition('/')[0]} {status}",
        key=f"order:{order.id}",
        order_id=order.id,
        payload=json.dumps(payload).encode(),
        in_turn=True,
    )


def _task_of(order: Order, messages: tuple[Message, ...]) -> str:
    """ "Task/7" of the newest message that asks for the order by a Task; "" when none does."""
    for message in messages:
        found = _task_in(message, order)
        if found:
            return found
    return ""


def _task_in(message: Message, order: Order, *, aborts: bool = False) -> str:
    """ "Task/7" in the message that asks for the order or, with `aborts`, for its end; "" when there is none."""
    if message.protocol is not Protocol.FHIR or message.source != order.source:
        return ""
    try:
        arrival = read_arrival(message.raw, read_asked(message.request))
    except Malformed:
        return ""
    resolve = graph(arrival.resource).resolve
    tasks = [
        one
        for one in arrival.orders
        if text_at(one, "resourceType") == "Task" and text_at(one, "id") and _is_abort(one) is aborts
    ]
    asking = [one for one in tasks if request_address(one, resolve) == order.service_request]
    is_only = len(tasks) == 1 and len(arrival.orders) == 1
    found = asking if order.service_request else tasks if is_only else []
    return f"Task/{text_at(found[0], 'id')}" if found else ""


def _is_abort(task: Mapping[str, Any]) -> bool:
    """Source: FHIR R4 codesystem-task-code.html, abort."""
    code = task.get("code")
    codings = code.get("coding") if isinstance(code, dict) else None
    several = codings if isinstance(codings, list) else ()
    return any(isinstance(one, dict) and one.get("code") == "abort" for one in several)
