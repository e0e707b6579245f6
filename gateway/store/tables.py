"""The tables. Texts are never NULL: empty means "not known"; instants are aware UTC."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

from gateway.store.columns import Instant, PlainText, SortedText

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts up only in a column that is exactly INTEGER.
_ID = BigInteger().with_variant(Integer, "sqlite")


def _text(name: str) -> "Column[str]":
    return Column(name, PlainText, nullable=False, server_default="")


messages = Table(
    "messages",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("protocol", String(16), nullable=False),
    _text("source"),
    _text("peer"),
    Column("received_at", Instant, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    _text("request"),
    Column("sha256", String(64), nullable=False),
    _text("control_id"),
    _text("sender"),
    _text("message_type"),
    _text("version"),
    _text("sent_at"),
    Column("state", String(16), nullable=False),
    _text("reason"),
    Column("answer", LargeBinary, nullable=False),
    _text("module"),
    _text("accession"),
    _text("patient_id"),
    _text("placer"),
    _text("filler"),
    Column("name_key", SortedText, nullable=False, server_default=""),
    _text("warnings"),  # one a line
    Column("edited_from", _ID),
    Index(None, "control_id", "sender", "source"),
    Index(None, "received_at"),
    Index(None, "state", "received_at"),
    Index(None, "source", "received_at"),
    Index(None, "sender", "received_at"),
    Index(None, "message_type", "received_at"),
    Index(None, "name_key"),
    Index(None, "accession"),
    Index(None, "patient_id"),
    Index(None, "placer"),
    Index(None, "filler"),
)

Index(
    None,
    messages.c.edited_from,
    sqlite_where=messages.c.edited_from.is_not(None),
    postgresql_where=messages.c.edited_from.is_not(None),
)
# Those that wait are few; found by their source alone, every FHIR order would read the whole history of its sender.
Index(
    "ix_messages_waiting",
    messages.c.source,
    sqlite_where=messages.c.state == "received",
    postgresql_where=messages.c.state == "received",
)

# What the further orders of a message are found by; those of the first one stand in its own row.
message_terms = Table(
    "message_terms",
    metadata,
    Column("term", SortedText, primary_key=True),
    Column("message_id", _ID, ForeignKey("messages.id"), primary_key=True),
    Index(None, "message_id"),
)

patients = Table(
    "patients",
    metadata,
    Column("id", _ID, primary_key=True),
    _text("patient_id"),
    _text("issuer"),
    _text("name"),
    _text("birth_date"),
    _text("sex"),
    Column("merged_into", _ID),  # the patient this one was merged into, NULL while it stands for itself
    Column("told_at", Instant),  # when the newest message about this patient was sent, by its sender's clock
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Index(None, "name"),
)
# Patients without an identifier are nobody we could recognise again: each has a row of its own.
Index(
    "uq_patients_identity",
    patients.c.patient_id,
    patients.c.issuer,
    unique=True,
    sqlite_where=patients.c.patient_id != "",
    postgresql_where=patients.c.patient_id != "",
)

orders = Table(
    "orders",
    metadata,
    Column("id", _ID, primary_key=True),
    _text("source"),
    Column("patient_row", _ID, ForeignKey("patients.id"), nullable=False),
    _text("accession"),
    _text("placer"),
    _text("filler"),
    _text("procedure_id"),
    _text("step_id"),
    Column("study_uid", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    _text("modality"),
    _text("station"),
    Column("start", Instant),
    _text("start_date"),  # YYYYMMDD in the site's zone: what a machine's date key is compared with
    _text("start_time"),  # HHMMSS, empty when only the day is known
    _text("description"),
    _text("priority"),
    _text("referring"),
    Column("attributes", JSON, nullable=False),
    Column("faults", JSON, nullable=False),
    Column("provenance", JSON, nullable=False),
    _text("service_request"),
    _text("subject"),
    _text("encounter"),
    _text("appointment"),
    _text("module"),
    _text("module_version"),
    Column("message_id", _ID, ForeignKey("messages.id"), nullable=False),
    Column("arrived_at", Instant),
    Column("sent_at", Instant),
    _text("sent_by"),
    Column("told_at", Instant),  # when the newest message that changed it was sent, by its sender's clock
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("version", Integer, nullable=False),
    Index(None, "state", "start_date", "start_time"),
    Index(None, "start_date"),
    Index(None, "accession"),
    Index(None, "study_uid"),
    Index(None, "patient_row"),
    Index(None, "source", "filler"),
    Index(None, "source", "placer"),
    Index(None, "source", "accession"),
    Index(None, "source", "service_request"),
    Index(None, "message_id"),
)

studies = Table(
    "studies",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("study_uid", String(64), nullable=False, unique=True),
    Column("order_id", _ID, ForeignKey("orders.id")),
    Column("state", String(16), nullable=False),
    _text("accession"),
    _text("patient_id"),
    _text("issuer"),
    _text("patient_name"),
    _text("birth_date"),
    _text("sex"),
    _text("study_id"),
    Column("started", Instant),
    _text("study_date"),
    _text("description"),
    _text("calling_ae"),
    _text("doubt"),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
    Column("completed_at", Instant),
    Column("facts", JSON),
    Index(None, "order_id"),
    Index(None, "state", "last_at"),
    Index(None, "accession"),
    Index(None, "patient_id"),
    Index(None, "last_at"),
    Index(None, "study_date"),
)

merges = Table(
    "merges",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("message_id", _ID, ForeignKey("messages.id"), nullable=False),
    Column("prior_row", _ID, ForeignKey("patients.id"), nullable=False),
    Column("survivor_row", _ID, ForeignKey("patients.id"), nullable=False),
    Column("freed_from", _ID),  # what the survivor was merged into until then: a merge turned round
    Column("moved", JSON, nullable=False),
    Column("undone_at", Instant),
    _text("undone_by"),
    Index(None, "prior_row"),
    Index(None, "survivor_row"),
)

series = Table(
    "series",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("study_row", _ID, ForeignKey("studies.id"), nullable=False),
    Column("series_uid", String(64), nullable=False),
    _text("modality"),
    _text("number"),
    _text("description"),
    Column("facts", JSON),
    UniqueConstraint("study_row", "series_uid"),
)

instances = Table(
    "instances",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("series_row", _ID, ForeignKey("series.id"), nullable=False),
    Column("sop_uid", String(64), nullable=False, unique=True),
    Column("sop_class", String(64), nullable=False),
    Column("transfer_syntax", String(64), nullable=False),
    _text("number"),
    Column("frames", Integer, nullable=False),
    _text("path"),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("picture", String(16), nullable=False),
    _text("thumbnail"),
    Column("received_at", Instant, nullable=False),
    _text("title"),
    Index(None, "series_row"),
    Index(None, "picture"),
)

measurements = Table(
    "measurements",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("instance_row", _ID, ForeignKey("instances.id"), nullable=False),
    _text("name_value"),
    _text("name_scheme"),
    _text("name_meaning"),
    _text("value"),
    _text("unit_value"),
    _text("unit_scheme"),
    _text("unit_meaning"),
    Column("has_unit", Integer, nullable=False),
    Column("context", JSON, nullable=False),
    _text("path"),
    Column("circumstances", JSON),
    Index(None, "instance_row"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", _ID, primary_key=True),
    _text("destination"),
    _text("kind"),
    _text("key"),
    Column("order_id", _ID, ForeignKey("orders.id")),
    Column("payload", LargeBinary, nullable=False),
    Column("in_turn", Integer, nullable=False, server_default="0"),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Instant, nullable=False),
    Column("lease_until", Instant),
    _text("error"),
    Column("created_at", Instant, nullable=False),
    Column("delivered_at", Instant),
    Index(None, "state", "next_at"),
    Index(None, "destination", "key", "kind"),
    Index(None, "order_id"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("at", Instant, nullable=False),
    _text("actor"),
    _text("action"),
    _text("subject"),
    _text("detail"),
    Index(None, "subject"),
    Index(None, "at"),
)

unmapped_codes = Table(
    "unmapped_codes",
    metadata,
    Column("id", _ID, primary_key=True),
    _text("source"),
    _text("table_name"),
    _text("code"),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
    Column("times", Integer, nullable=False),
    UniqueConstraint("source", "table_name", "code"),
)

changes = Table(
    "changes",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("at", Instant, nullable=False),
    _text("topic"),  # "order", "study", "message", "delivery", "station"
    Column("ref", _ID, nullable=False),
    sqlite_autoincrement=True,  # ids never come back, so a page can ask for what came after one
)

users = Table(
    "users",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    _text("password_hash"),
    Column("created_at", Instant, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_sha256", String(64), primary_key=True),
    Column("user_id", _ID, ForeignKey("users.id"), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Index(None, "user_id"),
)

secrets = Table(
    "secrets",
    metadata,
    Column("name", String(64), primary_key=True),  # "setup": the one-time secret of the first start
    Column("sha256", String(64), nullable=False),
    Column("created_at", Instant, nullable=False),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("scope", String(16), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("created_at", Instant, nullable=False),
    Column("used_at", Instant),  # to the minute; NULL: never yet
    sqlite_autoincrement=True,  # a number in the audit trail means one token for ever
)

failures = Table(
    "failures",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("key", String(128), nullable=False),  # "login:<name digest>", "login-from:<address>"
    Column("at", Instant, nullable=False),
    Index(None, "key", "at"),
)
