"""What the archiver writes: jobs that leave Redis, and what is deleted."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import (
    Connection,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    exists,
    func,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from shared.history.database import Database
from shared.history.prompts import archivable, archivable_batch
from shared.history.records import (
    audit_row,
    batch_row,
    delivery_rows,
    job_row,
    next_version,
    term_rows,
    usage_row,
)
from shared.history.tables import (
    USAGE_SUMS,
    archiver,
    audit,
    batches,
    deliveries,
    job_terms,
    jobs,
    usage,
)
from shared.store.archive import StoredRecord, TenantDeletion
from shared.store.audit import Entry
from shared.store.run_counts import Kind, Sums, day_at


class NotTheArchiver(Exception):
    """Another process became the archiver: what this one wanted to write may be outdated."""


@dataclass(frozen=True, slots=True)
class ExpiredImage:
    """An archived job whose image is past its retention."""

    job_id: str
    object_key: str


class HistoryWriter:
    """The one process that writes the history, for as long as no other became it.

    Each write checks that, in its own transaction: a process that slept too long changes nothing.
    """

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._database = database
        self._term: int | None = None

    def check(self) -> None:
        """Check that the database responds. Raise HistoryDown."""
        with self._database.reading() as connection:
            connection.execute(select(archiver.c.term))

    def begin(self) -> None:
        """Become the archiver, and end the term of the previous one. Raise HistoryDown."""
        # incremented by the database itself: two processes that begin at once get different terms
        begin = (
            self._insert(archiver)
            .values(one=1, term=1)
            .on_conflict_do_update(index_elements=["one"], set_={"term": archiver.c.term + 1})
            .returning(archiver.c.term)
        )
        with self._database.writing() as connection:
            term = connection.execute(begin).scalar_one()
        self._term = term

    @property
    def has_begun(self) -> bool:
        """Whether this process became the archiver and met no other since."""
        return self._term is not None

    def write(self, found: Sequence[StoredRecord], found_batches: Sequence[StoredRecord]) -> None:
        """Write jobs and batches with their deliveries. Raise HistoryDown, NotTheArchiver."""
        withheld = [job.id for job in found if job.withholds_prompt]
        found = [*map(archivable, found)]
        found_batches = [*map(archivable_batch, found_batches)]
        subjects = (*found, *found_batches)
        with self._database.writing() as connection:
            self._check(connection)
            # of jobs that were archived before with their prompts
            _delete_terms(connection, withheld)
            self._upsert(connection, jobs, [*map(job_row, found)])
            self._upsert(connection, batches, [batch_row(one) for one in found_batches])
            terms = [row for job in found for row in term_rows(job.id, job.record)]
            self._insert_terms(connection, terms)
            sent = [row for subject in subjects for row in delivery_rows(subject)]
            self._upsert(connection, deliveries, sent)

    def update_batches(self, found: Sequence[StoredRecord]) -> None:
        """Write those batches that the history has, with their deliveries. Raise as `write`."""
        with self._database.writing() as connection:
            self._check(connection)
            known = select(batches.c.id).where(batches.c.id.in_([one.id for one in found]))
            present = {*connection.execute(known).scalars()}
            kept = [archivable_batch(one) for one in found if one.id in present]
            self._upsert(connection, batches, [batch_row(one) for one in kept])
            sent = [row for one in kept for row in delivery_rows(one)]
            self._upsert(connection, deliveries, sent)

    def write_usage(self, counts: Sequence[tuple[Kind, Sums]]) -> None:
        """Write whole days of run counts. Raise as `write`.

        Counts only grow. What was written before and is greater stays: Redis has lost ends of runs
        if it was restored from a backup.
        """
        rows = [usage_row(kind, sums) for kind, sums in counts]
        with self._database.writing() as connection:
            self._check(connection)
            self._upsert(connection, usage, rows, greatest=USAGE_SUMS)

    def erase_tenant(self, deletion: TenantDeletion) -> None:
        """Erase the tags in the usage of a deleted tenant, and the details of its audit entries.

        The sums stay, and who did what when. Raise as `write`.
        """
        mine = and_(usage.c.tenant == deletion.tenant, usage.c.day <= day_at(deletion.at))
        kept = [column for column in usage.primary_key if column.name != "tags"]
        sums = [func.sum(usage.c[name]).label(name) for name in USAGE_SUMS]
        about_it = and_(audit.c.target == deletion.tenant, audit.c.at <= deletion.at)
        with self._database.writing() as connection:
            self._check(connection)
            merged = connection.execute(select(*kept, *sums).where(mine).group_by(*kept)).mappings()
            rows = [{**row, "tags": ""} for row in merged.all()]
            connection.execute(delete(usage).where(mine))
            self._upsert(connection, usage, rows)
            connection.execute(update(audit).where(about_it).values(detail="{}"))

    def write_audit(self, entries: Sequence[Entry]) -> None:
        """Write audit entries, which never change: those that are there stay. Raise as `write`."""
        with self._database.writing() as connection:
            self._check(connection)
            statement = self._insert(audit).on_conflict_do_nothing()
            connection.execute(statement, [audit_row(entry) for entry in entries])

    def delete(self, job_ids: Sequence[str]) -> None:
        """Delete jobs with their deliveries, and batches without jobs. Raise as `write`."""
        with self._database.writing() as connection:
            self._check(connection)
            _delete(connection, job_ids)

    def expired_jobs(self, now_ms: int, most: int) -> list[tuple[str, str | None]]:
        """Return the ids and object keys of jobs past their retention. Raise HistoryDown."""
        wanted = select(jobs.c.id, jobs.c.object).where(jobs.c.expires <= now_ms).limit(most)
        with self._database.reading() as connection:
            return [(row.id, row.object) for row in connection.execute(wanted)]

    def expired_images(self, now_ms: int, most: int) -> list[ExpiredImage]:
        """Return images past their retention. Raise HistoryDown."""
        wanted = (
            select(jobs.c.id, jobs.c.object)
            .where(jobs.c.image_expires <= now_ms, jobs.c.object.is_not(None))
            .limit(most)
        )
        with self._database.reading() as connection:
            return [ExpiredImage(row.id, row.object) for row in connection.execute(wanted)]

    def record_deleted_images(self, job_ids: Sequence[str], now_ms: int) -> None:
        """Record that the images of these jobs are deleted: a change, and so a new version.

        Raise as `write`.
        """
        gone = {
            "object": None,
            "image_expires": None,
            "image_deleted": now_ms,
            "request_hash": None,
        }
        with self._database.writing() as connection:
            self._check(connection)
            found = connection.execute(select(jobs).where(jobs.c.id.in_(job_ids))).mappings()
            self._upsert(connection, jobs, [next_version({**row, **gone}) for row in found.all()])

    def _check(self, connection: Connection) -> None:
        """Lock the term, and raise NotTheArchiver if it is another's."""
        mine = update(archiver).where(archiver.c.term == self._term).values(term=self._term)
        if connection.execute(mine).rowcount != 1:
            self._term = None
            raise NotTheArchiver

    def _insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        return (sqlite.insert if self._database.is_sqlite else postgresql.insert)(table)

    def _insert_terms(self, connection: Connection, rows: Sequence[Mapping[str, str]]) -> None:
        """Insert the terms of jobs in the order of their index, which touches fewer pages."""
        ordered = sorted(rows, key=lambda row: [*row.values()])
        if self._database.is_sqlite or not rows:
            self._upsert(connection, job_terms, ordered)
            return
        # one text for each column, whose lines are the rows: an array or rows of their own take the
        # client much longer; no value contains a control character
        columns = [column.name for column in job_terms.c]
        texts = {name: "\n".join([row[name] for row in ordered]) for name in columns}
        lines = [func.string_to_table(bindparam(name, type_=Text()), "\n") for name in columns]
        statement = postgresql.insert(job_terms).from_select(columns, select(*lines))
        connection.execute(statement.on_conflict_do_nothing(), texts)

    def _upsert(
        self,
        connection: Connection,
        table: Table,
        rows: Sequence[Mapping[str, Any]],
        greatest: Collection[str] = (),
    ) -> None:
        """Write rows over those with the same key; keep the greater value of `greatest` columns."""
        if not rows:
            return
        statement = self._insert(table)
        greater = func.max if self._database.is_sqlite else func.greatest
        key = [column.name for column in table.primary_key]
        others = {
            column.name: greater(column, new) if column.name in greatest else new
            for column, new in zip(table.columns, statement.excluded, strict=True)
            if column.name not in key
        }
        statement = (
            statement.on_conflict_do_update(index_elements=key, set_=others)
            if others
            else statement.on_conflict_do_nothing(index_elements=key)
        )
        connection.execute(statement, [dict(row) for row in rows])


def _delete(connection: Connection, job_ids: Sequence[str]) -> None:
    of_them = jobs.c.id.in_(job_ids)
    found = connection.execute(
        select(jobs.c.batch).where(of_them, jobs.c.batch.is_not(None)).distinct()
    )
    concerned = [row.batch for row in found]
    _delete_terms(connection, job_ids)
    connection.execute(delete(deliveries).where(deliveries.c.subject.in_(job_ids)))
    connection.execute(delete(jobs).where(of_them))
    if not concerned:
        return
    has_jobs = exists().where(jobs.c.batch == batches.c.id)
    empty = connection.execute(
        select(batches.c.id).where(batches.c.id.in_(concerned), ~has_jobs)
    ).scalars()
    gone = list(empty)
    connection.execute(delete(deliveries).where(deliveries.c.subject.in_(gone)))
    connection.execute(delete(batches).where(batches.c.id.in_(gone)))


def _delete_terms(connection: Connection, job_ids: Sequence[str]) -> None:
    """Delete the terms of jobs, whose rows still exist: each by its whole key."""
    found = connection.execute(select(jobs.c.id, jobs.c.record).where(jobs.c.id.in_(job_ids)))
    keys = [key for row in found for key in term_rows(row.id, orjson.loads(row.record))]
    if keys:
        same = [column == bindparam(f"its_{column.name}") for column in job_terms.primary_key]
        values = [{f"its_{name}": value for name, value in key.items()} for key in keys]
        connection.execute(delete(job_terms).where(*same), values)
