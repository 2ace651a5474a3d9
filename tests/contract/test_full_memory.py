"""A Redis that is full takes no new jobs, and lets those that it has go on to their end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import StoreFull
from shared.jobs import Priority
from shared.store import reading, upkeep
from tests.queue_truth import assert_true
from tests.servers import redis_server
from tests.store import World


@pytest.fixture
def full(tmp_path: Path) -> Iterator[World]:
    """A world that has one job in each place, and no memory left."""
    hook = {"url": "https://x", "events": ["job.started", "job.succeeded", "job.canceled"]}
    with redis_server(tmp_path / "valkey", "--maxmemory", "64mb", "--appendonly", "no") as server:
        world = World(server.url)
        for _ in range(8):
            world.accept(webhook=hook, webhook_host="x")
        world.pass_deadline(world.accept(priority=Priority.LOW))
        world.client.config_set("maxmemory", 1)
        yield world
        world.close()


def test_no_new_job_is_taken_and_nothing_is_left_of_it(full: World) -> None:
    before = full.client.dbsize()
    with pytest.raises(StoreFull):
        full.accept()
    assert full.client.dbsize() == before


def test_all_other_moves_are_made(full: World) -> None:
    full.client.function_flush()
    full.finish(full.claim())
    full.release(full.claim())
    full.retry(full.claim(), wait_seconds=60)
    full.fail(full.claim())
    full.cancel(full.claim().job.id)
    full.claim(lease_seconds=0)
    swept = full.rescue()
    assert (swept.rescued, swept.failed) == (("claimed",), (("m", "deadline_exceeded"),))
    full.store.run(upkeep.renew("w", queue="generate", threads=1, lease_seconds=15, held=[]))
    full.settle(full.delivery(), "retry", wait_seconds=60)
    full.settle(full.delivery(), "delivered")
    assert full.store.run(reading.facts()).jobs["failed"] == 2
    full.limit(weight=2)
    full.store.run(upkeep.leave("w"))
    assert_true(full)


def test_jobs_are_taken_again_when_there_is_room(full: World) -> None:
    full.client.config_set("maxmemory", "64mb")
    full.accept()
