"""Judge: what becomes of a message that was interpreted. Part of the caller's transaction."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from gateway.flow.place import Placed, place
from gateway.flow.ports import Ports
from gateway.model.ids import MessageId
from gateway.model.message import Interpretation, MessageState
from gateway.model.order import Action, Mapped, OrderRequest, Severity
from gateway.model.search import Found, name_keys
from gateway.store import codes
from gateway.store.database import Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a message, and why it is held, failed or skipped; "" for one that was mapped."""

    state: MessageState
    reason: str


def judge(
    tx: Tx,
    ports: Ports,
    interpretation: Interpretation,
    *,
    source: str,
    message_id: MessageId,
    actor: str,
    at: datetime,
    replays: MessageId | None = None,
) -> Verdict:
    """The verdict on the message; the orders in it are placed, unless it is refused.

    `replays` is the message whose earlier run this one takes the place of.
    """
    because = refusal(interpretation)
    if because or interpretation.mapped is None:
        return Verdict(state=MessageState.FAILED, reason=because)
    requests = interpretation.mapped.requests
    codes.sighted(tx, source, (code for request in requests for code in request.unknown), at)
    placed = place(
        tx,
        ports,
        requests,
        source=source,
        message_id=message_id,
        actor=actor,
        at=at,
        sent_at=interpretation.keys.sent_at,
        replays=replays,
    )
    return _verdict(interpretation, interpretation.mapped, placed)


def refusal(interpretation: Interpretation) -> str:
    """Why nothing of the message is taken; empty when it is taken."""
    mapped = interpretation.mapped
    if interpretation.failure or mapped is None:
        return interpretation.failure or "the message could not be read"
    if mapped.module is None and not mapped.skipped:
        return "no mapping module is meant for this message"
    faults = [str(f) for request in mapped.requests for f in request.faults if f.severity is Severity.REJECT]
    return "; ".join(faults)


def module_of(interpretation: Interpretation) -> str:
    """ "orders-hl7@ab12cd": the module that mapped the message and the beginning of its version; "" without one."""
    module = interpretation.mapped.module if interpretation.mapped else None
    if module is None:
        return ""
    return f"{module.name}@{module.version[:12]}" if module.version else module.name


def found_in(interpretation: Interpretation) -> Found:
    """What the message can be searched by: every number and name of every order in it."""
    requests = interpretation.mapped.requests if interpretation.mapped else ()
    if not requests:
        return Found()
    first = _numbers(requests[0])
    names = tuple(_names(requests))
    others = dict.fromkeys(number for request in requests for number in _numbers(request).values())
    return Found(
        **first,
        name_key=next(iter(names), ""),
        numbers=tuple(number for number in others if number and number not in first.values()),
        name_keys=names[1:],
    )


def _verdict(interpretation: Interpretation, mapped: Mapped, placed: Placed) -> Verdict:
    doubts = (*interpretation.doubts, *placed.doubts)
    if doubts:
        return Verdict(state=MessageState.HELD, reason="; ".join(doubts))
    if placed.orders or placed.merges:
        return Verdict(state=MessageState.MAPPED, reason="")
    ignored = [request for request in mapped.requests if request.action is Action.IGNORE]
    because = [
        *mapped.skipped,
        *placed.passed,
        *("the sender's status asks for nothing" for _ in ignored),
    ]
    reason = "; ".join(dict.fromkeys(because)) or "there is no order in it"
    return Verdict(state=MessageState.SKIPPED, reason=reason)


def _numbers(request: OrderRequest) -> dict[str, str]:
    return {
        "accession": request.text("AccessionNumber"),
        "patient_id": request.text("PatientID"),
        "placer": request.text("PlacerOrderNumberImagingServiceRequest"),
        "filler": request.text("FillerOrderNumberImagingServiceRequest"),
    }


def _names(requests: Iterable[OrderRequest]) -> Iterator[str]:
    """The keys of the patients' names, each once."""
    yield from dict.fromkeys(key for request in requests for key in name_keys(request.text("PatientName")))
