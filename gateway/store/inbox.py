"""The inbox: every message byte for byte, what became of it and what we answered."""

from collections.abc import Collection, Iterable
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, delete, func, insert, literal_column, select, update

from gateway.model.errors import NotFound
from gateway.model.ids import MessageId
from gateway.model.message import Inbound, Keys, Message, MessageState, Protocol
from gateway.model.search import MAX_KEY, Found
from gateway.store import changes
from gateway.store.database import Tx
from gateway.store.ready import Ready
from gateway.store.tables import message_terms, messages

PAGE = 200

_OWN = ("accession", "patient_id", "placer", "filler", "name_key")
_KEYS = tuple(field.name for field in fields(Keys))
_INBOUND = tuple(field.name for field in fields(Inbound))

# Built once: building a statement takes longer than running it.
_ADD = Ready(insert(messages).returning(messages.c.id))
_WRITE = Ready(update(messages).where(messages.c.id == bindparam("of_id")))
# An edited copy is ours: the sender knows nothing of it, and nothing was answered to it.
_SAME_NUMBER = and_(
    messages.c.edited_from.is_(None),
    messages.c.control_id == bindparam("of_control_id"),
    messages.c.sender == bindparam("of_sender"),
    messages.c.source == bindparam("of_source"),
)
_NUMBERED = Ready(select(messages.c.id).where(_SAME_NUMBER).limit(1))
_NAMESAKE = Ready(select(messages).where(_SAME_NUMBER).order_by(messages.c.id.desc()).limit(1))
# The index holds those that wait; a database takes it only where the statement itself says which they are.
_IS_WAITING = messages.c.state == literal_column(f"'{MessageState.RECEIVED}'")
_WAITING = Ready(
    select(messages.c.id)
    .where(_IS_WAITING, messages.c.source == bindparam("of_source"))
    .order_by(messages.c.id)
    .limit(1)
)
_ADD_TERMS = Ready(insert(message_terms))
_TWIN = Ready(
    select(messages)
    .where(_SAME_NUMBER, messages.c.sha256 == bindparam("of_sha256"))
    .order_by(messages.c.id.desc())
    .limit(1)
)


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
    warnings: Iterable[str] = (),
    edited_from: MessageId | None = None,
) -> MessageId:
    """The message is kept; its answer follows in the same transaction."""
    values = {
        **{name: getattr(inbound, name) for name in _INBOUND},
        **{name: getattr(keys, name) for name in _KEYS},
        **_own(found),
        "sha256": sha256,
        "received_at": at,
        "state": state,
        "reason": reason,
        "answer": b"",
        "module": module,
        "warnings": "\n".join(warnings),
        "edited_from": edited_from,
    }
    message_id = MessageId(_ADD.value(tx, values))
    _add_terms(tx, message_id, found)
    changes.note(tx, "message", message_id, at)
    return message_id


def close(tx: Tx, message_id: MessageId, state: MessageState, reason: str, raw: bytes) -> None:
    """The message that was just kept has its first verdict, and what we answer to it is kept with it."""
    values = {"state": state, "reason": reason, "answer": raw}
    _WRITE.run(tx, {"of_id": message_id, **values})


def answer(tx: Tx, message_id: MessageId, raw: bytes) -> None:
    """What we answer to the message is kept with it."""
    _WRITE.run(tx, {"of_id": message_id, "answer": raw})


def settle(tx: Tx, message_id: MessageId, state: MessageState, reason: str, at: datetime) -> None:
    """The message is in another state, for a reason."""
    _WRITE.run(tx, {"of_id": message_id, "state": state, "reason": reason})
    changes.note(tx, "message", message_id, at)


def describe(
    tx: Tx, message_id: MessageId, *, module: str, found: Found, warnings: Iterable[str] = ()
) -> None:
    """Which mapping read the message last, and what it is found by since then."""
    values = {"module": module, "warnings": "\n".join(warnings), **_own(found)}
    _WRITE.run(tx, {"of_id": message_id, **values})
    tx.connection.execute(delete(message_terms).where(message_terms.c.message_id == message_id))
    _add_terms(tx, message_id, found)


def has_control_id(tx: Tx, source: str, keys: Keys) -> bool:
    """Whether a message of the same sender with the same control id came before; never where it has none."""
    if not keys.control_id:
        return False
    return _NUMBERED.value(tx, _number(source, keys)) is not None


def twin(tx: Tx, source: str, keys: Keys, sha256: str) -> Message | None:
    """The newest message with the same sender, control id and bytes, None when this is the first."""
    row = _TWIN.row(tx, {**_number(source, keys), "of_sha256": sha256})
    return read_message(row) if row is not None else None


def namesake(tx: Tx, source: str, keys: Keys) -> Message | None:
    """The newest message with the same sender and control id, None when this is the first."""
    row = _NAMESAKE.row(tx, _number(source, keys))
    return read_message(row) if row is not None else None


def show(tx: Tx, message_id: MessageId) -> Message:
    """The message. Raises NotFound."""
    row = tx.connection.execute(select(messages).where(messages.c.id == message_id)).one_or_none()
    if row is None:
        raise NotFound(f"message {message_id}: there is none with that number")
    return read_message(row)


def copies(tx: Tx, message_id: MessageId) -> tuple[MessageId, ...]:
    """The edited copies of the message, oldest first."""
    query = select(messages.c.id).where(messages.c.edited_from == message_id).order_by(messages.c.id)
    return tuple(MessageId(found) for found in tx.connection.execute(query).scalars())


def received(tx: Tx, limit: int = PAGE, *, apart_from: Collection[str] = ()) -> tuple[Message, ...]:
    """The messages that were kept and not yet mapped, oldest first; those of the sources `apart_from` are left out."""
    query = select(messages).where(messages.c.state == MessageState.RECEIVED)
    if apart_from:
        query = query.where(messages.c.source.not_in(apart_from))
    query = query.order_by(messages.c.id).limit(limit)
    return tuple(read_message(row) for row in tx.connection.execute(query))


def oldest_received(tx: Tx, source: str) -> MessageId | None:
    """The first message of the source that was kept and not yet mapped; None when all are mapped."""
    found = _WAITING.value(tx, {"of_source": source})
    return MessageId(found) if found is not None else None


def newest(
    tx: Tx, *, state: MessageState | None = None, before: MessageId | None = None, limit: int = PAGE
) -> tuple[Message, ...]:
    """The newest messages first; `before` pages on from the last one shown."""
    query = select(messages).order_by(messages.c.id.desc()).limit(limit)
    if state is not None:
        query = query.where(messages.c.state == state)
    if before is not None:
        query = query.where(messages.c.id < before)
    return tuple(read_message(row) for row in tx.connection.execute(query))


def count(tx: Tx, state: MessageState, *, since: datetime | None = None) -> int:
    """How many messages are in that state; only those that came after `since`, when that is given."""
    query = select(func.count()).select_from(messages).where(messages.c.state == state)
    if since is not None:
        query = query.where(messages.c.received_at > since)
    found: int = tx.connection.execute(query).scalar_one()
    return found


def read_message(row: Any) -> Message:
    """The message in a row of the table."""
    return Message(
        id=MessageId(row.id),
        protocol=Protocol(row.protocol),
        source=row.source,
        peer=row.peer,
        received_at=row.received_at,
        raw=row.raw,
        request=row.request,
        keys=Keys(**{name: getattr(row, name) for name in _KEYS}),
        state=MessageState(row.state),
        reason=row.reason,
        answer=row.answer,
        module=row.module,
        accession=row.accession,
        patient_id=row.patient_id,
        placer=row.placer,
        filler=row.filler,
        warnings=tuple(row.warnings.splitlines()),
        edited_from=MessageId(row.edited_from) if row.edited_from is not None else None,
    )


def _number(source: str, keys: Keys) -> dict[str, str]:
    return {"of_source": source, "of_sender": keys.sender, "of_control_id": keys.control_id}


def _own(found: Found) -> dict[str, str]:
    return {name: getattr(found, name) for name in _OWN}


def _add_terms(tx: Tx, message_id: MessageId, found: Found) -> None:
    """The terms of the further orders, when there are any."""
    terms = dict.fromkeys(term[:MAX_KEY] for term in (*found.numbers, *found.name_keys))
    if terms:
        rows = [{"message_id": message_id, "term": term} for term in terms]
        _ADD_TERMS.run_all(tx, rows)
