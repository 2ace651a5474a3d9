"""A Redis that is full takes no new jobs, and lets those that it has go on to their end."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import StoreFull
from shared.jobs import Job, Priority, State
from shared.store import job_queries, job_submission, maintenance
from shared.store.connection import connect_async
from shared.store.group_commit import GroupCommitClient
from tests.support.queue_invariants import assert_true
from tests.support.servers import redis_server
from tests.support.store import FAR, World


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
    full.store.run(maintenance.renew("w", queue="generate", threads=1, lease_seconds=15, held=[]))
    full.settle(full.delivery(), "retry", wait_seconds=60)
    full.settle(full.delivery(), "delivered")
    assert full.store.run(job_queries.service_stats()).jobs["failed"] == 2
    full.limit(weight=2)
    full.store.run(maintenance.deregister_worker("w"))
    assert_true(full)


def test_an_api_that_comes_up_meanwhile_reads_and_cancels_and_takes_nothing(full: World) -> None:
    # given
    job_id = full.claim().job.id
    full.client.function_flush()

    async def use() -> None:
        pool = connect_async(full.settings, connections=1)
        async with GroupCommitClient(pool, full.scripts, timeout_seconds=5) as committer:
            # when
            canceled, refused = await asyncio.gather(
                committer.run(job_submission.cancel(job_id, tenant="acme")),
                committer.run(job_submission.accept(full.new_job(), not_after_ms=FAR)),
                return_exceptions=True,
            )
            # then
            assert isinstance(canceled, Job)
            assert isinstance(refused, StoreFull)
            read = await committer.run(job_queries.read_job(job_id, tenant="acme"))
            assert read is not None
            assert read.job.state is State.CANCELED
        await pool.disconnect()

    asyncio.run(use())


def test_jobs_are_taken_again_when_there_is_room(full: World) -> None:
    full.client.config_set("maxmemory", "64mb")
    full.accept()
