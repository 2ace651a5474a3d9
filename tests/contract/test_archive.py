"""Final jobs between Redis and the history, on real databases: always in at least one of them."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from sandbox.wait import wait_until
from shared.errors import HistoryDown
from shared.jobs import Job
from shared.store import job_queries, keys
from tests.support.history import HistoryWorld, database_at
from tests.support.postgres import PostgresServer
from tests.support.store import World

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


def age(history: HistoryWorld) -> float:
    """Return for how many seconds the history is behind, as the alert sees it."""
    return history.world.store.run(job_queries.service_stats()).history_age


def test_a_history_that_refuses_writes_is_behind_until_a_job_moves(
    empty_redis_url: str, postgres: PostgresServer
) -> None:
    # given
    with closing(HistoryWorld(empty_redis_url, postgres.create("history"))) as history:
        history.archive()
        assert age(history) == 0
        job_id = finished(history.world)
        history.come_due()
        # when it can be read, so the job is read from Redis before the write fails
        may_write(history, postgres, "off")
        with pytest.raises(HistoryDown):
            history.archiver.archive()
        again = history.new_archiver("worker-1")
        # then
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
