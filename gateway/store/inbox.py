"""The inbox: every message byte for byte, what became of it and what we answered."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select, update

from gateway.model.errors import NotFound
from gateway.model.ids import MessageId
from gateway.model.message import Inbound, Keys, Message, MessageState, Protocol
from gateway.store import changes
from gateway.store.database import Tx
from gateway.store.tables import messages

PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a message is searched by; empty text means "none"."""

    accession: str = ""
    patient_id: str = ""
    placer: str = ""
    filler: str = ""


def add(
    tx: Tx,
    inbound: Inbound,
    *,
    sha256: str,
    at: datetime,
    keys: Keys,
    state: MessageState,
    reason: str,
    module: str,
    found: Found,
) -> MessageId:
    """The message is kept; its answer follows with `answer` in the same transaction."""
    row = tx.connection.execute(
        insert(messages)
        .values(
            **asdict(inbound),
            **asdict(keys),
            **asdict(found),
            sha256=sha256,
            received_at=at,
            state=state,
            reason=reason,
            answer=b"",
            module=module,
        )
        .returning(messages.c.id)
    )
    message_id = MessageId(row.scalar_one())
    changes.note(tx, "message", message_id, at)
    return message_id


def answer(tx: Tx, message_id: MessageId, raw: bytes) -> None:
    """What we answer to the message is kept with it."""
    tx.connection.execute(update(messages).where(messages.c.id == message_id).values(answer=raw))


def settle(tx: Tx, message_id: MessageId, state: MessageState, reason: str, at: datetime) -> None:
    """The message is in another state, for a reason."""
    tx.connection.execute(
        update(messages).where(messages.c.id == message_id).values(state=state, reason=reason)
    )
    changes.note(tx, "message", message_id, at)


def twin(tx: Tx, source: str, keys: Keys, sha256: str) -> Message | None:
    """The message with the same sender, control id and bytes that came before, None when this is the first."""
    query = (
        select(messages)
        .where(
            messages.c.source == source,
            messages.c.sender == keys.sender,
            messages.c.control_id == keys.control_id,
            messages.c.sha256 == sha256,
        )
        .order_by(messages.c.id)
        .limit(1)
    )
    row = tx.connection.execute(query).one_or_none()
    return _read(row) if row is not None else None


def show(tx: Tx, message_id: MessageId) -> Message:
    """The message. Raises NotFound."""
    row = tx.connection.execute(select(messages).where(messages.c.id == message_id)).one_or_none()
    if row is None:
        raise NotFound(f"message {message_id}: there is none with that number")
    return _read(row)


def newest(
    tx: Tx, *, state: MessageState | None = None, before: MessageId | None = None, limit: int = PAGE
) -> tuple[Message, ...]:
    """The newest messages first; `before` pages on from the last one shown."""
    query = select(messages).order_by(messages.c.id.desc()).limit(limit)
    if state is not None:
        query = query.where(messages.c.state == state)
    if before is not None:
        query = query.where(messages.c.id < before)
    return tuple(_read(row) for row in tx.connection.execute(query))


def count(tx: Tx, state: MessageState, *, since: datetime) -> int:
    """How many messages that came after `since` are in that state."""
    wanted = (messages.c.state == state) & (messages.c.received_at > since)
    found: int = tx.connection.execute(select(func.count()).select_from(messages).where(wanted)).scalar_one()
    return found


def _read(row: Any) -> Message:
    return Message(
        id=MessageId(row.id),
        protocol=Protocol(row.protocol),
        source=row.source,
        peer=row.peer,
        received_at=row.received_at,
        raw=row.raw,
        keys=Keys(
            control_id=row.control_id,
            sender=row.sender,
            message_type=row.message_type,
            version=row.version,
            sent_at=row.sent_at,
        ),
        state=MessageState(row.state),
        reason=row.reason,
        answer=row.answer,
        module=row.module,
        accession=row.accession,
        patient_id=row.patient_id,
        placer=row.placer,
        filler=row.filler,
    )
