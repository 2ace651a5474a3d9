"""Final jobs between Redis and the history, on real databases: always in at least one of them."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, update
from structlog.testing import capture_logs

from sandbox.wait import wait_until
from shared.errors import HistoryDown
from shared.history.reader import HistoryReader
from shared.history.schema import downgrade, read_schema, upgrade
from shared.history.search import DeliveryFilter
from shared.history.tables import REVISION, jobs, metadata
from shared.history.writer import HistoryWriter, NotTheArchiver
from shared.jobs import Job, Retention, State
from shared.store import (
    archive,
    bulk,
    deliveries,
    erasures,
    job_queries,
    job_submission,
    keys,
    maintenance,
    run_counts,
)
from shared.store.archive import StoredRecord
from shared.store.audit import AuditContext, AuditFilter, read_audit
from shared.store.codec import request_hash
from shared.store.run_counts import Kind, Sums, UsageColumn, day_at
from shared.store.usage import read_usage
from tests.contract.test_history_growth import job_record, write_rows
from tests.support.history import HistoryWorld, database_at
from tests.support.postgres import PostgresServer
from tests.support.run_counts import LAST, counted, let_days_pass
from tests.support.store import FAR, IMAGE, World

WEBHOOK = {"url": "https://hooks.example/a?x=1", "events": ["job.succeeded", "job.failed"]}


@pytest.fixture
def history(empty_redis_url: str, history_url: str) -> Iterator[HistoryWorld]:
    history = HistoryWorld(empty_redis_url, history_url)
    yield history
    assert history.world.undocumented() == set()
    history.close()


def finished(world: World, **changes: Any) -> str:
    job_id = world.accept(**changes)
    world.finish(world.claim())
    return job_id


def live(world: World, job_id: str, tenant: str = "acme") -> Job | None:
    found = world.store.run(job_queries.read_job(job_id, tenant=tenant))
    return found.job if found else None


def test_a_final_job_moves_and_reads_the_same(history: HistoryWorld) -> None:
    job_id = finished(history.world, metadata={"order": "7"}, tags=("a", "b"))
    before = live(history.world, job_id)

    history.archive()

    assert live(history.world, job_id) is None
    assert before is not None
    archived = history.reader.job(job_id, "acme")
    assert archived == before
    assert history.reader.job(job_id, "other") is None
    assert history.world.client.zcard(keys.archive_due()) == 0


def test_a_job_that_is_not_final_stays(history: HistoryWorld) -> None:
    job_id = history.world.accept()
    history.world.client.zadd(keys.archive_due(), {job_id: 1})
    history.archive()
    assert history.is_live(job_id)
    assert not history.is_archived(job_id)


def test_every_state_moves_with_its_error_attempts_and_tags(history: HistoryWorld) -> None:
    world = history.world
    failed = world.accept(tags=("t",))
    world.fail(world.claim())
    canceled = world.accept()
    world.cancel(canceled)
    before = [live(world, one) for one in (failed, canceled)]

    history.archive()

    assert [history.reader.job(one, "acme") for one in (failed, canceled)] == before
    assert before[0] is not None
    assert before[0].error_code == "provider_rejected"
    counts = world.client.hgetall(keys.counts())
    assert {counts.get(one, "0") for one in ("failed", "canceled", "succeeded")} == {"0"}
    assert not world.client.exists(keys.tenant_jobs("acme"), keys.jobs_by("acme", "tag", "t"))
    assert not world.client.exists(keys.jobs_by("", "error", "provider_rejected"))


def test_a_job_waits_until_its_webhooks_are_settled(history: HistoryWorld) -> None:
    job_id = finished(history.world, webhook=WEBHOOK, webhook_host="hooks.example")
    history.archive()
    assert history.is_live(job_id)

    held = history.world.delivery()
    history.world.store.run(deliveries.settle_delivery(held, "delivered", attempt={"status": 204}))
    history.archive()

    assert not history.is_live(job_id)
    assert not history.world.client.exists(keys.delivery(held.id), keys.deliveries("acme"))
    entry = history.reader.delivery(held.id, "acme")
    assert entry is not None
    assert (entry.state, entry.subject, entry.url) == ("delivered", job_id, WEBHOOK["url"])
    assert [attempt["status"] for attempt in entry.attempts] == [204]


def test_a_webhook_parked_for_a_week_fails_and_keeps_its_job_no_longer(
    history: HistoryWorld,
) -> None:
    world = history.world
    gone = finished(world, webhook=WEBHOOK, webhook_host="hooks.example")
    world.store.run(deliveries.settle_delivery(world.delivery(), "gone", attempt={"status": 410}))
    parked = finished(world, webhook=WEBHOOK, webhook_host="hooks.example")
    (delivery,) = world.client.zrange(keys.parked(_endpoint(world)), 0, -1)

    history.archive()
    assert not history.is_live(gone)
    assert history.is_live(parked)

    week = 7 * 86_400_000
    created = int(str(world.client.hget(keys.delivery(str(delivery)), "created")))
    world.client.hset(keys.delivery(str(delivery)), "created", created - week)
    history.archive()

    assert not history.is_live(parked)
    entry = history.reader.delivery(str(delivery), "acme")
    assert entry is not None
    assert entry.state == "failed"
    counts = world.client.hgetall(keys.counts())
    assert (counts["webhook_pending"], counts["webhook_parked"]) == ("0", "0")


def _endpoint(world: World) -> str:
    (endpoint,) = world.client.zrange(keys.endpoints("acme"), 0, -1)
    return str(endpoint)


def test_a_batch_moves_with_its_jobs_and_only_when_all_are_final(history: HistoryWorld) -> None:
    world = history.world
    first, second = world.new_job(), world.new_job()
    batch_id = world.batch(first, second)
    world.finish(world.claim())
    history.archive()
    assert history.is_live(first.id)

    world.finish(world.claim())
    before = world.batch_state(batch_id)
    history.archive()

    assert before is not None
    assert history.reader.batch(batch_id, "acme") == before.batch
    assert not world.client.exists(keys.batch(batch_id), keys.batches("acme"))
    found = history.reader.batch_jobs(batch_id, None, 10)
    assert [job.id for job in found] == [first.id, second.id]


def test_what_was_written_and_not_removed_is_written_again(history: HistoryWorld) -> None:
    """The process stops between the commit and the removal."""
    job_id = finished(history.world)
    found = _handed_out(history)
    history.archiver.writer.write(found, [])
    assert history.is_live(job_id)
    assert history.is_archived(job_id)

    history.archive()

    assert not history.is_live(job_id)
    assert history.is_archived(job_id)


def test_a_retry_between_commit_and_removal_wins(history: HistoryWorld) -> None:
    job_id = history.world.accept()
    history.world.fail(history.world.claim())
    found = _handed_out(history)
    history.archiver.writer.write(found, [])
    _retry(history.world, job_id)

    assert history.world.store.run(archive.remove_archived(found)) == 0
    history.archive()
    assert history.is_live(job_id)

    history.world.finish(history.world.claim())
    history.archive()
    archived = history.reader.job(job_id, "acme")
    assert archived is not None
    assert (archived.state, archived.run) == (State.SUCCEEDED, 2)


def test_a_delete_between_commit_and_removal_deletes_both(history: HistoryWorld) -> None:
    job_id = finished(history.world)
    found = _handed_out(history)
    history.archiver.writer.write(found, [])

    history.world.delete_job(job_id)
    assert superseded(history, job_id)
    assert history.world.store.run(archive.remove_archived(found)) == 0
    history.archive()

    assert not history.is_archived(job_id)
    assert not superseded(history, job_id)


def test_an_archiver_that_slept_writes_nothing(history: HistoryWorld) -> None:
    job_id = finished(history.world)
    slow = history.archiver
    assert not slow.archive()
    history.come_due()
    found = _handed_out(history)
    history.world.client.delete(keys.archiver())

    history.archiver = history.new_archiver("worker-2")
    history.archive()
    history.world.store.run(archive.delete_archived(job_id, [], not_after_ms=FAR))
    history.archive()
    assert not history.is_archived(job_id)

    with pytest.raises(NotTheArchiver):
        slow.writer.write(found, [])
    assert not history.is_archived(job_id)


def test_processes_that_begin_at_once_get_different_terms(history: HistoryWorld) -> None:
    writers = [HistoryWriter(history.database) for _ in range(8)]
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(writer.begin) for writer in writers]:
            done.result()

    assert sorted(writer._term or 0 for writer in writers) == [*range(1, 9)]
    may_write = []
    for writer in writers:
        try:
            writer.write([], [])
        except NotTheArchiver:
            continue
        may_write.append(writer)
    assert [writer._term for writer in may_write] == [8]


def test_only_one_process_archives_and_another_takes_over(history: HistoryWorld) -> None:
    other = history.new_archiver("worker-2")
    history.archive()
    job_id = finished(history.world)
    history.come_due()
    assert not other.archive()
    assert history.is_live(job_id)

    history.world.client.delete(keys.archiver())  # as after the lock's time
    assert not other.archive()
    assert not history.is_live(job_id)


def test_a_failed_job_comes_back_as_it_was(history: HistoryWorld) -> None:
    world = history.world
    job_id = world.accept(tags=("t",), webhook=WEBHOOK, webhook_host="hooks.example")
    world.fail(world.claim())
    held = world.delivery()
    world.store.run(deliveries.settle_delivery(held, "failed", attempt={"status": 500}))
    before = live(world, job_id)
    history.archive()

    assert restore(history, job_id) == "ok"
    assert live(world, job_id) == before
    assert superseded(history, job_id)
    assert world.client.zscore(keys.failed_deliveries("acme"), held.id) is not None
    assert world.client.zcard(keys.jobs_by("acme", "tag", "t")) == 1
    assert world.client.hget(keys.counts(), "failed") == "1"
    assert restore(history, job_id) == "ok"
    assert world.client.hget(keys.counts(), "failed") == "1"


def test_a_job_that_came_back_runs_and_moves_again_with_all_its_deliveries(
    history: HistoryWorld,
) -> None:
    world = history.world
    job_id = world.accept(webhook=WEBHOOK, webhook_host="hooks.example")
    world.fail(world.claim())
    held = world.delivery()
    world.store.run(deliveries.settle_delivery(held, "failed", attempt={"status": 500}))
    history.archive()
    assert restore(history, job_id) == "ok"

    _retry(world, job_id)
    world.finish(world.claim())
    told = world.delivery()
    world.store.run(deliveries.settle_delivery(told, "delivered", attempt={"status": 200}))
    history.archive()

    archived = history.reader.job(job_id, "acme")
    assert archived is not None
    assert (archived.run, archived.state) == (2, State.SUCCEEDED)
    states = {one.id: one.state for one in history.reader.deliveries(DeliveryFilter("acme"), 9)}
    assert states == {held.id: "failed", told.id: "delivered"}
    assert world.client.hget(keys.endpoint(_any_endpoint(world)), "kept") in {None, "0"}


def _any_endpoint(world: World) -> str:
    found = world.client.zrange(keys.endpoints("acme"), 0, -1)
    return str(found[0]) if found else ""


def test_a_job_of_a_batch_comes_back_with_its_batch(history: HistoryWorld) -> None:
    world = history.world
    first, second = world.new_job(), world.new_job()
    batch_id = world.batch(first, second)
    world.finish(world.claim())
    world.fail(world.claim())
    history.archive()

    assert restore(history, second.id) == "ok"
    _retry(world, second.id)
    state = world.batch_state(batch_id)
    assert state is not None
    assert {one.value: count for one, count in state.batch.counts.items() if count} == {
        "succeeded": 1,
        "queued": 1,
    }
    world.finish(world.claim())
    history.archive()

    batch = history.reader.batch(batch_id, "acme")
    assert batch is not None
    assert {one.value: count for one, count in batch.counts.items() if count} == {"succeeded": 2}
    assert not world.client.exists(keys.batch(batch_id))


def batch_counts(history: HistoryWorld, batch_id: str) -> dict[str, int]:
    batch = history.reader.batch(batch_id, "acme")
    assert batch is not None
    return {one.value: count for one, count in batch.counts.items() if count}


@pytest.mark.parametrize("is_restored", [True, False])
def test_a_batch_whose_last_live_job_is_deleted_has_its_new_counts(
    history: HistoryWorld, *, is_restored: bool
) -> None:
    world = history.world
    first, second = world.new_job(), world.new_job()
    batch_id = world.batch(first, second)
    world.finish(world.claim())
    world.fail(world.claim())
    if is_restored:
        history.archive()
        assert restore(history, second.id) == "ok"
    else:
        # the second is not due yet
        world.client.zadd(keys.archive_due(), {first.id: 1})
        while history.archiver.archive():
            pass
    assert batch_counts(history, batch_id) == {"succeeded": 1, "failed": 1}
    _retry(world, second.id)
    world.finish(world.claim())

    world.store.run(job_submission.delete_job(second.id, tenant="acme"))
    state = world.batch_state(batch_id)
    assert state is not None, "it is in Redis until the history has its counts"
    history.archive()

    assert batch_counts(history, batch_id) == {"succeeded": 2}
    assert not world.client.exists(keys.batch(batch_id), keys.batches("acme"), keys.archive_due())
    assert (history.is_archived(first.id), history.is_archived(second.id)) == (True, False)


def test_a_batch_that_changes_while_its_counts_are_written_is_written_again(
    history: HistoryWorld,
) -> None:
    world = history.world
    first, second = world.new_job(), world.new_job()
    batch_id = world.batch(first, second)
    world.fail(world.claim())
    world.fail(world.claim())
    history.archive()

    def run_and_delete(job_id: str) -> None:
        assert restore(history, job_id) == "ok"
        _retry(world, job_id)
        world.finish(world.claim())
        world.store.run(job_submission.delete_job(job_id, tenant="acme"))

    run_and_delete(first.id)
    found = world.store.run(
        archive.next_archivable("worker-1", lock_seconds=20, lease_seconds=60, most=10)
    )
    assert found is not None
    run_and_delete(second.id)
    world.store.run(archive.remove_archived_batches(found.batches))
    assert world.client.exists(keys.batch(batch_id))


def test_of_a_batch_whose_jobs_are_all_deleted_nothing_is_left(history: HistoryWorld) -> None:
    world = history.world
    job = world.new_job()
    batch_id = world.batch(job)
    world.finish(world.claim())
    history.archive()
    assert restore(history, job.id) == "ok"
    world.store.run(job_submission.delete_job(job.id, tenant="acme"))
    history.archive()
    assert history.reader.batch(batch_id, "acme") is None
    assert not world.client.exists(keys.batch(batch_id), keys.batches("acme"), keys.archive_due())


def test_a_restoration_that_comes_too_late_is_refused(history: HistoryWorld) -> None:
    job_id = finished(history.world)
    history.archive()
    stored = history.reader.stored_job(job_id, "acme")
    assert stored is not None
    assert history.world.store.run(archive.restore_job(*stored, not_after_ms=1)) == "late"
    assert history.world.store.run(archive.delete_archived(job_id, [], not_after_ms=1)) == "late"
    assert not history.is_live(job_id)


def test_a_deleted_job_cannot_come_back(history: HistoryWorld) -> None:
    job_id = finished(history.world)
    history.archive()
    stored = history.reader.stored_job(job_id, "acme")
    assert stored is not None

    call = archive.delete_archived(job_id, ["t/image.webp"], not_after_ms=FAR)
    assert history.world.store.run(call) == "ok"
    assert history.world.store.run(call) == "ok"
    assert history.world.store.run(archive.restore_job(*stored, not_after_ms=FAR)) == "missing"
    assert "t/image.webp" in history.world.object_deletions()

    history.archive()
    assert not history.is_archived(job_id)


def test_the_last_deleted_job_takes_its_batch_along(history: HistoryWorld) -> None:
    world = history.world
    first, second = world.new_job(), world.new_job()
    batch_id = world.batch(first, second)
    for _ in range(2):
        world.finish(world.claim())
    history.archive()

    for job_id in (first.id, second.id):
        assert history.reader.batch(batch_id, "acme") is not None
        world.store.run(archive.delete_archived(job_id, [], not_after_ms=FAR))
        history.archive()

    assert history.reader.batch(batch_id, "acme") is None


def test_records_and_images_are_kept_as_long_as_the_settings_say(
    empty_redis_url: str, history_url: str
) -> None:
    history = HistoryWorld(empty_redis_url, history_url, image_retention_seconds=3600)
    world = history.world
    job_id = finished(world)
    image = live(world, job_id)
    assert image is not None
    assert image.finished_at is not None
    assert image.image_expires_at == image.finished_at + 3_600_000
    history.archive()
    assert history.reader.job(job_id, "acme") == image

    _set(history, job_id, image_expires=1)
    history.end_retention()
    archived = history.reader.job(job_id, "acme")
    assert archived is not None
    assert archived.image_deleted_at is not None
    assert archived.image_expires_at is None, "as of a live job whose image is deleted"
    assert image.image is not None
    assert image.image.key in world.object_deletions()
    assert history.reader.reusable("acme", request_hash(image.spec), 20) == []

    _set(history, job_id, expires=1)
    history.end_retention()
    assert not history.is_archived(job_id)
    history.close()


def test_what_a_job_says_of_its_retention_counts_when_it_is_archived_too(
    history: HistoryWorld,
) -> None:
    job_id = finished(history.world, retention=Retention(image_seconds=60, record_seconds=3600))
    before = live(history.world, job_id)
    assert before is not None
    assert before.finished_at is not None
    assert before.image_expires_at == before.finished_at + 60_000
    assert before.expires_at == before.finished_at + 3_600_000

    history.archive()

    assert not history.is_live(job_id)
    assert history.reader.job(job_id, "acme") == before


def test_a_job_that_expires_before_it_would_move_is_deleted_in_redis(
    history: HistoryWorld,
) -> None:
    world = history.world
    job_id = finished(
        world,
        retention=Retention(record_seconds=1),
        webhook={"url": "https://x.example/", "events": ["job.succeeded"]},
        webhook_host="x.example",
    )
    history.archive()
    assert not history.is_archived(job_id), "its webhook is not settled"
    world.client.zadd(keys.expiries(), {job_id: 1})

    assert world.store.run(maintenance.delete_expired(most=10)) == 1

    assert live(world, job_id) is None
    assert IMAGE.key in world.object_deletions()


def test_a_job_that_comes_back_is_deleted_when_its_time_is_over(history: HistoryWorld) -> None:
    world = history.world
    job_id = finished(world, retention=Retention(image_seconds=60, record_seconds=3600))
    history.archive()
    archived = history.reader.job(job_id, "acme")
    assert archived is not None

    assert restore(history, job_id) == "ok"

    assert world.client.zscore(keys.expiries(), job_id) == archived.expires_at
    assert world.client.zscore(keys.image_expiries(), job_id) == archived.image_expires_at


def test_jobs_of_a_version_without_a_history_move_when_they_would_have_expired(
    history: HistoryWorld,
) -> None:
    job_id = finished(history.world)
    client = history.world.client
    client.zrem(keys.archive_due(), job_id)
    client.zadd(keys.expiries(), {job_id: 1})
    client.hset(keys.job(job_id), "expires", 5)

    history.world.store.run(maintenance.delete_expired(most=10))
    history.archive()

    archived = history.reader.job(job_id, "acme")
    assert archived is not None
    assert archived.expires_at is None
    assert not client.exists(keys.expiries())


@pytest.mark.parametrize("record_seconds", [0, 365 * 86_400])
def test_jobs_that_ended_without_a_history_move_once_there_is_one(
    empty_redis_url: str, history_url: str, record_seconds: int
) -> None:
    without = World(empty_redis_url)
    job_ids = [
        finished(without, retention=Retention(record_seconds=record_seconds)) for _ in range(3)
    ]
    job_ids.append(canceled := without.accept())
    without.cancel(canceled)
    queued = without.accept()
    without.close()
    history = HistoryWorld(empty_redis_url, history_url)

    clean_all(history)
    history.archive()

    assert not any(map(history.is_live, job_ids))
    assert all(map(history.is_archived, job_ids))
    assert history.is_live(queued)
    history.close()


def test_jobs_of_a_later_time_without_a_history_move_too(history: HistoryWorld) -> None:
    job_id = finished(history.world)
    due = history.world.client.zscore(keys.archive_due(), job_id)
    clean_all(history)
    assert history.world.client.zscore(keys.archive_due(), job_id) == due, "it was scheduled"

    history.world.client.zrem(keys.archive_due(), job_id)
    clean_all(history)
    history.archive()

    assert history.is_archived(job_id)


def clean_all(history: HistoryWorld) -> None:
    """Check every final job once: each call checks two of one status."""
    for _ in range(5):
        history.world.store.run(maintenance.delete_expired(most=2))


def test_without_a_history_a_job_is_deleted_as_before(
    empty_redis_url: str, history: HistoryWorld
) -> None:
    job_id = finished(history.world)
    without = World(empty_redis_url)
    assert without.store.run(maintenance.delete_expired(most=10)) == 0
    due = without.client.zscore(keys.expiries(), job_id)
    finished_at = float(str(without.client.hget(keys.job(job_id), "finished")))
    assert due == finished_at + 7 * 86_400_000
    without.client.zadd(keys.expiries(), {job_id: 1})
    assert without.store.run(maintenance.delete_expired(most=10)) == 1
    without.close()


def test_with_a_history_nothing_is_deleted_by_the_clean_up(history: HistoryWorld) -> None:
    job_id = finished(history.world)
    history.come_due()
    assert history.world.store.run(maintenance.delete_expired(most=10)) == 0
    assert history.is_live(job_id)


def test_a_history_that_is_away_leaves_everything_in_redis(
    empty_redis_url: str, postgres: PostgresServer
) -> None:
    history = HistoryWorld(empty_redis_url, postgres.create("away"))
    first = finished(history.world)
    history.archive()
    second = finished(history.world)
    history.come_due()
    postgres.child.kill()
    try:
        with pytest.raises(HistoryDown):
            history.archiver.archive()
        assert history.is_live(second)
        stats = history.world.store.run(job_queries.service_stats())
        assert stats.history_lag > 0
    finally:
        postgres.start()

    history.world.client.delete(keys.archiver())
    history.archiver = history.new_archiver("worker-2")
    history.archive()
    assert not history.is_live(second)
    assert history.is_archived(first)
    history.close()


def test_two_processes_bring_a_new_database_to_its_schema_at_once(history_url: str) -> None:
    databases = [database_at(history_url) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        found = threads.map(lambda one: HistoryReader(one).job("job_x", ""), databases)
        assert [*found] == [None] * 4
    for database in databases:
        database.close()


def test_the_migrations_make_the_tables_that_the_code_names(history_url: str) -> None:
    database = database_at(history_url)
    with database.writing() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, metadata) == []
        downgrade(connection, "base")
        upgrade(connection)
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert read_schema(connection).wanted == REVISION
    database.close()


def test_a_migration_writes_the_terms_of_the_jobs_that_are_there(history_url: str) -> None:
    database = database_at(history_url)
    # more than it reads at once
    write_rows(database, 700)

    def rows(connection: Connection, table: str) -> set[tuple[str, ...]]:
        found = connection.exec_driver_sql(f"SELECT * FROM {table}")  # noqa: S608
        return {tuple(row) for row in found}

    with database.writing() as connection:
        written = rows(connection, "job_terms")
        downgrade(connection, "0002")
        assert rows(connection, "job_tags") == {
            (job.record["tags"], job.record["tenant"], job.id)
            for job in map(job_record, range(700))
        }
        upgrade(connection)
        assert rows(connection, "job_terms") == written
    assert len(written) == 700 * 26
    database.close()


def test_a_deleted_job_leaves_no_term(history_url: str) -> None:
    database = database_at(history_url)
    write_rows(database, 3)
    writer = HistoryWriter(database)
    writer.begin()
    writer.delete([job_record(0).id, job_record(2).id])
    with database.reading() as connection:
        left = connection.exec_driver_sql("SELECT DISTINCT job FROM job_terms").scalars().all()
    assert left == [job_record(1).id]
    database.close()


def test_a_schema_of_a_later_version_is_refused_with_a_sentence(history_url: str) -> None:
    database = database_at(history_url)
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    other = database_at(history_url)
    with pytest.raises(HistoryDown, match="later version of Darkroom"), other.reading():
        pass
    database.close()
    other.close()


def age(history: HistoryWorld) -> float:
    """Return for how many seconds the history is behind, as the alert sees it."""
    return history.world.store.run(job_queries.service_stats()).history_lag


def test_a_history_that_refuses_writes_is_behind_until_a_job_moves(
    empty_redis_url: str, postgres: PostgresServer
) -> None:
    with closing(HistoryWorld(empty_redis_url, postgres.create("history"))) as history:
        history.archive()
        assert age(history) == 0
        job_id = finished(history.world)
        history.come_due()
        # it can be read, so the job is read from Redis before the write fails
        may_write(history, postgres, "off")
        with pytest.raises(HistoryDown):
            history.archiver.archive()
        again = history.new_archiver("worker-1")
        wait_until(lambda: age(history) > 0.1, "the history to be behind")
        assert not history.is_archived(job_id)
        may_write(history, postgres, "on")
        history.come_due()
        again.archive()
        assert age(history) == 0
        assert history.is_archived(job_id)


def may_write(history: HistoryWorld, postgres: PostgresServer, value: str) -> None:
    """Switch writing `on` or `off`, as the failover to a replica does."""
    read_only = {"on": "off", "off": "on"}[value]
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(
            f"ALTER DATABASE history SET default_transaction_read_only = {read_only}"
        )
    history.database.close()  # the setting is that of new connections


def test_a_history_that_is_away_is_behind_though_no_job_waits(
    empty_redis_url: str, postgres: PostgresServer
) -> None:
    with closing(HistoryWorld(empty_redis_url, postgres.create("history"))) as history:
        with (
            closing(database_at("postgresql://127.0.0.1:9/history")) as away,
            pytest.raises(HistoryDown),
        ):
            history.new_archiver("worker-1", away).archive()
        wait_until(lambda: age(history) > 0.1, "the history to be behind")
        history.archive()
        assert age(history) == 0


def refused(history: HistoryWorld) -> int:
    return history.world.store.run(job_queries.service_stats()).history_refused


def test_a_record_that_cannot_be_read_stays_alone_in_redis(history: HistoryWorld) -> None:
    world = history.world
    jobs_before = [finished(world) for _ in range(2)]
    bad = finished(world)
    jobs_after = [finished(world) for _ in range(2)]
    spec = str(world.client.hget(keys.job(bad), "spec"))
    world.client.hset(keys.job(bad), "spec", "{")

    with capture_logs() as logs:
        history.archive()

    assert [one for one in (*jobs_before, *jobs_after) if not history.is_archived(one)] == []
    assert history.is_live(bad)
    assert not history.is_archived(bad)
    assert refused(history) == 1
    errors = [(one["event"], one["job_id"]) for one in logs if one["log_level"] == "error"]
    assert errors == [("job cannot be archived", bad)]
    due = world.client.zscore(keys.archive_due(), bad)
    assert due is not None
    assert float(str(due)) > world.store.now_ms() + 3_000_000

    world.client.hset(keys.job(bad), "spec", spec)
    history.archive()
    assert history.is_archived(bad)
    assert refused(history) == 0


def test_a_refused_job_that_is_deleted_is_not_counted_any_more(history: HistoryWorld) -> None:
    bad = finished(history.world)
    history.world.client.hset(keys.job(bad), "spec", "{")
    history.archive()
    assert refused(history) == 1
    history.world.store.run(job_submission.delete_job(bad, tenant="acme"))
    assert refused(history) == 0
    assert not history.world.client.exists(keys.archive_refused())


def test_a_batch_that_cannot_be_read_holds_up_no_other_job(history: HistoryWorld) -> None:
    world = history.world
    good, bad = world.new_job(), world.new_job()
    good_batch, bad_batch = world.batch(good), world.batch(bad)
    for _ in range(2):
        world.finish(world.claim())
    world.client.hdel(keys.batch(bad_batch), "tenant")

    history.archive()

    assert history.reader.batch(good_batch, "acme") is not None
    assert (history.is_archived(good.id), history.is_archived(bad.id)) == (True, False)
    assert refused(history) == 1


NUL = "a\0b"


def test_a_nul_character_in_a_prompt_or_metadata_reads_the_same(history: HistoryWorld) -> None:
    spec = replace(history.world.new_job().spec, input={"prompt": NUL}, metadata={"order": NUL})
    job_id = finished(history.world, spec=spec)
    before = live(history.world, job_id)
    history.archive()
    archived = history.reader.job(job_id, "acme")
    assert archived == before
    assert archived is not None
    assert archived.spec.input["prompt"] == NUL


def test_what_postgresql_refuses_stays_and_all_else_is_written(
    empty_redis_url: str, postgres: PostgresServer
) -> None:
    with closing(HistoryWorld(empty_redis_url, postgres.create("nul"))) as history:
        world = history.world
        good = finished(world, tags=("a",))
        # no request can contain such a model or tag
        bad = finished(world, tags=(NUL,))
        world.client.hset(keys.job(bad), "model", NUL)
        spend(world, "other", "a")
        let_days_pass(world.client)
        for author in ("key-1", NUL, "key-2"):
            world.store.run(bulk.pause(AuditContext(author, "r"), "deliver"))

        history.write_usage()
        while history.archiver._move_entries(settle_ms=-1000):
            pass

        assert (history.is_archived(good), history.is_live(bad)) == (True, True)
        assert [*usage(history, "other").values()] == [Sums(1, 1, 100_000)]
        assert usage(history) == {}
        archived = history.reader.audit(AuditFilter(), 9)
        assert [one.by for one in archived] == ["key-2", "key-1"]
        assert [one.by for one in world.store.run(read_audit(limit=9)).entries] == [NUL]


# usage ----------------------------------------------------------------------------------------


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


def test_the_usage_of_a_day_is_written_once_it_is_over(history: HistoryWorld) -> None:
    world = history.world
    finished(world, tags=("b", "a"), api_key="k1", credits=0.1)
    world.accept("other")
    world.fail(world.claim())
    history.write_usage()
    assert usage(history) == {}

    let_days_pass(world.client)
    before = counted(world)
    history.write_usage()

    assert usage(history) == before
    assert [*before.values()] == [Sums(1, 1, 100_000)]
    assert [*usage(history, "other").values()] == [Sums(1, 0, 0)]
    assert counted(world) == before, "it leaves Redis only by its expiry"
    assert history.reader.usage("", first=0, last=LAST, by=[]) == [((), Sums(2, 1, 100_000))]


def test_usage_that_was_written_and_not_recorded_is_written_again(history: HistoryWorld) -> None:
    finished(history.world)
    let_days_pass(history.world.client)
    before = counted(history.world)
    for _ in range(2):
        history.archiver.writer.begin()
        history.archiver.writer.write_usage([*before.items()])
    history.write_usage()
    history.write_usage()
    assert usage(history) == before


def test_usage_of_a_restored_backup_does_not_replace_what_was_written(
    history: HistoryWorld,
) -> None:
    world = history.world
    finished(world, tags=("a",), credits=0.1)
    let_days_pass(world.client)
    (backup,) = counted(world).items()
    kind = backup[0]
    written = Sums(3, 4, 300_000)
    history.archiver.writer.begin()
    history.archiver.writer.write_usage([(kind, written), (replace(kind, tags=("b",)), Sums(1))])
    history.write_usage()
    assert usage(history) == {kind: written, replace(kind, tags=("b",)): Sums(1)}

    # of each count the greater one: a backup may have one that was not written
    history.archiver.writer.write_usage([(kind, Sums(5, 1, 400_000))])
    assert usage(history)[kind] == Sums(5, 4, 400_000)


def erase_tags(history: HistoryWorld, tenant: str = "acme") -> None:
    """Delete the tags of a tenant's usage in Redis, as the eraser does."""
    call = erasures.erase_usage_tags(tenant, range(today(), today() - 10, -1))
    history.world.store.run(call)


def today() -> int:
    return day_at(round(time.time() * 1000))


def by_tags(found: dict[Kind, Sums]) -> list[tuple[tuple[str, ...], Sums]]:
    return [(kind.tags, sums) for kind, sums in found.items()]


def spend(world: World, tenant: str, *tags: str) -> None:
    world.accept(tenant, tags=tags, api_key="k1", credits=0.1)
    world.finish(world.claim())


def test_of_a_deleted_tenant_the_usage_stays_without_its_tags(history: HistoryWorld) -> None:
    world = history.world
    for tenant, tags in (("acme", ("a", "b")), ("acme", ("b",)), ("acme", ()), ("other", ("a",))):
        spend(world, tenant, *tags)
    let_days_pass(world.client)
    history.write_usage()
    spend(world, "acme", "a")
    spend(world, "acme")
    others = usage(history, "other")
    size = "combinations"

    erase_tags(history)
    history.archive()

    assert [(kind.tags, sums) for kind, sums in usage(history).items()] == [
        ((), Sums(3, 3, 300_000))
    ]
    assert sorted((kind.day, kind.tags, sums.jobs) for kind, sums in counted(world).items()) == [
        (today() - 2, (), 3),
        (today(), (), 2),
    ]
    assert world.client.hget(keys.run_counts("acme", today()), size) == "1"
    assert world.client.ttl(keys.run_counts("acme", today())) > 0
    assert usage(history, "other") == others
    assert [kind.tags for kind in counted(world, "other")] == [("a",)]
    (day,) = world.store.run(read_usage("acme", days=1)).days
    assert (day.total.calls, dict(day.tags)) == (5, {})
    assert not world.client.exists(keys.history_tenant_deletions())


def test_usage_without_tags_is_not_counted_twice_after_a_crash(history: HistoryWorld) -> None:
    world = history.world
    spend(world, "acme", "a")
    spend(world, "acme", "b")
    let_days_pass(world.client)
    history.archiver.writer.begin()
    # written, and then the process stops before it records that
    history.archiver.writer.write_usage([*counted(world).items()])
    erase_tags(history)
    assert world.store.run(run_counts.unwritten_run_counts(most=9)).names == ()

    for _ in range(2):
        history.write_usage()
        erase_tags(history)
        history.archive()
    assert [(kind.tags, sums) for kind, sums in usage(history).items()] == [
        ((), Sums(2, 2, 200_000))
    ]


def test_the_audit_keeps_of_a_deleted_tenant_that_it_happened_and_not_what(
    history: HistoryWorld,
) -> None:
    world = history.world

    def moved(tenant: str) -> None:
        context = AuditContext("key-1", "r")
        query = {"tenant": tenant, "tag": "secret"}
        world.store.run(
            bulk.bulk_transition(context, "cancel", [], deadline_seconds=9, query=query)
        )

    moved("acme")
    history.archive()
    moved("acme")
    moved("other")
    erase_tags(history)
    history.archive()

    found = history.reader.audit(AuditFilter(), 9)
    assert [(one.target, one.action, "secret" in str(one.detail)) for one in found] == [
        ("other", "jobs.cancel", True),
        ("acme", "jobs.cancel", False),
        ("acme", "jobs.cancel", False),
    ]
    # what is recorded later is about a new tenant of the same name
    moved("acme")
    history.archiver._next_audit = 0
    (newest,) = world.store.run(read_audit(limit=9)).entries
    assert "secret" in str(newest.detail)


def test_usage_of_many_days_and_tags_of_any_length_is_written(history: HistoryWorld) -> None:
    for day in range(12):
        finished(history.world, tags=tuple(f"{n}{day:x<62}" for n in range(10)))
        let_days_pass(history.world.client)
    history.write_usage()
    assert usage(history) == counted(history.world)
    assert len(usage(history)) == 12


def test_a_process_that_lost_its_turn_writes_no_usage(history: HistoryWorld) -> None:
    finished(history.world)
    let_days_pass(history.world.client)
    first = history.archiver
    first.writer.begin()
    history.new_archiver("worker-2").writer.begin()
    with pytest.raises(NotTheArchiver):
        first.writer.write_usage([*counted(history.world).items()])
    assert usage(history) == {}


def _handed_out(history: HistoryWorld) -> tuple[StoredRecord, ...]:
    """Return what the archiver would write next."""
    history.come_due()
    if not history.archiver.writer.has_begun:
        history.archiver.writer.begin()
    call = archive.next_archivable("worker-1", lock_seconds=20, lease_seconds=60, most=10)
    found = history.world.store.run(call)
    assert found is not None
    return found.jobs


def _retry(world: World, job_id: str) -> None:
    call = job_submission.rerun(job_id, tenant="acme", deadline_seconds=3600)
    assert isinstance(world.store.run(call), Job)


def restore(history: HistoryWorld, job_id: str) -> str:
    stored = history.reader.stored_job(job_id, "acme")
    assert stored is not None
    return history.world.store.run(archive.restore_job(*stored, not_after_ms=FAR))


def superseded(history: HistoryWorld, job_id: str) -> bool:
    return job_id in history.world.store.run(archive.find_superseded([job_id]))


def _set(history: HistoryWorld, job_id: str, **columns: int) -> None:
    with history.database.writing() as connection:
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(columns))
