"""Archiving while the history, a record or a value is at fault."""

from contextlib import closing
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from sandbox.wait import wait_until
from shared.errors import HistoryDown
from shared.store import (
    bulk,
    job_queries,
    job_submission,
    keys,
)
from shared.store.audit import AuditContext, AuditFilter, read_audit
from shared.store.run_counts import Sums
from tests.support.archive import finished, live, may_write, spend, usage
from tests.support.history import HistoryWorld, database_at
from tests.support.postgres import PostgresServer
from tests.support.run_counts import let_days_pass


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
