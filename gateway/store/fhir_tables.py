"""The tables of what FHIR servers and senders tell us: what they call things that we wrote."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, String, Table

from gateway.store.columns import Instant, PlainText
from gateway.store.tables import metadata

_ID = BigInteger().with_variant(
    Integer, "sqlite"
)  # SQLite counts up only in a column that is exactly INTEGER


def _text(name: str) -> "Column[str]":
    return Column(name, PlainText, nullable=False, server_default="")


written = Table(
    "written",
    metadata,
    Column("destination", PlainText, primary_key=True),
    Column("address", PlainText, primary_key=True),  # "ImagingStudy?identifier=...", as we ask for it
    _text("resource_id"),  # the server's own
    _text("version"),
    Column("updated_at", Instant, nullable=False),
)

followed = Table(
    "followed",
    metadata,
    Column("source", PlainText, primary_key=True),
    Column("cursor", Instant),
    Column("polled_at", Instant),
    _text("poll_error"),
    Column("heard_at", Instant),
)

heard = Table(
    "heard",
    metadata,
    Column("source", PlainText, primary_key=True),
    Column("subscription", PlainText, primary_key=True),  # "" of notifications that name none
    Column("event_number", BigInteger, nullable=False),
)

resources = Table(
    "resources",
    metadata,
    Column("source", PlainText, primary_key=True),
    Column("type", PlainText, primary_key=True),
    Column("resource_id", PlainText, primary_key=True),
    _text("version"),
    Column("last_updated", Instant),
    Column("body", LargeBinary, nullable=False),
    Column("at", Instant, nullable=False),
    Column("is_deleted", Integer, nullable=False),
    Index(None, "source", "type", "at"),
)

resource_identifiers = Table(
    "resource_identifiers",
    metadata,
    Column("source", PlainText, primary_key=True),
    Column("type", PlainText, primary_key=True),
    Column("resource_id", PlainText, primary_key=True),
    Column("system", PlainText, primary_key=True),
    Column("value", PlainText, primary_key=True),
    Column("position", Integer, nullable=False),
    Index(None, "source", "type", "value"),
)

errands = Table(
    "errands",
    metadata,
    Column("id", _ID, primary_key=True),
    _text("source"),
    Column("kind", String(16), nullable=False),
    _text("target"),
    Column("message_id", _ID, ForeignKey("messages.id")),
    _text("field"),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Instant, nullable=False),
    Column("lease_until", Instant),
    _text("error"),
    Column("created_at", Instant, nullable=False),
    Index(None, "source", "state", "next_at"),
    Index(None, "message_id"),
)
