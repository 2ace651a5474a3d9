"""Replace the table of tags by one of all terms, and fill it from the jobs."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson
import sqlalchemy as sa
from alembic import op

from shared.history.terms import terms_of_record

revision = "0003"
down_revision = "0002"

BYTEWISE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
#: Jobs that are read at once.
CHUNK = 500

jobs = sa.table("jobs", sa.column("id"), sa.column("tenant"), sa.column("record"))
job_terms = sa.table("job_terms", sa.column("term"), sa.column("tenant"), sa.column("job"))
job_tags = sa.table("job_tags", sa.column("tag"), sa.column("tenant"), sa.column("job"))


def upgrade() -> None:
    """Create the table of terms, fill it, and drop that of tags."""
    _create("job_terms", "term", sqlite_with_rowid=False)
    _fill(job_terms, "term", terms_of_record)
    op.drop_table("job_tags")


def downgrade() -> None:
    """Create the table of tags, fill it, and drop that of terms."""
    _create("job_tags", "tag")
    _fill(job_tags, "tag", _tags)
    op.create_index("job_tags_by_job", "job_tags", ["job"])
    op.drop_table("job_terms")


def _create(table: str, column: str, **options: bool) -> None:
    op.create_table(
        table,
        *(sa.Column(name, BYTEWISE, nullable=False) for name in (column, "tenant", "job")),
        sa.PrimaryKeyConstraint(column, "tenant", "job"),
        **options,
    )


def _tags(record: dict[str, str]) -> Iterable[str]:
    return dict.fromkeys(filter(None, record.get("tags", "").split("\n")))


def _fill(
    table: sa.TableClause, column: str, values: Callable[[dict[str, str]], Iterable[str]]
) -> None:
    """Write a row for each value of each job."""
    for chunk in _chunks():
        rows = [
            {column: value, "tenant": row["tenant"], "job": row["id"]}
            for row in chunk
            for value in values(orjson.loads(row["record"]))
        ]
        if rows:
            op.get_bind().execute(sa.insert(table), rows)


def _chunks() -> Iterator[list[Any]]:
    """Read all jobs, a chunk at a time, by their ids."""
    last = ""
    while True:
        wanted = sa.select(jobs).where(jobs.c.id > last).order_by(jobs.c.id).limit(CHUNK)
        chunk = list(op.get_bind().execute(wanted).mappings())
        if not chunk:
            return
        yield chunk
        last = chunk[-1]["id"]
