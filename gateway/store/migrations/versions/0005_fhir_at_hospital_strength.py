"""What FHIR at hospital strength asks of the store.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def _written() -> None:
    op.create_table(
        "written",
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("resource_id", sa.Text(), server_default="", nullable=False),
        sa.Column("version", sa.Text(), server_default="", nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("destination", "address", name=op.f("pk_written")),
    )


def _facts() -> None:
    for table, column in (("studies", "facts"), ("series", "facts"), ("measurements", "circumstances")):
        op.add_column(table, sa.Column(column, sa.JSON()))
    op.add_column("instances", sa.Column("title", sa.Text(), server_default="", nullable=False))
    op.add_column("orders", sa.Column("encounter", sa.Text(), server_default="", nullable=False))


def _resources() -> None:
    op.create_table(
        "resources",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("resource_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), server_default="", nullable=False),
        sa.Column("last_updated", sa.DateTime(timezone=True), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("is_deleted", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("source", "type", "resource_id", name=op.f("pk_resources")),
    )
    op.create_index(op.f("ix_resources_source_type_at"), "resources", ["source", "type", "at"])
    op.create_table(
        "resource_identifiers",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("resource_id", sa.Text(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(
            "source", "type", "resource_id", "system", "value", name=op.f("pk_resource_identifiers")
        ),
    )
    op.create_index(
        op.f("ix_resource_identifiers_source_type_value"),
        "resource_identifiers",
        ["source", "type", "value"],
    )


def _errands() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "errands",
        sa.Column("id", number, nullable=False),
        sa.Column("source", sa.Text(), server_default="", nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("target", sa.Text(), server_default="", nullable=False),
        sa.Column("message_id", number, nullable=True),
        sa.Column("field", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name=op.f("fk_errands_message_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_errands")),
    )
    op.create_index(op.f("ix_errands_message_id"), "errands", ["message_id"])
    op.create_index(op.f("ix_errands_source_state_next_at"), "errands", ["source", "state", "next_at"])


def _followed() -> None:
    op.create_table(
        "followed",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("cursor", sa.DateTime(timezone=True), nullable=True),
        sa.Column("polled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("poll_error", sa.Text(), server_default="", nullable=False),
        sa.Column("event_number", sa.BigInteger(), nullable=True),
        sa.Column("heard_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_followed")),
    )


def _requests() -> None:
    op.add_column("messages", sa.Column("request", sa.Text(), server_default="", nullable=False))


def _waiting() -> None:
    is_waiting = sa.text("state = 'received'")
    op.create_index(
        "ix_messages_waiting", "messages", ["source"], sqlite_where=is_waiting, postgresql_where=is_waiting
    )


def upgrade() -> None:
    """Columns, tables and indexes."""
    _waiting()
    _requests()
    _followed()
    _facts()
    _written()
    _resources()
    _errands()
