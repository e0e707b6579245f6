"""Which appointment an order has its time from.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Orders of before have theirs from nobody in particular."""
    op.add_column("orders", sa.Column("appointment", sa.Text(), server_default="", nullable=False))
