"""Create the table of the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

BYTEWISE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "audit",
        sa.Column("at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "number",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="counts entries of the same millisecond",
        ),
        sa.Column("by", BYTEWISE, nullable=False, comment="the API key, or `cli:<user>`"),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("action", BYTEWISE, nullable=False),
        sa.Column("target", BYTEWISE, nullable=False),
        sa.Column("detail", sa.Text(), nullable=False, comment="what changed, as JSON"),
        sa.PrimaryKeyConstraint("at", "number"),
    )
    op.create_index("audit_by_action", "audit", ["action", "at", "number"])
    op.create_index("audit_by_target", "audit", ["target", "at", "number"])
    op.create_index("audit_by_author", "audit", ["by", "at", "number"])


def downgrade() -> None:
    """Drop the table, with every entry that has left Redis."""
    op.drop_table("audit")
