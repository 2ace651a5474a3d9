"""Add the model that served each job, and fill it in."""

import orjson
import sqlalchemy as sa
from alembic import op

from shared.store.codec import job_of

revision = "0005"
down_revision = "0004"

BYTEWISE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
#: Jobs that are read and written at once.
CHUNK = 500

jobs = sa.table("jobs", sa.column("id"), sa.column("record"), sa.column("served_model"))


def upgrade() -> None:
    """Add the column, and fill it from the records."""
    op.add_column(
        "jobs",
        sa.Column("served_model", BYTEWISE, comment="the model that served it, if one did"),
    )
    written = (
        sa.update(jobs)
        .where(jobs.c.id == sa.bindparam("job"))
        .values(served_model=sa.bindparam("model"))
    )
    last = ""
    while True:
        wanted = sa.select(jobs.c.id, jobs.c.record).where(jobs.c.id > last)
        chunk = op.get_bind().execute(wanted.order_by(jobs.c.id).limit(CHUNK)).all()
        if not chunk:
            return
        served = ((one.id, job_of(one.id, orjson.loads(one.record)).served_model) for one in chunk)
        op.get_bind().execute(written, [{"job": job, "model": model} for job, model in served])
        last = chunk[-1].id


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("jobs", "served_model")
