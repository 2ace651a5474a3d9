"""Many calls in one round trip, and what becomes of each when Redis goes away."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sandbox.wait import wait_until
from shared.errors import OutcomeUnknown, StoreDown
from shared.jobs import Job, JobSpec
from shared.store import command, job_queries, job_submission, keys
from shared.store.client import Store
from shared.store.connection import connect_async
from shared.store.durability import Replicas
from shared.store.functions import LIBRARIES_KEPT
from shared.store.group_commit import MOST, GroupCommitClient
from tests.conftest import InTime
from tests.support.servers import RedisServer, redis_server
from tests.support.store import FAR, World

TIMEOUT = 0.5
#: Where nothing is in the way: what is slow is the machine.
AMPLE = 10.0


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RedisServer]:
    """A Valkey that may be frozen or killed."""
    with redis_server(tmp_path / "valkey", "--appendonly", "no") as server:
        yield server


@asynccontextmanager
async def serving(
    world: World, *, timeout_seconds: float = AMPLE
) -> AsyncIterator[GroupCommitClient]:
    settings = world.settings.model_copy(update={"redis_timeout_seconds": timeout_seconds})
    pool = connect_async(settings, connections=4)
    replicas = Replicas.from_settings(settings)
    async with GroupCommitClient(
        pool, world.scripts, timeout_seconds=timeout_seconds, replicas=replicas
    ) as committer:
        yield committer
    await pool.disconnect()


def commit(
    world: World,
    use: Callable[[GroupCommitClient], Awaitable[None]],
    *,
    timeout_seconds: float = AMPLE,
) -> None:
    async def main() -> None:
        async with serving(world, timeout_seconds=timeout_seconds) as committer:
            await use(committer)

    asyncio.run(main())


def accept(world: World) -> command.Command[job_submission.Accepted | job_submission.NotAccepted]:
    return job_submission.accept(world.new_job(), not_after_ms=FAR)


def test_what_waits_goes_out_together(world: World) -> None:
    async def use(committer: GroupCommitClient) -> None:
        await committer.run(accept(world))
        world.client.config_resetstat()
        answers = await asyncio.gather(*[committer.run(accept(world)) for _ in range(2 * MOST)])
        assert all(isinstance(answer, job_submission.Accepted) for answer in answers)

    commit(world, use)
    stats = world.client.info("commandstats")
    assert stats["cmdstat_fcall"]["calls"] == 2 * MOST
    reads = world.client.info("stats")["total_reads_processed"]
    assert reads < MOST
    assert world.client.zcard(keys.tenant_jobs("acme")) == 2 * MOST + 1


def test_each_caller_gets_its_own_answer(world: World) -> None:
    ids = [world.accept() for _ in range(50)]

    async def use(committer: GroupCommitClient) -> None:
        found = await asyncio.gather(
            *[committer.run(job_queries.read_job(one, tenant="acme")) for one in ids]
        )
        assert [one.job.id for one in found if one] == ids

    commit(world, use)


def test_scripts_that_redis_forgot_are_loaded_again(world: World) -> None:
    async def use(committer: GroupCommitClient) -> None:
        for _ in range(2):
            world.client.function_flush()
            batch: list[command.Command[object]] = [
                accept(world),
                accept(world),
                job_queries.service_stats(),
            ]
            answers = await asyncio.gather(*[committer.run(one) for one in batch])
            assert isinstance(answers[0], job_submission.Accepted)
            assert isinstance(answers[2], job_queries.ServiceStats)

    commit(world, use)
    assert world.client.zcard(keys.tenant_jobs("acme")) == 4


def test_a_refused_connection_is_told_at_once(own: RedisServer, in_time: InTime) -> None:
    world = World(own.url)
    own.child.kill()

    async def use(committer: GroupCommitClient) -> None:
        began = time.monotonic()
        with pytest.raises(StoreDown):
            await committer.run(accept(world))
        in_time(time.monotonic() - began, 0.25)

    commit(world, use)
    world.close()


def test_a_redis_that_was_started_again_is_found_again_without_an_error(own: RedisServer) -> None:
    world = World(own.url)

    async def use(committer: GroupCommitClient) -> None:
        await committer.run(accept(world))
        own.child.kill()
        own.start()
        assert isinstance(await committer.run(accept(world)), job_submission.Accepted)

    commit(world, use)
    world.close()


def test_a_frozen_redis_leaves_a_write_unknown_and_the_next_undone(
    own: RedisServer, in_time: InTime
) -> None:
    world = World(own.url)

    async def use(committer: GroupCommitClient) -> None:
        await committer.run(accept(world))
        own.child.send(signal.SIGSTOP)
        began = time.monotonic()
        sent = asyncio.create_task(committer.run(accept(world)))
        wait = asyncio.create_task(_one_loop_later(committer, accept(world)))
        read = asyncio.create_task(committer.run(job_queries.read_job("job_x", tenant="acme")))
        with pytest.raises(OutcomeUnknown):
            await sent
        with pytest.raises(StoreDown):
            await wait
        with pytest.raises(StoreDown):
            await read
        in_time(time.monotonic() - began, 4 * TIMEOUT)
        own.child.send(signal.SIGCONT)
        # no reply of before is taken for the answer of a later call
        facts = await _insist(committer, job_queries.service_stats())
        assert isinstance(facts, job_queries.ServiceStats)
        assert isinstance(await committer.run(accept(world)), job_submission.Accepted)

    commit(world, use, timeout_seconds=TIMEOUT)
    world.close()


async def _one_loop_later(
    committer: GroupCommitClient,
    call: command.Command[job_submission.Accepted | job_submission.NotAccepted],
) -> object:
    """Ask when the batch before has gone."""
    while not committer._batch:  # noqa: ASYNC110
        await asyncio.sleep(0)
    return await committer.run(call)


async def _insist(
    committer: GroupCommitClient, call: command.Command[job_queries.ServiceStats]
) -> object:
    deadline = time.monotonic() + 30
    while True:
        try:
            return await committer.run(call)
        except StoreDown:
            assert time.monotonic() < deadline


def test_a_connection_that_was_killed_costs_nobody_an_answer(world: World) -> None:
    async def use(committer: GroupCommitClient) -> None:
        for _ in range(5):
            await committer.run(accept(world))
            world.client.client_kill_filter(_type="normal", skipme=True)
            batch = [committer.run(accept(world)) for _ in range(10)]
            answers = await asyncio.gather(*batch)
            assert all(isinstance(answer, job_submission.Accepted) for answer in answers)

    commit(world, use)
    assert world.client.zcard(keys.tenant_jobs("acme")) == 55


def test_a_caller_that_goes_away_disturbs_no_other(world: World) -> None:
    async def use(committer: GroupCommitClient) -> None:
        tasks = [asyncio.create_task(committer.run(accept(world))) for _ in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(answer, job_submission.Accepted) for answer in answers[1::2])
        assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[::2])
        assert isinstance(await committer.run(accept(world)), job_submission.Accepted)

    commit(world, use)


def test_a_call_that_cannot_be_written_fails_alone(world: World) -> None:
    async def use(committer: GroupCommitClient) -> None:
        broken = job_submission.accept(
            world.new_job(spec=JobSpec("\ud800", {"prompt": "p"})), not_after_ms=FAR
        )
        answers = await asyncio.gather(
            committer.run(accept(world)),
            committer.run(broken),
            committer.run(accept(world)),
            return_exceptions=True,
        )
        assert isinstance(answers[1], UnicodeEncodeError)
        assert isinstance(answers[0], job_submission.Accepted)
        assert isinstance(answers[2], job_submission.Accepted)
        assert isinstance(await committer.run(accept(world)), job_submission.Accepted)

    commit(world, use)


def test_who_waits_when_it_closes_is_told(own: RedisServer) -> None:
    world = World(own.url)

    async def main() -> None:
        async with serving(world, timeout_seconds=30) as committer:
            await committer.run(accept(world))
            own.child.send(signal.SIGSTOP)
            sent = asyncio.create_task(committer.run(accept(world)))
            waiting = asyncio.create_task(_one_loop_later(committer, accept(world)))
            while not (committer._batch and committer._queue):  # noqa: ASYNC110
                await asyncio.sleep(0)
        own.child.send(signal.SIGCONT)
        with pytest.raises(OutcomeUnknown):
            await sent
        with pytest.raises(StoreDown):
            await waiting

    asyncio.run(main())
    world.close()


def test_a_thread_sends_again_when_its_connection_was_killed(world: World) -> None:
    job_id = world.accept()
    world.client.client_kill_filter(_type="normal", skipme=False)
    assert world.claim().job.id == job_id
    assert world.client.zcard(keys.queue_leases("jobs")) == 1


def test_a_thread_loads_the_scripts_that_redis_forgot(world: World) -> None:
    world.accept()
    world.client.function_flush()
    assert world.claim()


class Slower(Store):
    """The store of a process that takes libraries away just after another one has."""

    def _delete(self, library: str) -> None:
        super()._delete(library)
        super()._delete(library)


def test_two_threads_that_take_the_same_old_libraries_away_do_not_hinder_each_other(
    world: World,
) -> None:
    # given
    world.store.run(job_queries.service_stats())  # this process's own library is there
    for number in range(LIBRARIES_KEPT):
        name = f"darkroom_{number}"
        head = f"#!lua name={name}\n"
        world.client.function_load(f"{head}redis.register_function('{name}', function() end)")
    store = Slower(world.client, world.scripts)
    # when
    world.client.function_delete(world.scripts.library_name)
    store.run(job_queries.service_stats())
    # then
    (kept,) = world.client.function_list(library=world.scripts.PATTERN)
    assert world.scripts.library_name in kept


def test_a_thread_is_told_of_a_redis_that_is_away_or_frozen(own: RedisServer) -> None:
    world = World(own.url, redis_timeout_seconds=0.2)
    job_id = world.accept()
    own.child.send(signal.SIGSTOP)
    with pytest.raises(OutcomeUnknown):
        world.accept()
    with pytest.raises(StoreDown):
        world.read(job_id)
    own.child.send(signal.SIGCONT)
    wait_until(lambda: _answers(world), "Redis to answer again")
    own.child.kill()
    with pytest.raises(StoreDown):
        world.read(job_id)
    world.close()


def _answers(world: World) -> bool:
    try:
        world.store.run(job_queries.service_stats())
    except StoreDown:
        return False
    return True


def test_a_cancel_whose_reply_was_lost_is_answered_as_the_first(world: World) -> None:
    call = job_submission.cancel(world.accept(), tenant="acme")
    world.store.run(call)

    async def use(committer: GroupCommitClient) -> None:
        assert isinstance(await committer.run(call), Job)

    commit(world, use)
