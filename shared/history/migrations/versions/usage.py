"""Create the table of usage by day."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

BYTEWISE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "usage",
        sa.Column("tenant", BYTEWISE, nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("status", BYTEWISE, nullable=False),
        sa.Column("model", BYTEWISE, nullable=False),
        sa.Column(
            "key", BYTEWISE, nullable=False, comment="the id of the API key; '' if not known"
        ),
        sa.Column("tags", BYTEWISE, nullable=False, comment="sorted, one a line"),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column(
            "credits", sa.BigInteger(), nullable=False, comment="in millionths, as estimated"
        ),
        sa.PrimaryKeyConstraint("tenant", "day", "status", "model", "key", "tags"),
    )
    op.create_index("usage_by_day", "usage", ["day"])


def downgrade() -> None:
    """Drop the table; the last 100 days remain in Redis."""
    op.drop_table("usage")
