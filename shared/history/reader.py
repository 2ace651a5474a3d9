"""Queries of the history."""

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import (
    Boolean,
    ColumnElement,
    Select,
    and_,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
)

from shared.batches import Batch
from shared.history.database import Database
from shared.history.records import audit_entry_from, entry_from, job_from, restored_record_of
from shared.history.search import DeliveryFilter, JobFilter
from shared.history.tables import (
    FAILED,
    UNSUCCESSFUL,
    USAGE_SUMS,
    audit,
    batches,
    deliveries,
    job_terms,
    jobs,
    usage,
)
from shared.jobs import DeliveryState, Job, Status
from shared.store.archive import StoredDelivery, StoredRecord
from shared.store.audit import AuditFilter
from shared.store.audit import Entry as AuditEntry
from shared.store.codec import batch_of
from shared.store.delivery_log import Cursor, Entry
from shared.store.dry_run import ReuseSource
from shared.store.run_counts import Sums


class HistoryReader:
    """Read archived jobs, batches and deliveries. Every method raises HistoryDown."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._database = database

    def _rows(self, wanted: Select[Any]) -> list[dict[str, Any]]:
        with self._database.reading() as connection:
            return [dict(row) for row in connection.execute(wanted).mappings()]

    def job(self, job_id: str, tenant: str) -> Job | None:
        """Read a job of this tenant ('' for any)."""
        rows = self._rows(select(jobs).where(jobs.c.id == job_id, *_of(jobs.c.tenant, tenant)))
        return job_from(rows[0]) if rows else None

    def stored_job(
        self, job_id: str, tenant: str
    ) -> tuple[StoredRecord, StoredRecord | None] | None:
        """Read the record of a job with its deliveries, and that of its batch."""
        rows = self._rows(select(jobs).where(jobs.c.id == job_id, *_of(jobs.c.tenant, tenant)))
        if not rows:
            return None
        job = StoredRecord(job_id, restored_record_of(rows[0]), self._deliveries_of(job_id))
        batch_id = rows[0]["batch"]
        found = self._rows(select(batches).where(batches.c.id == batch_id)) if batch_id else ()
        if not found:
            return job, None
        record = orjson.loads(found[0]["record"])
        return job, StoredRecord(batch_id, record, self._deliveries_of(batch_id))

    def _deliveries_of(self, subject: str) -> tuple[StoredDelivery, ...]:
        rows = self._rows(select(deliveries).where(deliveries.c.subject == subject))
        return tuple(
            StoredDelivery(row["id"], row["url"], orjson.loads(row["record"])) for row in rows
        )

    def jobs(self, wanted: JobFilter, limit: int) -> list[Job]:
        """List jobs, newest first."""
        return [job_from(row) for row in self._found(wanted, limit, *jobs.c)]

    def job_ids(self, wanted: JobFilter, limit: int) -> list[str]:
        """List the ids of jobs, newest first."""
        return [row["id"] for row in self._found(wanted, limit, jobs.c.id)]

    def images(self, wanted: JobFilter, limit: int) -> list[tuple[str, str | None]]:
        """List the ids of jobs and the object keys of their images, newest first."""
        rows = self._found(wanted, limit, jobs.c.id, jobs.c.object)
        return [(row["id"], row["object"]) for row in rows]

    def _found(
        self, wanted: JobFilter, limit: int, *columns: ColumnElement[Any]
    ) -> list[dict[str, Any]]:
        """Read columns of the matching jobs, newest first."""
        first, rest = self._driving_term(wanted)
        ids: ColumnElement[str] = job_terms.c.job if first else jobs.c.id
        chosen = select(*columns).where(*_conditions(wanted), *_bounds(wanted, ids))
        if first:
            chosen = chosen.join_from(job_terms, jobs, job_terms.c.job == jobs.c.id).where(
                job_terms.c.term == first, *_of(job_terms.c.tenant, wanted.tenant)
            )
        if not first or not self._database.is_sqlite:
            # SQLite would read all jobs of the tenant, instead of those of the term, and sort them
            chosen = chosen.where(*_of(jobs.c.tenant, wanted.tenant))
        chosen = chosen.where(*(_has_term(term) for term in rest))
        return self._rows(chosen.order_by(ids.desc()).limit(limit))

    def _driving_term(self, wanted: JobFilter) -> tuple[str | None, tuple[str, ...]]:
        """Choose the term whose jobs are read in order, and return the terms to check for each.

        It is the rarest one. It is None if fewer jobs have one of the statuses: these have an index
        unless `succeeded` is among them. It is also None if the jobs of all tenants are listed and
        even the rarest term is common: its jobs would have to be sorted, while reading all jobs in
        order finds many that have it.
        """
        # SQLite would not read these by their index, because another has them in order
        by_status = Status.SUCCEEDED not in wanted.statuses and not self._database.is_sqlite
        if not wanted.terms or (wanted.tenant and len(wanted.terms) == 1 and not by_status):
            return next(iter(wanted.terms), None), ()
        of_term = select(job_terms.c.job).where(*_of(job_terms.c.tenant, wanted.tenant))
        matching = [of_term.where(job_terms.c.term == term) for term in wanted.terms]
        if by_status:
            in_status = select(jobs.c.id).where(*_of(jobs.c.tenant, wanted.tenant))
            matching.append(in_status.where(*_status_conditions(wanted)))
        counts = [
            select(func.count()).select_from(one.limit(COUNTED).subquery()).scalar_subquery()
            for one in matching
        ]
        (row,) = self._rows(select(*counts))
        found = [*row.values()]
        least, first = min(zip(found, wanted.terms, strict=False))
        if (by_status and found[-1] <= least) or (least >= COUNTED and not wanted.tenant):
            return None, wanted.terms
        return first, tuple(term for term in wanted.terms if term != first)

    def batch_jobs(self, batch_id: str, after: str | None, limit: int) -> list[Job]:
        """Read jobs of a batch in the order of the request, after an id."""
        chosen = select(jobs).where(jobs.c.batch == batch_id)
        if after:
            chosen = chosen.where(jobs.c.id > after)
        return [job_from(row) for row in self._rows(chosen.order_by(jobs.c.id).limit(limit))]

    def reusable(self, tenant: str, request: str, limit: int) -> list[ReuseSource]:
        """Find the images of a request by its hash, the newest first."""
        chosen = (
            select(jobs)
            .where(jobs.c.tenant == tenant, jobs.c.request_hash == request)
            .order_by(jobs.c.id.desc())
            .limit(limit)
        )
        found = map(job_from, self._rows(chosen))
        return [ReuseSource(job.id, job.image) for job in found if job.image]

    def batch(self, batch_id: str, tenant: str) -> Batch | None:
        """Read a batch of this tenant ('' for any)."""
        chosen = select(batches).where(batches.c.id == batch_id, *_of(batches.c.tenant, tenant))
        return next(map(_batch, self._rows(chosen)), None)

    def batches(self, tenant: str, before: str | None, limit: int) -> list[Batch]:
        """List the batches of a tenant, newest first."""
        chosen = select(batches).where(batches.c.tenant == tenant)
        if before:
            chosen = chosen.where(batches.c.id < before)
        return [*map(_batch, self._rows(chosen.order_by(batches.c.id.desc()).limit(limit)))]

    def delivery(self, delivery_id: str, tenant: str) -> Entry | None:
        """Read a delivery of this tenant ('' for any) with its attempts."""
        chosen = select(deliveries).where(
            deliveries.c.id == delivery_id, *_of(deliveries.c.tenant, tenant)
        )
        return next((entry_from(row, whole=True) for row in self._rows(chosen)), None)

    def deliveries(self, wanted: DeliveryFilter, limit: int) -> list[Entry]:
        """List deliveries, newest first; failed ones by when they failed."""
        order = deliveries.c.created
        conditions = _of(deliveries.c.tenant, wanted.tenant)
        if wanted.state is DeliveryState.FAILED and not wanted.job_id:
            order = deliveries.c.finished
            conditions.append(literal_column(FAILED, Boolean()))
        elif wanted.state:
            conditions.append(deliveries.c.state == wanted.state.value)
        if wanted.job_id:
            conditions.append(deliveries.c.subject == wanted.job_id)
        if wanted.host:
            conditions.append(deliveries.c.host == wanted.host)
        if wanted.below:
            same_time = and_(order == wanted.below.at, deliveries.c.id < wanted.below.id)
            conditions.append(or_(order < wanted.below.at, same_time))
        chosen = (
            select(deliveries)
            .where(*conditions)
            .order_by(order.desc(), deliveries.c.id.desc())
            .limit(limit)
        )
        return [entry_from(row, whole=False) for row in self._rows(chosen)]

    def failed_subjects(
        self, tenant: str, *, since: int, after: Cursor | None, limit: int
    ) -> list[tuple[str, Cursor]]:
        """List the subjects of the deliveries that failed since a time, the earliest first.

        Each is a job or batch, with the position to continue after.
        """
        finished, name = deliveries.c.finished, deliveries.c.id
        conditions = [*_of(deliveries.c.tenant, tenant), literal_column(FAILED, Boolean())]
        conditions.append(finished >= since)
        if after:
            conditions.append(or_(finished > after.at, and_(finished == after.at, name > after.id)))
        chosen = (
            select(name, finished, deliveries.c.subject)
            .where(*conditions)
            .order_by(finished, name)
            .limit(limit)
        )
        return [(row["subject"], Cursor(row["finished"], row["id"])) for row in self._rows(chosen)]

    def audit(self, wanted: AuditFilter, limit: int) -> list[AuditEntry]:
        """List audit entries, newest first."""
        columns = (
            (audit.c.action, wanted.action),
            (audit.c.target, wanted.target),
            (audit.c.by, wanted.by),
        )
        conditions = [column == value for column, value in columns if value]
        if wanted.after is not None:
            conditions.append(audit.c.at > wanted.after)
        if end := wanted.end:
            conditions.append(tuple_(audit.c.at, audit.c.number) < (end.at, end.number))
        chosen = (
            select(audit)
            .where(*conditions)
            .order_by(audit.c.at.desc(), audit.c.number.desc())
            .limit(limit)
        )
        return [audit_entry_from(row) for row in self._rows(chosen)]

    def usage(
        self, tenant: str, *, first: int, last: int, by: Sequence[str]
    ) -> list[tuple[tuple[str | int, ...], Sums]]:
        """Sum up the usage of a tenant ('' for all) from one day to another, both included.

        `by` are columns of the table; each sum comes with its values of them.
        """
        columns = [usage.c[name] for name in by]
        sums = [func.sum(usage.c[name]).label(name) for name in USAGE_SUMS]
        chosen = select(*columns, *sums).where(usage.c.day.between(first, last))
        chosen = chosen.where(*_of(usage.c.tenant, tenant)).group_by(*columns)
        # without columns there is one row, of nulls if there is nothing to sum up
        return [
            (tuple(row[name] for name in by), Sums(*(int(row[name] or 0) for name in USAGE_SUMS)))
            for row in self._rows(chosen)
        ]


#: The most jobs that are counted for a term or status, to find the rarest of several.
COUNTED = 5_000


def _of(column: ColumnElement[str], tenant: str) -> list[ColumnElement[bool]]:
    return [column == tenant] if tenant else []


def _batch(row: dict[str, Any]) -> Batch:
    return batch_of(row["id"], orjson.loads(row["record"]))


def _conditions(wanted: JobFilter) -> list[ColumnElement[bool]]:
    """Return the conditions on jobs, except for their tenant, terms and age."""
    conditions = _status_conditions(wanted)
    for column, value in (
        (jobs.c.batch, wanted.batch_id),
        (jobs.c.model, wanted.model),
        (jobs.c.served_model, wanted.served_model),
        (jobs.c.error_code, wanted.error_code),
    ):
        if value:
            conditions.append(column == value)
    return conditions


def _status_conditions(wanted: JobFilter) -> list[ColumnElement[bool]]:
    if wanted.statuses >= {Status.SUCCEEDED, Status.FAILED, Status.CANCELED}:
        return []
    # written as constants, so that the planner recognises the partial indexes
    names = [literal(one.value, literal_execute=True) for one in sorted(wanted.statuses)]
    is_unsuccessful = literal_column(UNSUCCESSFUL, Boolean())
    unsuccessful = [] if Status.SUCCEEDED in wanted.statuses else [is_unsuccessful]
    return [jobs.c.status.in_(names), *unsuccessful]


def _has_term(term: str) -> ColumnElement[bool]:
    """Return whether a job has a term, looked up by its whole key."""
    terms = job_terms.alias()
    key = (terms.c.term == term, terms.c.tenant == jobs.c.tenant, terms.c.job == jobs.c.id)
    # the offset keeps PostgreSQL from turning this into a join, whose size it underestimates
    return exists(select(terms.c.job).where(*key).offset(0))


def _bounds(wanted: JobFilter, ids: ColumnElement[str]) -> list[ColumnElement[bool]]:
    """Return the conditions on time and on `ids`, the column by which the query is ordered."""
    bounds: list[ColumnElement[bool]] = []
    if highest := [bound for bound in (wanted.before, wanted.newest) if bound]:
        bounds.append(ids < min(highest))
    if wanted.oldest:
        bounds.append(ids >= wanted.oldest)
    if wanted.created_after is not None:
        bounds.append(jobs.c.created > wanted.created_after)
    if wanted.created_before is not None:
        bounds.append(jobs.c.created < wanted.created_before)
    return bounds
