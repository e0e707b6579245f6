"""The state of an order, written into the Task or ServiceRequest on the server that it came from.

It is read, changed and put back under If-Match, so that nothing of the owner's is lost. Source: FHIR R4 http.html,
managing resource contention; task.html, state machine; HL7 Clinical Order Workflows.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.fhir.exact import read_exact
from gateway.fhir.exchange import Answer
from gateway.fhir.imaging_study import KIND, identifier_of
from gateway.fhir.parties import UID_SYSTEM
from gateway.fhir.strategies import MOST_CONFLICTS
from gateway.fhir.talk import Talk, if_match
from gateway.fhir.verdict import CONFLICTS, judge_fhir
from gateway.model.delivery import Delivery
from gateway.model.errors import Refused, Unavailable
from gateway.store import outbox

_KINDS = ("Task ", "ServiceRequest ")
_WAITS = 3  # so often a completed Task waits for its study to be there first
_OPEN = frozenset({"draft", "requested", "received", "ready", "on-hold"})
_BEFORE = {
    "accepted": _OPEN,
    "in-progress": _OPEN | {"accepted"},
    "completed": _OPEN | {"accepted", "in-progress", "completed"},
    "cancelled": _OPEN | {"accepted", "in-progress"},
    "rejected": _OPEN | {"accepted"},
    "failed": _OPEN | {"accepted", "in-progress"},
}
"""From which states of a Task each one is reached; from another one it is left alone."""
_ALIVE = frozenset({"draft", "active", "on-hold", "unknown"})  # Source: FHIR R4 valueset-request-status.html


@dataclass(frozen=True, slots=True, kw_only=True)
class _News:
    address: str  # "Task/7"
    status: str
    words: str
    because: str
    at: str
    study: str  # the Study Instance UID of a study that is complete; "" for none

    @property
    def kind(self) -> str:
        return self.address.partition("/")[0]


def is_status(delivery: Delivery) -> bool:
    """Whether it tells the state of an order."""
    return delivery.kind.startswith(_KINDS)


def write(talk: Talk, delivery: Delivery) -> None:
    """The order's resource on the server says what the delivery says, unless it is further already.

    Raises Unavailable, Refused.
    """
    news = _News(**json.loads(delivery.payload))
    output = _output(talk, news.study, delivery) if news.study and news.kind == "Task" else None
    for _attempt in range(MOST_CONFLICTS):
        answer = talk.ask("GET", news.address)
        judge_fhir(answer)
        current = _read(answer, news.kind)
        changed = _changed(current, news, output, talk.destination.release)
        if changed == current:
            return
        known = answer.written(news.kind)
        done = talk.ask("PUT", news.address, changed, if_match(known.version if known else None))
        if done.status not in CONFLICTS:
            judge_fhir(done)
            return
    raise Unavailable(f"somebody else changed the {news.kind} at each try")


def _read(answer: Answer, kind: str) -> dict[str, Any]:
    """The resource that was asked for. Raises Unavailable when the answer holds none of the kind."""
    try:
        current = read_exact(answer.body)
    except (ValueError, RecursionError):
        current = None
    if not isinstance(current, dict) or current.get("resourceType") != kind:
        raise Unavailable(f"answered {answer.status} without the {kind}")
    return current


def _changed(
    current: dict[str, Any], news: _News, output: Mapping[str, Any] | None, release: str
) -> dict[str, Any]:
    """The resource with the state told; as it is when it is not for us to change any more.

    Raises Refused when there is no place for the output.
    """
    status = current.get("status")
    if news.kind != "Task":
        return {**current, "status": news.status} if status in _ALIVE else current
    if status not in _BEFORE[news.status]:
        return current
    told = current.get("output") or []
    if output is not None and not isinstance(told, list):
        raise Refused("the output of the Task is no list")
    is_new = output is not None and not any(_study(one) == _study(output) for one in told)
    if status == news.status and not is_new:
        return current
    changed = {
        **current,
        "status": news.status,
        "businessStatus": {"text": news.words},
        "lastModified": news.at,
    }
    if news.because:
        reason = {"text": news.because}
        changed["statusReason"] = {"concept": reason} if release == "R5" else reason
    if is_new:
        changed["output"] = [*told, output]
    return changed


def _output(talk: Talk, study_uid: str, delivery: Delivery) -> dict[str, Any]:
    """The study as a Task's output, by the server's own address when it has it.

    Raises Unavailable, a few times, while the study itself is still on its way there.
    """
    with talk.ports.database.read() as tx:
        is_owed = outbox.is_owed(tx, delivery.destination, KIND, study_uid)
    if is_owed and delivery.attempts <= _WAITS:
        raise Unavailable("the study is not there yet")
    known = talk.found(KIND, f"identifier={identifier_of(study_uid)}")
    identifier = {"system": UID_SYSTEM, "value": f"urn:oid:{study_uid}"}
    reference = {"type": KIND, "identifier": identifier}
    if known is not None:
        reference = {"reference": f"{KIND}/{known.id}", **reference}
    coding = {"system": "http://hl7.org/fhir/resource-types", "code": KIND}
    return {"type": {"coding": [coding], "text": "Imaging study"}, "valueReference": reference}


def _study(output: object) -> object:
    """The identifier of the study in an output; it stays when the server's address comes to be known."""
    reference = output.get("valueReference") if isinstance(output, dict) else None
    identifier = reference.get("identifier") if isinstance(reference, dict) else None
    return identifier.get("value") if isinstance(identifier, dict) else None
