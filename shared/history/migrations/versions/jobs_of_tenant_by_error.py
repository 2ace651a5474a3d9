"""Index the failed jobs of each tenant by their error code."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the index."""
    where = sa.text("error_code IS NOT NULL")
    op.create_index(
        "jobs_of_tenant_by_error",
        "jobs",
        ["tenant", "error_code", "id"],
        postgresql_where=where,
        sqlite_where=where,
    )


def downgrade() -> None:
    """Drop the index."""
    op.drop_index("jobs_of_tenant_by_error", "jobs")
