"""Final jobs between Redis and the history, on real databases: always in at least one of them."""

from collections.abc import Iterator
from typing import Any

import pytest

from shared.jobs import Job
from shared.store import job_queries, keys
from tests.support.history import HistoryWorld
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
