"""Jobs that end and move to the history, for the tests of it."""

from typing import Any

import psycopg

from shared.jobs import Job
from shared.store import (
    archive,
    job_queries,
    job_submission,
)
from shared.store.run_counts import Kind, Sums, UsageColumn
from tests.support.history import HistoryWorld
from tests.support.postgres import PostgresServer
from tests.support.run_counts import LAST
from tests.support.store import FAR, World

WEBHOOK = {"url": "https://hooks.example/a?x=1", "events": ["job.succeeded", "job.failed"]}


def finished(world: World, **changes: Any) -> str:
    job_id = world.accept(**changes)
    world.finish(world.claim())
    return job_id


def live(world: World, job_id: str, tenant: str = "acme") -> Job | None:
    found = world.store.run(job_queries.read_job(job_id, tenant=tenant))
    return found.job if found else None


def may_write(history: HistoryWorld, postgres: PostgresServer, value: str) -> None:
    """Switch writing `on` or `off`, as the failover to a replica does."""
    read_only = {"on": "off", "off": "on"}[value]
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(
            f"ALTER DATABASE history SET default_transaction_read_only = {read_only}"
        )
    history.database.close()  # the setting is that of new connections


def usage(history: HistoryWorld, tenant: str = "acme") -> dict[Kind, Sums]:
    """Return what the history has, as Redis would."""
    by = [column.value for column in UsageColumn]
    found = history.reader.usage(tenant, first=0, last=LAST, by=by)
    rows: list[tuple[dict[str, Any], Sums]] = [
        (dict(zip(by, values, strict=True)), sums) for values, sums in found
    ]
    return {
        Kind(**{**row, "tags": tuple(filter(None, row["tags"].split("\n")))}): sums
        for row, sums in rows
    }


def spend(world: World, tenant: str, *tags: str) -> None:
    world.accept(tenant, tags=tags, api_key="k1", credits=0.1)
    world.finish(world.claim())


def retry_job(world: World, job_id: str) -> None:
    call = job_submission.rerun(job_id, tenant="acme", deadline_seconds=3600)
    assert isinstance(world.store.run(call), Job)


def restore(history: HistoryWorld, job_id: str) -> str:
    stored = history.reader.stored_job(job_id, "acme")
    assert stored is not None
    return history.world.store.run(archive.restore_job(*stored, not_after_ms=FAR))


def superseded(history: HistoryWorld, job_id: str) -> bool:
    return job_id in history.world.store.run(archive.find_superseded([job_id]))
