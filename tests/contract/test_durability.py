"""With replicas a write is believed when they have it; a real replica is frozen and thawed."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from sandbox.wait import wait_until
from shared.errors import OutcomeUnknown
from shared.jobs import State
from shared.store import job_queries, job_submission
from tests.contract.test_group_commit import accept, serving
from tests.support.servers import RedisServer, redis_server
from tests.support.store import World


@pytest.fixture(scope="module")
def primary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("primary"), "--appendonly", "no") as server:
        yield server


@pytest.fixture(scope="module")
def replica(
    tmp_path_factory: pytest.TempPathFactory, primary: RedisServer
) -> Iterator[RedisServer]:
    follow = ("--appendonly", "no", "--replicaof", f"127.0.0.1 {primary.port}")
    with redis_server(tmp_path_factory.mktemp("replica"), *follow) as server:
        yield server


@pytest.fixture
def world(primary: RedisServer, replica: RedisServer) -> Iterator[World]:
    world = World(primary.url, redis_replicas=1, redis_timeout_seconds=1)
    replica.child.send(signal.SIGCONT)

    def follows() -> bool:
        return int(world.client.execute_command("WAIT", 1, 100)) == 1

    wait_until(follows, "the replica to follow")
    yield world
    replica.child.send(signal.SIGCONT)
    world.close()


def test_a_write_that_a_replica_has_is_believed(world: World, replica: RedisServer) -> None:
    job = world.accept()
    followed = World(replica.url)
    assert followed.read(job).job.state is State.QUEUED
    followed.close()


def test_a_write_that_no_replica_has_is_unknown_and_can_be_sent_again(
    world: World, replica: RedisServer
) -> None:
    new = world.new_job()
    call = job_submission.accept(new, not_after_ms=2**53)
    replica.child.send(signal.SIGSTOP)
    with pytest.raises(OutcomeUnknown, match="0 of 1 replicas"):
        world.store.run(call)
    replica.child.send(signal.SIGCONT)
    assert isinstance(world.store.run(call), job_submission.Accepted)


def test_the_api_waits_for_replicas_too_and_reads_continue(
    world: World, replica: RedisServer
) -> None:
    async def use() -> None:
        async with serving(world, timeout_seconds=2) as committer:
            assert isinstance(await committer.run(accept(world)), job_submission.Accepted)
            replica.child.send(signal.SIGSTOP)
            written = asyncio.create_task(committer.run(accept(world)))
            read = asyncio.create_task(committer.run(job_queries.service_stats()))
            with pytest.raises(OutcomeUnknown, match="0 of 1 replicas"):
                await written
            assert (await read).now_ms > 0

    asyncio.run(use())
