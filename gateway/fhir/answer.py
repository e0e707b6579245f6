"""What a sender is told: an OperationOutcome for a resource, a Bundle for a Bundle, a message for a message.

No answer repeats a value of the message: texts name fields.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.fhir.arrival import is_offered
from gateway.fhir.asked import CREATE
from gateway.fhir.classify import BUNDLE, entries_of, header_of, resource_of, text_at
from gateway.fhir.interpret import Understood
from gateway.fhir.outcome import Issue, render_outcome
from gateway.fhir.reply import render_reply
from gateway.model.message import MessageState, Receipt
from gateway.model.order import Action, Fault, Mapped, OrderRequest, Severity

_ENDS = {
    Action.SCHEDULE: "scheduled",
    Action.UPDATE: "scheduled",
    Action.HOLD: "held",
    Action.CANCEL: "cancelled",
    Action.DISCONTINUE: "cancelled",
    Action.START: "started",
    Action.COMPLETE: "completed",
    Action.RESCHEDULE: "rescheduled",
    Action.UNSCHEDULE: "unscheduled",
    Action.ARRIVE: "arrived",
    Action.UPDATE_PATIENT: "updated",
    Action.MERGE: "held",
    Action.IGNORE: "passed over",
}
_ALWAYS_SAID = ("scheduled", "held", "cancelled")
_MOST_ISSUES = 50
WAITS = "kept; what it refers to is read first"
LOOKED_FOR = "kept; what it tells of is read from the record system"
_CREATED = "201 Created"
_TAKEN, _REFUSED, _NOT_ALLOWED = "200 OK", "422 Unprocessable Entity", "405 Method Not Allowed"


def render_answer(understood: Understood, receipt: Receipt) -> dict[str, Any]:
    """The answer to a message that is stored now."""
    arrival = understood.arrival
    every = (*understood.outcomes, *understood.withdrawn)
    if arrival is None or arrival.type != BUNDLE or not arrival.resource:
        return render_outcome(*_issues(every, receipt, is_whole=True))
    header = header_of(arrival.resource)
    if header is not None:
        outcome = render_outcome(*_issues(every, receipt, is_whole=True))
        return render_reply(header, outcome, receipt)
    kind = "transaction-response" if arrival.bundle_type == "transaction" else "batch-response"
    fates = {id(order): outcome for order, outcome in zip(arrival.orders, understood.outcomes, strict=True)}
    entries = [
        {
            "response": _response(
                entry, fates.get(id(entry.get("resource"))), receipt, is_whole=len(fates) == 1
            )
            if id(entry.get("resource")) in fates or is_offered(entry, arrival.bundle_type)
            else {"status": _NOT_ALLOWED}
        }
        for entry in entries_of(arrival.resource)
    ]
    bundle: dict[str, Any] = {"resourceType": BUNDLE, "type": kind}
    return {**bundle, "entry": entries} if entries else bundle


def _response(
    entry: Mapping[str, Any], fate: Mapped | None, receipt: Receipt, *, is_whole: bool
) -> dict[str, Any]:
    """What became of one entry; `fate` is None when no order is in it. Source: FHIR R4 Bundle.entry.response."""
    where = _where(entry)
    if fate is not None:
        status = _REFUSED if receipt.state is MessageState.FAILED else _CREATED if where else _TAKEN
        outcome = render_outcome(*_issues((fate,), receipt, is_whole=is_whole))
        return {"status": status, **where, "outcome": outcome}
    return {"status": _CREATED if where else _TAKEN, **where}


def _where(entry: Mapping[str, Any]) -> dict[str, str]:
    """Where a created resource can be read; nothing for another entry."""
    resource = resource_of(entry)
    own_id = text_at(resource, "id") if resource is not None else ""
    if resource is None or not own_id or text_at(entry, "request", "method") != CREATE:
        return {}
    return {"location": f"{text_at(resource, 'resourceType')}/{own_id}"}


def _issues(outcomes: tuple[Mapped, ...], receipt: Receipt, *, is_whole: bool) -> tuple[Issue, ...]:
    """`is_whole`: the outcomes are all there are, so what is said of the message is said of them."""
    remarks = list(_remarks(outcomes))
    if receipt.state is MessageState.FAILED:
        reason = receipt.reason or receipt.interpretation.failure
        code = "processing" if outcomes else "invalid"
        first = Issue(severity="error", code=code, text=f"nothing was taken: {reason}")
    else:
        is_kept = receipt.state is MessageState.RECEIVED
        first = Issue(
            severity="information",
            code="informational",
            text=WAITS if is_kept else _summary(outcomes, receipt),
        )
        if is_kept:
            return (first,)
        if receipt.state is MessageState.HELD and is_whole and not remarks:
            remarks.append(Issue(severity="warning", code="business-rule", text=receipt.reason))
    return (first, *remarks[: _MOST_ISSUES - 1])


def _summary(outcomes: tuple[Mapped, ...], receipt: Receipt) -> str:
    """How many orders ended how: "1 scheduled, 0 held, 0 cancelled"."""
    ends = Counter(_end(request) for outcome in outcomes for request in outcome.requests)
    ends["passed over"] += sum(len(outcome.skipped) for outcome in outcomes)
    if not outcomes:
        return LOOKED_FOR if receipt.interpretation.wanted else "kept; there is no order in it"
    rest = (end for end in dict.fromkeys(_ENDS.values()) if end not in _ALWAYS_SAID and ends[end])
    return "orders: " + ", ".join(f"{ends[end]} {end}" for end in (*_ALWAYS_SAID, *rest))


def _end(request: OrderRequest) -> str:
    return "held" if request.severity is Severity.HOLD else _ENDS[request.action]


def _remarks(outcomes: tuple[Mapped, ...]) -> Iterator[Issue]:
    for outcome in outcomes:
        for request in outcome.requests:
            yield from (_remark(fault) for fault in request.faults)
        yield from (
            Issue(severity="information", code="informational", text=because) for because in outcome.skipped
        )


def _remark(fault: Fault) -> Issue:
    is_error = fault.severity is Severity.REJECT
    return Issue(
        severity="error" if is_error else "warning",
        code="required" if fault.code == "101" else "value",
        text=fault.text,
        expression=fault.place.path if fault.place else "",
    )
