"""A Redis that is backed up, restored and moved as docs/operating.md says."""

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from sandbox.servers import valkey_program
from sandbox.wait import wait_until
from shared.jobs import State
from shared.store import keys
from shared.store.transitions import Closed
from tests.support.servers import RedisServer, redis_server
from tests.support.store import World

ROOT = Path(__file__).parents[2]
DOCUMENTED = 'sh -c "$(cat deploy/redis/restore.sh)" restore'
WEBHOOK = {"url": "https://x.example/", "events": ["job.succeeded"]}


@contextmanager
def world_of(server: RedisServer) -> Iterator[World]:
    with closing(World(server.url)) as world:
        yield world


@pytest.fixture
def old(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "old") as server:
        yield server


def fill(world: World) -> dict[str, State]:
    """Put jobs of several states into a Redis; return each with its state."""
    jobs = [world.accept(webhook=WEBHOOK, webhook_host="x.example") for _ in range(4)]
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


def restore(
    folder: Path, backup: bytes, *before: str, checker: str = "valkey-check-rdb"
) -> subprocess.CompletedProcess[str]:
    """Run the documented command, with `folder` in place of the container's /data."""
    checks = folder.parent / "bin"
    checks.mkdir(exist_ok=True)
    if not (checks / checker).exists():
        # as in the image: the server does it when it is called so
        (checks / checker).symlink_to(valkey_program())
    command = " ".join((*before, DOCUMENTED, shlex.quote(str(folder))))
    given = folder.parent / "given.rdb"
    given.write_bytes(backup)
    with given.open("rb") as backup_file:
        return subprocess.run(
            ["sh", "-c", command],  # noqa: S607  the operator's own shell
            cwd=ROOT,
            env={"PATH": f"{checks}:{os.defpath}"},
            stdin=backup_file,
            capture_output=True,
            text=True,
            check=False,
        )


def refused(
    folder: Path, backup: bytes, why: str, *before: str, checker: str = "valkey-check-rdb"
) -> None:
    """Check that a restore ends with a sentence, and changes nothing."""
    kept = content(folder)
    told = restore(folder, backup, *before, checker=checker)
    assert told.returncode == 1
    assert "Not restored, and nothing was changed: " in told.stderr
    assert why in told.stderr
    assert content(folder) == kept
    assert not (folder / "appendonlydir.restoring").exists()


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def backup(old: RedisServer, tmp_path: Path) -> bytes:
    with world_of(old) as world:
        fill(world)
        return back_up(world, tmp_path / "old", tmp_path / "backup").read_bytes()


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """The data of a Redis that is stopped."""
    with redis_server(tmp_path / "live") as server, world_of(server) as world:
        world.accept()
    return tmp_path / "live"


def test_the_documents_restore_by_the_script_that_is_tried_here() -> None:
    text = (ROOT / "docs" / "operating.md").read_text("utf-8")
    assert text.count(DOCUMENTED) >= 3  # compose, Kubernetes, elsewhere


def test_a_restored_redis_has_every_job_and_gives_none_out_before_it_is_resumed(
    old: RedisServer, live: Path, tmp_path: Path
) -> None:
    with world_of(old) as world:
        before = fill(world)
        backup = back_up(world, tmp_path / "old", tmp_path / "backup").read_bytes()
    replaced = content(live / "appendonlydir")

    started = int(time.time())
    told = restore(live, backup)

    assert told.returncode == 0, told.stderr
    (aside,) = live.glob("appendonlydir.before-restore-*")
    assert content(aside) == replaced
    assert str(aside) in told.stdout
    for _ in range(2):  # as restored, and as Redis has written it since
        with redis_server(live) as restored, world_of(restored) as world:
            assert states(world, list(before)) == before
            paused_ms = int(str(world.client.hget(keys.gate(), "paused:generate")))
            assert started <= paused_ms / 1000 <= time.time()
    with redis_server(live) as restored, world_of(restored) as world:
        # what was bought is fetched all the same, and nothing else is begun
        world.lose_lease(next(job for job, state in before.items() if state is State.FETCHING))
        world.rescue()
        assert world.claim(nonce="bought").job.state is State.FETCHING
        found = world.try_claim(nonce="new")
        assert isinstance(found, Closed)
        assert found.reason == "paused"
        assert world.delivery().type == "job.succeeded"


def test_a_restored_queue_is_paused_in_the_database_that_holds_it(
    old: RedisServer, tmp_path: Path
) -> None:
    with closing(World(in_database(old, 12))) as world:
        fill(world)
        backup = back_up(world, tmp_path / "old", tmp_path / "backup").read_bytes()
    (tmp_path / "fresh").mkdir()
    assert restore(tmp_path / "fresh", backup).returncode == 0
    with (
        redis_server(tmp_path / "fresh") as restored,
        closing(World(in_database(restored, 12))) as world,
        world_of(restored) as default,
    ):
        found = world.try_claim(nonce="new")
        assert isinstance(found, Closed)
        assert found.reason == "paused"
        assert default.client.dbsize() == 0


def in_database(server: RedisServer, number: int) -> str:
    return f"{server.url.rpartition('/')[0]}/{number}"


def test_a_redis_that_lost_its_folder_is_restored_as_well(backup: bytes, tmp_path: Path) -> None:
    (tmp_path / "fresh").mkdir()
    assert restore(tmp_path / "fresh", backup).returncode == 0
    with redis_server(tmp_path / "fresh") as restored, world_of(restored) as world:
        assert world.client.dbsize() > 1


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda _: b"", "is empty"),
        (lambda rdb: rdb[:-9], "is damaged: "),
        (lambda rdb: rdb[:200] + bytes([rdb[200] ^ 1]) + rdb[201:], "is damaged"),
        (lambda rdb: b"x" + rdb, "is damaged: [offset 9] Wrong signature"),
        (lambda rdb: rdb + b"more", "does not end with its checksum"),
    ],
    ids=["empty", "cut", "flipped", "foreign", "longer"],
)
def test_a_backup_that_cannot_be_restored_leaves_everything_as_it_is(
    backup: bytes, live: Path, damage: Callable[[bytes], bytes], why: str
) -> None:
    refused(live, damage(backup), why)


@pytest.mark.skipif(
    shutil.which("valkey-check-rdb", path=os.defpath) is not None,
    reason="this machine has valkey-check-rdb",
)
def test_a_backup_of_valkey_that_only_redis_could_check_is_not_called_damaged(
    backup: bytes, live: Path
) -> None:
    refused(live, backup, "Put valkey-check-rdb on the PATH", checker="redis-check-rdb")


def test_a_backup_of_another_redis_is_not_restored(live: Path, tmp_path: Path) -> None:
    with redis_server(tmp_path / "other") as server, world_of(server) as world:
        world.client.set("something", "else")
        other = back_up(world, tmp_path / "other", tmp_path / "foreign")
    refused(live, other.read_bytes(), "has no data of Darkroom")


def test_a_disk_without_room_for_the_backup_leaves_everything_as_it_is(
    backup: bytes, live: Path
) -> None:
    refused(live, backup, "could not be copied", "ulimit", "-f", "8;")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
@pytest.mark.parametrize("folder", [".", "appendonlydir"])
def test_data_of_another_user_are_not_replaced_by_what_that_user_cannot_read(
    backup: bytes, live: Path, folder: str
) -> None:
    os.chown(live / folder, 65534, 65534)
    refused(live, backup, "run this as the user that Redis runs as")


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
