"""Receive: a message is kept, its orders are placed and its answer is written, all in one transaction."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from gateway.flow.place import Placed, place
from gateway.flow.ports import Ports
from gateway.model.ids import MessageId
from gateway.model.message import Inbound, Interpretation, Message, MessageState, Receipt
from gateway.model.order import Action, Mapped, OrderRequest, Severity
from gateway.store import inbox
from gateway.store.database import Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What the sender is told. `is_repeat`: the same bytes came before and this is the answer they got."""

    message_id: MessageId
    state: MessageState
    answer: bytes
    is_repeat: bool


def receive(
    ports: Ports,
    inbound: Inbound,
    interpret: Callable[[bytes], Interpretation],
    render: Callable[[Receipt], bytes],
) -> Answered:
    """The answer to the message, to be sent now that everything about it is durable.

    A message with the sender, control id and bytes of an earlier one changes nothing and gets the earlier answer,
    unless that one failed: then it is tried again.
    Raises Unavailable when nothing could be stored.
    """
    interpretation = interpret(inbound.raw)
    sha256 = hashlib.sha256(inbound.raw).hexdigest()
    with ports.database.write() as tx:
        tx.lock(f"source {inbound.source}")
        before = _earlier(tx, inbound, interpretation, sha256)
        if before is not None:
            return Answered(message_id=before.id, state=before.state, answer=before.answer, is_repeat=True)
        return _first_time(tx, ports, inbound, interpretation, sha256, render)


def _earlier(tx: Tx, inbound: Inbound, interpretation: Interpretation, sha256: str) -> Message | None:
    if not interpretation.keys.control_id:
        return None
    before = inbox.twin(tx, inbound.source, interpretation.keys, sha256)
    return before if before is not None and before.state is not MessageState.FAILED else None


def _first_time(
    tx: Tx,
    ports: Ports,
    inbound: Inbound,
    interpretation: Interpretation,
    sha256: str,
    render: Callable[[Receipt], bytes],
) -> Answered:
    at = ports.clock()
    refusal = _refusal(interpretation)
    requests = interpretation.mapped.requests if interpretation.mapped else ()
    message_id = inbox.add(
        tx,
        inbound,
        sha256=sha256,
        at=at,
        keys=interpretation.keys,
        state=MessageState.FAILED,
        reason=refusal,
        module=_module(interpretation.mapped),
        found=_found(requests),
    )
    state, reason = MessageState.FAILED, refusal
    if not refusal:
        actor = f"{inbound.protocol}:{inbound.source}"
        placed = place(tx, ports, requests, source=inbound.source, message_id=message_id, actor=actor, at=at)
        state, reason = _verdict(interpretation, placed)
        inbox.settle(tx, message_id, state, reason, at)
    receipt = Receipt(message_id=message_id, state=state, interpretation=interpretation, reason=reason)
    answer = render(receipt)
    inbox.answer(tx, message_id, answer)
    return Answered(message_id=message_id, state=state, answer=answer, is_repeat=False)


def _refusal(interpretation: Interpretation) -> str:
    """Why nothing of the message is taken; empty when it is taken."""
    mapped = interpretation.mapped
    if interpretation.failure or mapped is None:
        return interpretation.failure or "the message could not be read"
    if mapped.module is None and not mapped.skipped:
        return "no mapping module is meant for this message"
    faults = [str(f) for request in mapped.requests for f in request.faults if f.severity is Severity.REJECT]
    return "; ".join(faults)


def _verdict(interpretation: Interpretation, placed: Placed) -> tuple[MessageState, str]:
    if placed.doubts:
        return MessageState.HELD, "; ".join(placed.doubts)
    if placed.orders:
        return MessageState.MAPPED, ""
    mapped = interpretation.mapped
    ignored = [r for r in mapped.requests if r.action is Action.IGNORE] if mapped else []
    because = [
        *(mapped.skipped if mapped else ()),
        *placed.passed,
        *("the sender's status asks for nothing" for _ in ignored),
    ]
    return MessageState.SKIPPED, "; ".join(dict.fromkeys(because)) or "there is no order in it"


def _module(mapped: Mapped | None) -> str:
    return f"{mapped.module.name}@{mapped.module.version[:12]}" if mapped and mapped.module else ""


def _found(requests: tuple[OrderRequest, ...]) -> inbox.Found:
    """What the message can be searched by: the numbers of its first order."""
    if not requests:
        return inbox.Found()
    first = requests[0]
    return inbox.Found(
        accession=first.text("AccessionNumber"),
        patient_id=first.text("PatientID"),
        placer=first.text("PlacerOrderNumberImagingServiceRequest"),
        filler=first.text("FillerOrderNumberImagingServiceRequest"),
    )
