"""The tables of the history. Times are milliseconds since 1970 by Redis' clock.

`record` is the hash of Redis as JSON; the other columns repeat what queries need. Ids sort by time
of creation, byte by byte, as in Redis.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    text,
)

metadata = MetaData()
#: The revision of these tables: the last one of `migrations/versions`.
REVISION = "0006"
#: Where Alembic stores the revision of the database.
alembic_version = Table("alembic_version", MetaData(), Column("version_num", Text))

#: Text that PostgreSQL compares byte by byte, as SQLite does.
Bytewise = Text().with_variant(Text(collation="C"), "postgresql")


def _partial(name: str, *columns: str | ColumnElement[object], where: str) -> Index:
    """Return an index of the rows for which `where` holds."""
    return Index(name, *columns, postgresql_where=text(where), sqlite_where=text(where))


#: Nearly all jobs succeed: an index of their status is of use for the others only. A query names
#: this condition itself, because SQLite does not derive it from the status.
UNSUCCESSFUL = "status <> 'succeeded'"

jobs = Table(
    "jobs",
    metadata,
    Column("id", Bytewise, primary_key=True),
    Column("tenant", Bytewise, nullable=False),
    Column("status", Bytewise, nullable=False),
    Column("model", Bytewise, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("finished", BigInteger, nullable=False),
    Column("expires", BigInteger, comment="when it is deleted; null: never"),
    Column("image_expires", BigInteger, comment="when its image is deleted before it"),
    Column("image_deleted", BigInteger, comment="when its image was deleted"),
    Column("object", Text, comment="the object key of its image, while there is one"),
    Column("batch", Bytewise),
    Column("error_code", Bytewise),
    Column("request_hash", Bytewise, comment="of model and input, if its image may be reused"),
    Column("record", Text, nullable=False),
    Column("served_model", Bytewise, comment="the model that served it, if one did"),
    Index("jobs_by_tenant", "tenant", "id"),
    _partial("jobs_by_status", "tenant", "status", "id", where=UNSUCCESSFUL),
    _partial("jobs_of_all_by_status", "status", "id", where=UNSUCCESSFUL),
    _partial("jobs_by_batch", "batch", "id", where="batch IS NOT NULL"),
    _partial("jobs_by_error", "error_code", "id", where="error_code IS NOT NULL"),
    _partial(
        "jobs_of_tenant_by_error", "tenant", "error_code", "id", where="error_code IS NOT NULL"
    ),
    _partial("jobs_by_request", "tenant", "request_hash", "id", where="request_hash IS NOT NULL"),
    _partial("jobs_by_expiry", "expires", where="expires IS NOT NULL"),
    _partial("jobs_by_image_expiry", "image_expires", where="image_expires IS NOT NULL"),
)

#: What each job is found by exactly: see `shared.history.terms`. A job's own rows are found by the
#: terms of its record, so they need no index by job.
job_terms = Table(
    "job_terms",
    metadata,
    Column("term", Bytewise, primary_key=True),
    Column("tenant", Bytewise, primary_key=True),
    Column("job", Bytewise, primary_key=True),
    sqlite_with_rowid=False,
)

batches = Table(
    "batches",
    metadata,
    Column("id", Bytewise, primary_key=True),
    Column("tenant", Bytewise, nullable=False),
    Column("record", Text, nullable=False),
    Index("batches_by_tenant", "tenant", "id"),
)

FAILED = "state = 'failed'"

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Bytewise, primary_key=True),
    Column("subject", Bytewise, nullable=False, comment="its job or batch"),
    Column("tenant", Bytewise, nullable=False),
    Column("host", Bytewise, nullable=False),
    Column("state", Bytewise, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("finished", BigInteger, nullable=False),
    Column("url", Text, nullable=False, comment="its endpoint, without the query"),
    Column("record", Text, nullable=False),
    Index("deliveries_by_subject", "subject", "id"),
    Index("deliveries_by_tenant", "tenant", "created", "id"),
    Index("deliveries_by_time", "created", "id"),
    _partial("deliveries_failed", "tenant", "finished", "id", where=FAILED),
    _partial("deliveries_of_all_failed", "finished", "id", where=FAILED),
)

#: The sums of usage, in the order of `shared.store.run_counts.Sums`.
USAGE_SUMS = ("jobs", "calls", "credits")

#: Counts of ended runs of a tenant and a day (since 1970, UTC): see `shared.store.run_counts`.
usage = Table(
    "usage",
    metadata,
    Column("tenant", Bytewise, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("status", Bytewise, primary_key=True),
    Column("model", Bytewise, primary_key=True),
    Column("key", Bytewise, primary_key=True, comment="the id of the API key; '' if not known"),
    Column("tags", Bytewise, primary_key=True, comment="sorted, one a line"),
    Column("jobs", BigInteger, nullable=False),
    Column("calls", BigInteger, nullable=False),
    Column("credits", BigInteger, nullable=False, comment="in millionths, as estimated"),
    Index("usage_by_day", "day"),
)

#: Writes of operators: see `shared.store.audit`.
audit = Table(
    "audit",
    metadata,
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column(
        "number",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="counts entries of the same millisecond",
    ),
    Column("by", Bytewise, nullable=False, comment="the API key, or `cli:<user>`"),
    Column("request", Text, nullable=False),
    Column("action", Bytewise, nullable=False),
    Column("target", Bytewise, nullable=False),
    Column("detail", Text, nullable=False, comment="what changed, as JSON"),
    Index("audit_by_action", "action", "at", "number"),
    Index("audit_by_target", "target", "at", "number"),
    Index("audit_by_author", "by", "at", "number"),
)

#: One row: how often a process became the archiver. A write of an earlier one is refused.
archiver = Table(
    "archiver",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("term", BigInteger, nullable=False),
)
