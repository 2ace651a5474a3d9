"""Create the first tables: jobs with their tags, batches, deliveries."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

BYTEWISE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _where(condition: str) -> dict[str, Any]:
    return {"postgresql_where": sa.text(condition), "sqlite_where": sa.text(condition)}


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "archiver",
        sa.Column("one", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("one"),
    )
    op.create_table(
        "batches",
        sa.Column("id", BYTEWISE, nullable=False),
        sa.Column("tenant", BYTEWISE, nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("batches_by_tenant", "batches", ["tenant", "id"])
    op.create_table(
        "deliveries",
        sa.Column("id", BYTEWISE, nullable=False),
        sa.Column("subject", BYTEWISE, nullable=False, comment="its job or batch"),
        sa.Column("tenant", BYTEWISE, nullable=False),
        sa.Column("host", BYTEWISE, nullable=False),
        sa.Column("state", BYTEWISE, nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("finished", sa.BigInteger(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False, comment="its endpoint, without the query"),
        sa.Column("record", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("deliveries_by_subject", "deliveries", ["subject", "id"])
    op.create_index("deliveries_by_tenant", "deliveries", ["tenant", "created", "id"])
    op.create_index("deliveries_by_time", "deliveries", ["created", "id"])
    op.create_index(
        "deliveries_failed",
        "deliveries",
        ["tenant", "finished", "id"],
        **_where("state = 'failed'"),
    )
    op.create_index(
        "deliveries_of_all_failed", "deliveries", ["finished", "id"], **_where("state = 'failed'")
    )
    op.create_table(
        "job_tags",
        sa.Column("tag", BYTEWISE, nullable=False),
        sa.Column("tenant", BYTEWISE, nullable=False),
        sa.Column("job", BYTEWISE, nullable=False),
        sa.PrimaryKeyConstraint("tag", "tenant", "job"),
    )
    op.create_index("job_tags_by_job", "job_tags", ["job"])
    op.create_table(
        "jobs",
        sa.Column("id", BYTEWISE, nullable=False),
        sa.Column("tenant", BYTEWISE, nullable=False),
        sa.Column("status", BYTEWISE, nullable=False),
        sa.Column("model", BYTEWISE, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("finished", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), comment="when it is deleted; null: never"),
        sa.Column("image_expires", sa.BigInteger(), comment="when its image is deleted before it"),
        sa.Column("image_deleted", sa.BigInteger(), comment="when its image was deleted"),
        sa.Column("object", sa.Text(), comment="the object key of its image, while there is one"),
        sa.Column("batch", BYTEWISE),
        sa.Column("error_code", BYTEWISE),
        sa.Column(
            "request_hash", BYTEWISE, comment="of model and input, if its image may be reused"
        ),
        sa.Column("record", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("jobs_by_batch", "jobs", ["batch", "id"], **_where("batch IS NOT NULL"))
    op.create_index(
        "jobs_by_error", "jobs", ["error_code", "id"], **_where("error_code IS NOT NULL")
    )
    op.create_index("jobs_by_expiry", "jobs", ["expires"], **_where("expires IS NOT NULL"))
    op.create_index(
        "jobs_by_image_expiry", "jobs", ["image_expires"], **_where("image_expires IS NOT NULL")
    )
    op.create_index(
        "jobs_by_request",
        "jobs",
        ["tenant", "request_hash", "id"],
        **_where("request_hash IS NOT NULL"),
    )
    op.create_index(
        "jobs_by_status", "jobs", ["tenant", "status", "id"], **_where("status <> 'succeeded'")
    )
    op.create_index("jobs_by_tenant", "jobs", ["tenant", "id"])
    op.create_index(
        "jobs_of_all_by_status", "jobs", ["status", "id"], **_where("status <> 'succeeded'")
    )


def downgrade() -> None:
    """Drop the tables, with everything in them."""
    op.drop_table("jobs")
    op.drop_table("job_tags")
    op.drop_table("deliveries")
    op.drop_table("batches")
    op.drop_table("archiver")
