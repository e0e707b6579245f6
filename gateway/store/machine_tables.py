"""The tables of what machines ask and tell: receipts of queries, performed steps, commitments, odd objects."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
)

from gateway.store.columns import Instant, PlainText
from gateway.store.tables import metadata

_ID = BigInteger().with_variant(
    Integer, "sqlite"
)  # SQLite counts up only in a column that is exactly INTEGER


def _text(name: str) -> "Column[str]":
    return Column(name, PlainText, nullable=False, server_default="")


receipts = Table(
    "receipts",
    metadata,
    Column("id", _ID, primary_key=True),
    _text("station"),  # the calling AE title
    _text("called_ae"),
    _text("address"),
    _text("implementation_uid"),
    _text("implementation_version"),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
    Column("times", Integer, nullable=False),  # how often it asked the same and got the same
    Column("ending", String(16), nullable=False),
    _text("reason"),
    _text("profile"),
    Column("keys_asked", JSON, nullable=False),
    Column("query", JSON),
    Column("matches", Integer, nullable=False),
    Column("left_out", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),  # of all that makes two answers the same
    Index(None, "station", "sha256"),
    Index(None, "station", "last_at"),
    Index(None, "last_at"),
)

sightings = Table(
    "sightings",
    metadata,
    Column("order_id", _ID, ForeignKey("orders.id"), primary_key=True),
    Column("station", PlainText, primary_key=True),
    Column("seen", _ID, ForeignKey("receipts.id")),  # the newest answer that the order was in
    Column("missed", _ID, ForeignKey("receipts.id")),  # the newest answer that it was kept out of
    _text("cause"),
    _text("detail"),
    _text("profile"),
    Index(None, "seen"),
    Index(None, "missed"),
)

performed = Table(
    "performed",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("sop_uid", String(64), nullable=False, unique=True),
    Column("state", String(16), nullable=False),
    _text("calling_ae"),
    _text("station"),
    _text("modality"),
    _text("step_id"),
    _text("description"),
    _text("patient_id"),
    _text("issuer"),
    _text("patient_name"),
    _text("birth_date"),
    _text("sex"),
    Column("begun", Instant),
    Column("ended", Instant),
    Column("dose", JSON, nullable=False),
    _text("discontinued_because"),
    _text("doubt"),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Index(None, "updated_at"),
)

performed_letters = Table(
    "performed_letters",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("performed_row", _ID, ForeignKey("performed.id"), nullable=False),
    Column("at", Instant, nullable=False),
    Column("verb", String(16), nullable=False),
    _text("transfer_syntax"),
    Column("content", LargeBinary, nullable=False),
    Index(None, "performed_row"),
)

performed_steps = Table(
    "performed_steps",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("performed_row", _ID, ForeignKey("performed.id"), nullable=False),
    Column("study_uid", String(64), nullable=False),
    _text("accession"),
    _text("step_id"),
    _text("procedure_id"),
    Column("order_id", _ID, ForeignKey("orders.id")),
    Index(None, "performed_row"),
    Index(None, "study_uid"),
    Index(None, "order_id"),
)

performed_objects = Table(
    "performed_objects",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("performed_row", _ID, ForeignKey("performed.id"), nullable=False),
    Column("sop_uid", String(64), nullable=False),
    Column("sop_class", String(64), nullable=False),
    Column("series_uid", String(64), nullable=False),
    Column("is_image", Integer, nullable=False),
    Index(None, "performed_row"),
    Index(None, "sop_uid"),
)

commitments = Table(
    "commitments",
    metadata,
    Column("id", _ID, primary_key=True),
    _text("peer"),
    _text("address"),
    Column("transaction_uid", String(64), nullable=False),
    Column("wanted", JSON, nullable=False),  # [[SOP class, SOP instance], ...]
    Column("is_reused", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Instant, nullable=False),
    Column("lease_until", Instant),
    _text("error"),
    Column("created_at", Instant, nullable=False),
    Column("told_at", Instant),
    Index(None, "state", "next_at"),
    Index(None, "transaction_uid"),
)

set_aside = Table(
    "set_aside",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("study_row", _ID, ForeignKey("studies.id"), nullable=False),
    Column("sop_uid", String(64), nullable=False),
    _text("calling_ae"),
    _text("path"),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("at", Instant, nullable=False),
    UniqueConstraint("sop_uid", "sha256"),
    Index(None, "study_row"),
)
