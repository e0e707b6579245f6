"""The numbers of notifications are kept for each subscription, not for each source.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Counting begins anew; what was missed before is found by the poll with which the gateway starts."""
    op.create_table(
        "heard",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("subscription", sa.Text(), nullable=False),
        sa.Column("event_number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "subscription", name=op.f("pk_heard")),
    )
    with op.batch_alter_table("followed", schema=None) as batch_op:
        batch_op.drop_column("event_number")
