"""What a call costs does not depend on how much is queued, nor for how many."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from bench.benchmarks.growth import SHOWN
from shared.store import job_queries
from tests.support.growth import (
    Backlog,
    Callers,
    api_process,
    commands,
    delete_short_lived_keys,
    fill,
    finish_all,
    table,
    used,
    usual_spec,
)
from tests.support.servers import redis_server
from tests.support.store import World, list_jobs


@contextmanager
def diskless(directory: Path) -> Iterator[World]:
    """Run a Valkey of its own that keeps nothing and has no limit."""
    with redis_server(directory, "--appendonly", "no", "--maxmemory", "0") as server:
        world = World(server.url, max_queue=10**9)
        yield world
        world.close()


def per_call(world: World) -> dict[str, dict[str, int]]:
    """Count the commands inside one accept, claim, read and listing."""
    world.claim()  # the scripts are known from here on
    new, held = world.new_job("t0", spec=usual_spec(0)), []
    job_id = world.accept("t0")
    page = list_jobs("t0", job_queries.Filter(), limit=5, scan_limit=1000)
    world.store.run(page)
    world.read(job_id, "t0")
    return {
        "accept": commands(world, lambda: world.accept("t0", id=new.id, spec=new.spec)),
        "claim": commands(world, lambda: held.append(world.claim())),
        "read": commands(world, lambda: world.read(job_id, "t0")),
        "list": commands(world, lambda: world.store.run(page)),
    }


def test_the_commands_of_a_call_are_as_many_at_20_000_jobs_and_500_tenants_as_at_100_and_10(
    world: World,
) -> None:
    fill(world, 100, 10)
    few = per_call(world)
    world.client.flushall()
    fill(world, 20_000, 500)
    assert per_call(world) == few
    assert sum(few["accept"].values()) <= 29
    assert sum(few["claim"].values()) <= 43


def test_the_benchmark_shows_each_kind_of_call_and_reads_only_queued_jobs(world: World) -> None:
    backlog = Backlog(world, jobs=60, tenants=3)
    for _ in range(4):  # claims more jobs than there were at first
        backlog.round()
    assert {one.kind for one in backlog.times()} == set(SHOWN)
    assert len(backlog.jobs) == 60
    assert all(world.read(job_id, tenant).rank is not None for job_id, tenant in backlog.jobs)


class Bytes(NamedTuple):
    """What Redis needs for a job: queued, done, and to recognize the provider's answer to it."""

    queued: float
    done: float
    answer: float


def bytes_a_job(world: World, *, jobs: int, tenants: int) -> Bytes:
    empty = used(world)
    fill(world, jobs, tenants)
    delete_short_lived_keys(world)
    queued = used(world)
    finish_all(world)
    delete_short_lived_keys(world)
    done = used(world)
    names = world.client.scan_iter("[{]dr}:answers:*", count=1000)
    answers = sum(world.client.memory_usage(name, samples=0) or 0 for name in names)
    return Bytes((queued - empty) / jobs, (done - answers - empty) / jobs, answers / jobs)


def test_a_job_takes_little_of_redis_memory(tmp_path: Path) -> None:
    with diskless(tmp_path) as world:
        fill(world, 20, 4)
        finish_all(world)  # the scripts take memory too
        found = bytes_a_job(world, jobs=600, tenants=4)
    assert found.queued <= 1350
    assert found.done <= 1950
    assert found.answer <= 200


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_million_queued_over_a_thousand_tenants_cost_each_call_what_a_thousand_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ExitStack() as stack:
        few = stack.enter_context(diskless(tmp_path / "few"))
        many = stack.enter_context(diskless(tmp_path / "many"))
        small = Backlog(few, jobs=1_000, tenants=4)
        empty = used(many)
        large = Backlog(many, jobs=1_000_000, tenants=1_000)
        per_job = (used(many) - empty) / 1_000_000
        for _ in range(500):  # in turn: what else the machine does meets both
            small.round()
            large.round()
        callers = [
            Callers(one, stack.enter_context(api_process(one.world, tmp_path / f"{number}.log")))
            for number, one in enumerate((small, large))
        ]
        for _ in range(500):
            for caller in callers:
                caller.round()
        felt = [one.times() for one in callers]
        with capsys.disabled():
            print(f"\nmicroseconds of Redis at 1,000 | at 1,000,000, {per_job:.0f} bytes a job")  # noqa: T201
            print(table(small.times(), large.times()))  # noqa: T201
            print("microseconds that the caller waits")  # noqa: T201
            print(table(*felt))  # noqa: T201
        # held to what callers wait: Redis' own part is small, and small enough that the processor's
        # cache, which a million jobs leave, is a third of it
        for few_jobs, many_jobs in zip(*felt, strict=True):
            assert many_jobs.p50 <= 1.3 * few_jobs.p50, few_jobs.kind
        for few_jobs, many_jobs in zip(small.times(), large.times(), strict=True):
            assert many_jobs.p50 <= 2.5 * few_jobs.p50, few_jobs.kind
        assert per_job <= 1200


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_that_are_done_take_what_the_sizing_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with diskless(tmp_path) as world:
        found = bytes_a_job(world, jobs=100_000, tenants=100)
    with capsys.disabled():
        print(f"\nbytes a job of 100,000: {found}")  # noqa: T201
    assert found.queued <= 1200
    assert found.done <= 1850
    assert found.answer <= 150
