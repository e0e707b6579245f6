"""Messages found by what stands in them, by sender, type, source, state and time; each way on an index."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, select, tuple_, union_all

from gateway.model.ids import MessageId
from gateway.model.message import Message, MessageState
from gateway.model.search import MAX_KEY, name_key
from gateway.store.database import Tx
from gateway.store.inbox import read_message
from gateway.store.tables import message_terms, messages

_NUMBERS = (
    messages.c.accession,
    messages.c.patient_id,
    messages.c.placer,
    messages.c.filler,
    messages.c.control_id,
)
_LAST = "\U0010ffff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which messages are looked for; what is empty or None does not narrow the search.

    `term` is a whole accession number, patient id, order number or control id, or the beginning of a name.
    """

    term: str = ""
    state: MessageState | None = None
    message_type: str = ""
    source: str = ""
    sender: str = ""
    since: datetime | None = None
    until: datetime | None = None  # that instant itself is out


def find(tx: Tx, wanted: Wanted, *, before: MessageId | None = None, limit: int = 100) -> tuple[Message, ...]:
    """The messages looked for, the newest first; `before` pages on from the last one shown."""
    chosen = tx.connection.execute(query(wanted, before=before, limit=limit)).scalars().all()
    rows = tx.connection.execute(select(messages).where(messages.c.id.in_(chosen)))
    found = {row.id: read_message(row) for row in rows}
    return tuple(found[number] for number in chosen)


def query(wanted: Wanted, *, before: MessageId | None = None, limit: int = 100) -> "Select[Any]":
    """The numbers of the messages looked for, the newest first."""
    asked = select(messages.c.id).where(*_filters(wanted))
    if wanted.term.strip():
        asked = asked.where(messages.c.id.in_(_with_term(wanted.term.strip())))
    if before is not None:
        shown = select(messages.c.received_at).where(messages.c.id == before).scalar_subquery()
        asked = asked.where(tuple_(messages.c.received_at, messages.c.id) < tuple_(shown, before))
    return asked.order_by(messages.c.received_at.desc(), messages.c.id.desc()).limit(limit)


def _filters(wanted: Wanted) -> list[ColumnElement[bool]]:
    exact = (
        (messages.c.state, wanted.state),
        (messages.c.message_type, wanted.message_type),
        (messages.c.source, wanted.source),
        (messages.c.sender, wanted.sender),
    )
    filters: list[ColumnElement[bool]] = [column == value for column, value in exact if value]
    if wanted.since is not None:
        filters.append(messages.c.received_at >= wanted.since)
    if wanted.until is not None:
        filters.append(messages.c.received_at < wanted.until)
    return filters


def _with_term(term: str) -> "Select[Any]":
    """The numbers of the messages that have the term: one search of one index for each way to have it."""
    number = term[:MAX_KEY]
    ways = [select(messages.c.id).where(column == term) for column in _NUMBERS]
    ways.append(select(message_terms.c.message_id).where(message_terms.c.term == number))
    if key := name_key(term):
        ways.append(select(messages.c.id).where(_begins(messages.c.name_key, key)))
        ways.append(select(message_terms.c.message_id).where(_begins(message_terms.c.term, key)))
    together = union_all(*ways).subquery("having")
    return select(together.c[0])


def _begins(column: "ColumnElement[str]", key: str) -> ColumnElement[bool]:
    return and_(column >= key, column < key + _LAST)
