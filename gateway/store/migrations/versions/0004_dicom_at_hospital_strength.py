"""What DICOM at hospital strength asks of the store.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def _receipts() -> None:
    op.create_table(
        "receipts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("station", sa.Text(), server_default="", nullable=False),
        sa.Column("called_ae", sa.Text(), server_default="", nullable=False),
        sa.Column("address", sa.Text(), server_default="", nullable=False),
        sa.Column("implementation_uid", sa.Text(), server_default="", nullable=False),
        sa.Column("implementation_version", sa.Text(), server_default="", nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("ending", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("profile", sa.Text(), server_default="", nullable=False),
        sa.Column("keys_asked", sa.JSON(), nullable=False),
        sa.Column("query", sa.JSON(), nullable=True),
        sa.Column("matches", sa.Integer(), nullable=False),
        sa.Column("left_out", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_receipts")),
    )
    with op.batch_alter_table("receipts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_receipts_last_at"), ["last_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_receipts_station_last_at"), ["station", "last_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_receipts_station_sha256"), ["station", "sha256"], unique=False)


def _sightings() -> None:
    op.create_table(
        "sightings",
        sa.Column("order_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("station", sa.Text(), nullable=False),
        sa.Column("seen", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("missed", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("cause", sa.Text(), server_default="", nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("profile", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["missed"], ["receipts.id"], name=op.f("fk_sightings_missed")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_sightings_order_id")),
        sa.ForeignKeyConstraint(["seen"], ["receipts.id"], name=op.f("fk_sightings_seen")),
        sa.PrimaryKeyConstraint("order_id", "station", name=op.f("pk_sightings")),
    )
    with op.batch_alter_table("sightings", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_sightings_missed"), ["missed"], unique=False)
        batch_op.create_index(batch_op.f("ix_sightings_seen"), ["seen"], unique=False)


def _performed() -> None:
    op.create_table(
        "performed",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("sop_uid", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("calling_ae", sa.Text(), server_default="", nullable=False),
        sa.Column("station", sa.Text(), server_default="", nullable=False),
        sa.Column("modality", sa.Text(), server_default="", nullable=False),
        sa.Column("step_id", sa.Text(), server_default="", nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("patient_id", sa.Text(), server_default="", nullable=False),
        sa.Column("issuer", sa.Text(), server_default="", nullable=False),
        sa.Column("patient_name", sa.Text(), server_default="", nullable=False),
        sa.Column("birth_date", sa.Text(), server_default="", nullable=False),
        sa.Column("sex", sa.Text(), server_default="", nullable=False),
        sa.Column("begun", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended", sa.DateTime(timezone=True), nullable=True),
        sa.Column("dose", sa.JSON(), nullable=False),
        sa.Column("discontinued_because", sa.Text(), server_default="", nullable=False),
        sa.Column("doubt", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_performed")),
        sa.UniqueConstraint("sop_uid", name=op.f("uq_performed_sop_uid")),
    )
    with op.batch_alter_table("performed", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_performed_updated_at"), ["updated_at"], unique=False)


def _performed_letters() -> None:
    op.create_table(
        "performed_letters",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("performed_row", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("verb", sa.String(length=16), nullable=False),
        sa.Column("transfer_syntax", sa.Text(), server_default="", nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["performed_row"], ["performed.id"], name=op.f("fk_performed_letters_performed_row")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_performed_letters")),
    )
    with op.batch_alter_table("performed_letters", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_performed_letters_performed_row"), ["performed_row"], unique=False
        )


def _performed_steps() -> None:
    op.create_table(
        "performed_steps",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("performed_row", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("accession", sa.Text(), server_default="", nullable=False),
        sa.Column("step_id", sa.Text(), server_default="", nullable=False),
        sa.Column("procedure_id", sa.Text(), server_default="", nullable=False),
        sa.Column("order_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_performed_steps_order_id")),
        sa.ForeignKeyConstraint(
            ["performed_row"], ["performed.id"], name=op.f("fk_performed_steps_performed_row")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_performed_steps")),
    )
    with op.batch_alter_table("performed_steps", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_performed_steps_order_id"), ["order_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_performed_steps_performed_row"), ["performed_row"], unique=False)
        batch_op.create_index(batch_op.f("ix_performed_steps_study_uid"), ["study_uid"], unique=False)


def _performed_objects() -> None:
    op.create_table(
        "performed_objects",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("performed_row", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("sop_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_class", sa.String(length=64), nullable=False),
        sa.Column("series_uid", sa.String(length=64), nullable=False),
        sa.Column("is_image", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["performed_row"], ["performed.id"], name=op.f("fk_performed_objects_performed_row")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_performed_objects")),
    )
    with op.batch_alter_table("performed_objects", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_performed_objects_performed_row"), ["performed_row"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_performed_objects_sop_uid"), ["sop_uid"], unique=False)


def _commitments() -> None:
    op.create_table(
        "commitments",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("peer", sa.Text(), server_default="", nullable=False),
        sa.Column("address", sa.Text(), server_default="", nullable=False),
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("wanted", sa.JSON(), nullable=False),
        sa.Column("is_reused", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commitments")),
    )
    with op.batch_alter_table("commitments", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_commitments_state_next_at"), ["state", "next_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_commitments_transaction_uid"), ["transaction_uid"], unique=False)


def _set_aside() -> None:
    op.create_table(
        "set_aside",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("study_row", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("sop_uid", sa.String(length=64), nullable=False),
        sa.Column("calling_ae", sa.Text(), server_default="", nullable=False),
        sa.Column("path", sa.Text(), server_default="", nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["study_row"], ["studies.id"], name=op.f("fk_set_aside_study_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_set_aside")),
        sa.UniqueConstraint("sop_uid", "sha256", name=op.f("uq_set_aside_sop_uid_sha256")),
    )
    with op.batch_alter_table("set_aside", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_set_aside_study_row"), ["study_row"], unique=False)


def _numbers() -> None:
    """An order is looked up by its sender's accession number for every message."""
    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_orders_source_accession"), ["source", "accession"], unique=False)


def upgrade() -> None:
    """Columns, tables and indexes."""
    _receipts()
    _sightings()
    _performed()
    _performed_letters()
    _performed_steps()
    _performed_objects()
    _commitments()
    _set_aside()
    _numbers()
