"""A Redis that is backed up, restored and moved as docs/operating.md says."""

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from sandbox.waiting import wait_until
from shared.jobs import State
from shared.store.moves import Closed
from tests.servers import RedisServer, redis_server
from tests.store import World

HOOK = {"url": "https://x.example/", "events": ["job.succeeded"]}


@contextmanager
def world_of(server: RedisServer) -> Iterator[World]:
    with closing(World(server.url)) as world:
        yield world


@pytest.fixture
def old(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "old") as server:
        yield server


def fill(world: World) -> dict[str, State]:
    """Put jobs of several states into a Redis; gives each with its state."""
    jobs = [world.accept(webhook=HOOK, webhook_host="x.example") for _ in range(4)]
    world.finish(world.claim())
    world.checkpoint(world.call(world.claim()))
    world.cancel(jobs[3])
    return states(world, jobs)


def states(world: World, jobs: list[str]) -> dict[str, State]:
    return {job: world.read(job).job.state for job in jobs}


def is_settled(world: World, *flags: str) -> bool:
    facts = world.client.info("persistence")
    return not any(int(facts[flag]) for flag in flags)


def is_copied(world: World) -> bool:
    # what is waited for is what this connection wrote last
    world.client.set("copied", 1)
    return int(str(world.client.execute_command("WAIT", 1, 100))) == 1


def back_up(world: World, directory: Path, to: Path) -> Path:
    world.client.bgsave()
    wait_until(lambda: is_settled(world, "rdb_bgsave_in_progress"), "a backup")
    to.mkdir()
    return Path(shutil.copy(directory / "dump.rdb", to / "dump.rdb"))


def test_a_restored_redis_has_every_job_and_gives_none_out_before_it_is_resumed(
    old: RedisServer, tmp_path: Path
) -> None:
    with world_of(old) as world:
        before = fill(world)
        back_up(world, tmp_path / "old", tmp_path / "new")

    # without the log first, and the log turned on afterwards
    with redis_server(tmp_path / "new", "--appendonly", "no") as first, world_of(first) as world:
        world.client.hset("{dr}:gate", "paused:generate", 1)
        world.client.config_set("appendonly", "yes")
        progress = ("aof_rewrite_in_progress", "aof_rewrite_scheduled")
        wait_until(lambda: is_settled(world, *progress), "a log that has everything")

    with redis_server(tmp_path / "new") as restored, world_of(restored) as world:
        assert states(world, list(before)) == before
        # what was bought is fetched all the same, and nothing else is begun
        world.lose_lease(next(job for job, state in before.items() if state is State.FETCHING))
        world.rescue()
        assert world.claim(nonce="bought").job.state is State.FETCHING
        found = world.try_claim(nonce="new")
        assert isinstance(found, Closed)
        assert found.reason == "paused"
        assert world.delivery().type == "job.succeeded"


def test_a_backup_beside_a_log_that_is_missing_comes_up_empty(
    old: RedisServer, tmp_path: Path
) -> None:
    with world_of(old) as world:
        fill(world)
        back_up(world, tmp_path / "old", tmp_path / "new")

    with redis_server(tmp_path / "new") as restored, world_of(restored) as world:
        assert world.client.dbsize() == 0


def test_a_redis_moves_by_replication_with_all_that_it_has(
    old: RedisServer, tmp_path: Path
) -> None:
    copies = ("--replicaof", "127.0.0.1", str(old.port))
    with world_of(old) as world, redis_server(tmp_path / "new", *copies) as new:
        before = fill(world)
        wait_until(lambda: is_copied(world), "a replica that has everything")
        with world_of(new) as moved:
            moved.client.replicaof("NO", "ONE")
            old.child.kill()
            assert states(moved, list(before)) == before
            assert moved.claim(nonce="moved").job.state is State.CLAIMED
