"""What HL7 at hospital strength asks of the store.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Columns, tables and indexes."""
    _searched_messages()
    _deliveries_in_turn()
    _merged_patients()
    _unmapped_codes()


def _searched_messages() -> None:
    identifier = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    ordered = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.add_column("messages", sa.Column("name_key", ordered, server_default="", nullable=False))
    op.add_column("messages", sa.Column("warnings", sa.Text(), server_default="", nullable=False))
    op.add_column("messages", sa.Column("edited_from", identifier))
    op.drop_index("ix_messages_source_sender_control_id", "messages")
    op.create_index("ix_messages_control_id_sender_source", "messages", ["control_id", "sender", "source"])
    for first in ("source", "sender", "message_type"):
        op.create_index(f"ix_messages_{first}_received_at", "messages", [first, "received_at"])
    op.create_index("ix_messages_name_key", "messages", ["name_key"])
    is_edited = sa.text("edited_from IS NOT NULL")
    op.create_index(
        "ix_messages_edited_from",
        "messages",
        ["edited_from"],
        sqlite_where=is_edited,
        postgresql_where=is_edited,
    )
    op.create_table(
        "message_terms",
        sa.Column("term", ordered, nullable=False),
        sa.Column("message_id", identifier, nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_message_terms_message_id_messages")
        ),
        sa.PrimaryKeyConstraint("term", "message_id", name=op.f("pk_message_terms")),
    )
    op.create_index("ix_message_terms_message_id", "message_terms", ["message_id"])


def _deliveries_in_turn() -> None:
    op.add_column("deliveries", sa.Column("in_turn", sa.Integer(), server_default="0", nullable=False))
    op.drop_index("ix_deliveries_destination_kind_key", "deliveries")
    op.create_index("ix_deliveries_destination_key_kind", "deliveries", ["destination", "key", "kind"])


def _merged_patients() -> None:
    identifier = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    instant = sa.DateTime(timezone=True)
    op.add_column("patients", sa.Column("merged_into", identifier))
    op.add_column("patients", sa.Column("told_at", instant))
    op.add_column("orders", sa.Column("told_at", instant))
    op.create_index("ix_studies_patient_id", "studies", ["patient_id"])
    op.create_table(
        "merges",
        sa.Column("id", identifier, nullable=False),
        sa.Column("at", instant, nullable=False),
        sa.Column("message_id", identifier, nullable=False),
        sa.Column("prior_row", identifier, nullable=False),
        sa.Column("survivor_row", identifier, nullable=False),
        sa.Column("freed_from", identifier),
        sa.Column("moved", sa.JSON(), nullable=False),
        sa.Column("undone_at", instant),
        sa.Column("undone_by", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name=op.f("fk_merges_message_id")),
        sa.ForeignKeyConstraint(["prior_row"], ["patients.id"], name=op.f("fk_merges_prior_row")),
        sa.ForeignKeyConstraint(["survivor_row"], ["patients.id"], name=op.f("fk_merges_survivor_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_merges")),
    )
    op.create_index("ix_merges_prior_row", "merges", ["prior_row"])
    op.create_index("ix_merges_survivor_row", "merges", ["survivor_row"])


def _unmapped_codes() -> None:
    op.create_table(
        "unmapped_codes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("source", sa.Text(), server_default="", nullable=False),
        sa.Column("table_name", sa.Text(), server_default="", nullable=False),
        sa.Column("code", sa.Text(), server_default="", nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unmapped_codes")),
        sa.UniqueConstraint(
            "source", "table_name", "code", name=op.f("uq_unmapped_codes_source_table_name_code")
        ),
    )
