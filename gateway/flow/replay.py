"""Replay: a held or failed message is tried again, tried with an edited copy, or put away."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from gateway.flow.errand import note, waits
from gateway.flow.judge import Verdict, found_in, judge, module_of
from gateway.flow.ports import Ports
from gateway.model.audit import AuditEvent
from gateway.model.errors import Conflict, Invalid
from gateway.model.ids import MessageId
from gateway.model.message import Inbound, Interpretation, Message, MessageState
from gateway.store import audit, errands, inbox
from gateway.store.database import Tx

TRIED = frozenset(
    {
        MessageState.HELD,
        MessageState.FAILED,
        MessageState.SKIPPED,
        MessageState.MAPPED,
        MessageState.DISCARDED,
    }
)
"""What can be tried again; a message that still waits for its first mapping, or that a copy replaced, cannot."""

EDITED = TRIED - {MessageState.MAPPED}
PUT_AWAY = frozenset({MessageState.HELD, MessageState.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rework:
    """How kept messages are read again and written anew; given by the composition root."""

    interpret: Callable[[Message | Inbound], Interpretation]  # with the mappings in use now
    text: Callable[[Message], str]  # for a person to edit; HL7 has a segment on each line
    encode: Callable[[Message, str], bytes]  # edited text in the message's own character set; raises Invalid


def replay(ports: Ports, message_id: MessageId, rework: Rework, *, actor: str) -> Verdict:
    """The verdict on the message as the mappings in use now understand it; it replaces the earlier one.

    Orders that the message made are changed, never made once more. What it needs of its sender and is not held is asked
    for again; the message waits for it as `received`. Raises NotFound, Conflict.
    """
    seen = _seen(ports, message_id, TRIED, "tried again")
    with ports.database.write() as tx:
        errands.forget_asked(tx, message_id)
    interpretation = rework.interpret(seen)
    with ports.database.write() as tx:
        message = _locked(tx, message_id, TRIED, "tried again")
        verdict = _judged(tx, ports, message, interpretation, actor, replays=message.id)
        change = f"{_stood(message)} -> {verdict.state}"
        _record(tx, ports, actor, "message.replay", message.id, change)
    return verdict


def retry_edited(
    ports: Ports, message_id: MessageId, text: str, rework: Rework, *, reason: str, actor: str
) -> MessageId:
    """The number of the edited copy, which was mapped; the message itself stays byte for byte, as `superseded`.

    Raises NotFound, Conflict, and Invalid when the text is that of the message or cannot be written in its
    character set, or the reason is missing.
    """
    why = _given(reason)
    original = _seen(ports, message_id, EDITED, "edited")
    raw = rework.encode(original, text)
    if raw == original.raw:
        raise Invalid("text: nothing was changed; the message can be tried again as it is")
    inbound = Inbound(
        protocol=original.protocol,
        source=original.source,
        peer=original.peer,
        raw=raw,
        request=original.request,
    )
    interpretation = rework.interpret(inbound)
    with ports.database.write() as tx:
        original = _locked(tx, message_id, EDITED, "edited")
        copy = _kept(tx, ports, inbound, interpretation, original)
        at = ports.clock()
        inbox.settle(tx, original.id, MessageState.SUPERSEDED, f"edited as message {copy.id}: {why}", at)
        verdict = _judged(tx, ports, copy, interpretation, actor, replays=copy.id)
        _record(
            tx, ports, actor, "message.edit", original.id, f"message:{copy.id}: {why}; {_stood(original)}"
        )
        _record(
            tx, ports, actor, "message.edited", copy.id, f"message:{original.id}: {why} -> {verdict.state}"
        )
    return copy.id


def discard(ports: Ports, message_id: MessageId, *, reason: str, actor: str) -> None:
    """The message is put away, for a reason; what it did to orders stays. Raises NotFound, Conflict, Invalid."""
    why = _given(reason)
    with ports.database.write() as tx:
        message = _locked(tx, message_id, PUT_AWAY, "put away")
        stood = _stood(message)
        inbox.settle(tx, message.id, MessageState.DISCARDED, f"{why} (was {stood})", ports.clock())
        _record(tx, ports, actor, "message.discard", message.id, f"{why}; was {stood}")


def _seen(ports: Ports, message_id: MessageId, able: frozenset[MessageState], wanted: str) -> Message:
    with ports.database.read() as tx:
        return _able(inbox.show(tx, message_id), able, wanted)


def _locked(tx: Tx, message_id: MessageId, able: frozenset[MessageState], wanted: str) -> Message:
    """The message, after every other transaction of its source."""
    tx.lock(f"source {inbox.show(tx, message_id).source}")
    return _able(inbox.show(tx, message_id), able, wanted)


def _able(message: Message, able: frozenset[MessageState], wanted: str) -> Message:
    if message.state not in able:
        raise Conflict(f"message {message.id} is {message.state}: it cannot be {wanted}")
    return message


def _given(reason: str) -> str:
    why = " ".join(reason.split())
    if not why:
        raise Invalid("reason: absent; say why, for those who look at it later")
    return why[:500]


def _kept(
    tx: Tx, ports: Ports, inbound: Inbound, interpretation: Interpretation, original: Message
) -> Message:
    """The edited copy, kept as a message of its own; nothing was answered to it."""
    copy_id = inbox.add(
        tx,
        inbound,
        sha256=hashlib.sha256(inbound.raw).hexdigest(),
        at=ports.clock(),
        keys=interpretation.keys,
        state=MessageState.RECEIVED,
        reason="",
        module="",
        found=found_in(interpretation),
        warnings=interpretation.warnings,
        edited_from=original.id,
    )
    return inbox.show(tx, copy_id)


def _judged(
    tx: Tx,
    ports: Ports,
    message: Message,
    interpretation: Interpretation,
    actor: str,
    *,
    replays: MessageId,
) -> Verdict:
    """The verdict on the message, kept with it."""
    at = ports.clock()
    note(tx, message.source, message.id, interpretation, at)
    if waits(interpretation):
        verdict = Verdict(state=MessageState.RECEIVED, reason="")
        inbox.settle(tx, message.id, verdict.state, verdict.reason, at)
        return verdict
    verdict = judge(
        tx,
        ports,
        interpretation,
        source=message.source,
        message_id=message.id,
        actor=actor,
        at=at,
        replays=replays,
    )
    inbox.settle(tx, message.id, verdict.state, verdict.reason, at)
    inbox.describe(
        tx,
        message.id,
        module=module_of(interpretation),
        found=found_in(interpretation),
        warnings=interpretation.warnings,
    )
    return verdict


def _stood(message: Message) -> str:
    """The verdict that a later one replaces."""
    by = f", by {message.module}" if message.module else ""
    return f"{message.state}{by}{': ' + message.reason if message.reason else ''}"


def _record(tx: Tx, ports: Ports, actor: str, action: str, message_id: MessageId, detail: str) -> None:
    event = AuditEvent(
        at=ports.clock(), actor=actor, action=action, subject=f"message:{message_id}", detail=detail
    )
    audit.record(tx, event)
