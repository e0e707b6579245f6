"""Receive: a message is kept, its orders are placed and its answer is written, all in one transaction.

Where the answer must not wait for the mapping, the message is kept and answered first; `settle` maps it later.
"""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.flow.errand import note, waits
from gateway.flow.judge import Verdict, found_in, judge, module_of
from gateway.flow.ports import Ports
from gateway.model.ids import MessageId
from gateway.model.message import Inbound, Interpretation, MessageState, Protocol, Receipt
from gateway.store import inbox, resources
from gateway.store.database import Tx

log = logging.getLogger(__name__)

RETURNED = (
    "the same bytes came before, and something else about the same order came since: "
    "whether this is that message once more or news cannot be told, so nothing was done"
)
REUSED = "an earlier message of this sender has the same control id (MSH-10) and other content"


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
    *,
    is_deferred: bool = False,
) -> Answered:
    """The answer to the message, to be sent now that everything about it is durable.

    A message with the sender, control id and bytes of an earlier one changes nothing and gets the earlier answer,
    unless the newest of those failed: then it is tried again. It is held instead when nothing tells whether it is news:
    it has no name and no version, and the sender said something else of its order since. One with its control id and
    other bytes is a message of its own, with a warning, unless the id names one event for good: that is a repeat too.
    With `is_deferred` the message is only kept, as `received`: `interpret` needs to read no more than its keys,
    for `settle_received` maps it. One that it finds a failure in is settled at once. So is a FHIR message kept that
    needs something read from its sender, and those of the same source that come while it waits.
    Raises Unavailable when nothing could be stored.
    """
    interpretation = interpret(inbound.raw)
    sha256 = hashlib.sha256(inbound.raw).hexdigest()
    with ports.database.write() as tx:
        tx.lock(f"source {inbound.source}")
        is_reused = inbox.has_control_id(tx, inbound.source, interpretation.keys)
        before = inbox.twin(tx, inbound.source, interpretation.keys, sha256) if is_reused else None
        if before is None and is_reused and interpretation.is_event:
            before = inbox.namesake(tx, inbound.source, interpretation.keys)
        is_doubtful = False
        if before is not None and before.state is not MessageState.FAILED:
            if not _is_back(tx, interpretation):
                return Answered(
                    message_id=before.id, state=before.state, answer=before.answer, is_repeat=True
                )
            is_doubtful = True
        if is_reused and before is None:
            log.warning("message.control_id_reused", extra={"source": inbound.source})
            interpretation = replace(interpretation, warnings=(*interpretation.warnings, REUSED))
        is_kept = not interpretation.failure and (is_deferred or _must_wait(tx, inbound, interpretation))
        message_id = _keep(tx, ports, inbound, interpretation, sha256)
        if is_doubtful:
            is_kept, interpretation = False, _undone(interpretation)
        note(tx, inbound.source, message_id, interpretation, ports.clock())
        verdict = (
            Verdict(state=MessageState.RECEIVED, reason="")
            if is_kept
            else _judged(tx, ports, inbound, interpretation, message_id)
        )
        receipt = Receipt(
            message_id=message_id,
            state=verdict.state,
            interpretation=interpretation,
            reason=verdict.reason,
        )
        answer = render(receipt)
        inbox.close(tx, message_id, verdict.state, verdict.reason, answer)
        ports.tally.count("messages", inbound.source, verdict.state)
        return Answered(message_id=message_id, state=verdict.state, answer=answer, is_repeat=False)


def _is_back(tx: Tx, interpretation: Interpretation) -> bool:
    """Whether the sender said something else of an order since, and nothing tells which of both is newer."""
    known = (resources.of(tx, held.source, held.type, held.id) for held in interpretation.undated)
    pairs = zip(known, interpretation.undated, strict=True)
    return any(there is not None and there.body != held.body for there, held in pairs)


def _undone(interpretation: Interpretation) -> Interpretation:
    """The same without anything that would be done, for a person to look at."""
    mapped = interpretation.mapped
    return replace(
        interpretation,
        mapped=replace(mapped, requests=()) if mapped is not None else None,
        wanted=(),
        doubts=(*interpretation.doubts, RETURNED),
    )


def _must_wait(tx: Tx, inbound: Inbound, interpretation: Interpretation) -> bool:
    """Whether something must be read first, or an earlier message of the source waits for that."""
    if inbound.protocol is not Protocol.FHIR:
        return False
    return waits(interpretation) or inbox.oldest_received(tx, inbound.source) is not None


def _keep(tx: Tx, ports: Ports, inbound: Inbound, interpretation: Interpretation, sha256: str) -> MessageId:
    """The message as it came, with what it is found by."""
    return inbox.add(
        tx,
        inbound,
        sha256=sha256,
        at=ports.clock(),
        keys=interpretation.keys,
        state=MessageState.RECEIVED,
        reason="",
        module=module_of(interpretation),
        found=found_in(interpretation),
        warnings=interpretation.warnings,
    )


def _judged(
    tx: Tx, ports: Ports, inbound: Inbound, interpretation: Interpretation, message_id: MessageId
) -> Verdict:
    return judge(
        tx,
        ports,
        interpretation,
        source=inbound.source,
        message_id=message_id,
        actor=f"{inbound.protocol}:{inbound.source}",
        at=ports.clock(),
    )
