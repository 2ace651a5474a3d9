"""A disk that fills: new jobs are refused before Valkey dies of it, and accepted again after."""

import io
from pathlib import Path

import pytest
import redis

from sandbox.devstack import disk_guard
from sandbox.devstack.console import Screen
from sandbox.devstack.disk_guard import DiskGuard, Verdict
from tests.support.servers import redis_server

PLENTY = disk_guard.ENOUGH_BYTES + disk_guard.RESERVE_BYTES
#: A script of the kind that a job in flight needs, and one of the kind that accepts.
GOES_ON = "#!lua flags=allow-oom\nreturn redis.call('SET', 'moved', 1)"
ACCEPTS = "#!lua\nreturn redis.call('SET', 'accepted', 1)"


def test_room_that_comes_and_goes_does_not_flicker() -> None:
    held = Verdict(short=False, reserve=True)
    assert disk_guard.judge(disk_guard.SHORT_BYTES, held) == held
    short = disk_guard.judge(disk_guard.SHORT_BYTES - 1, held)
    assert short == Verdict(short=True, reserve=True)
    assert disk_guard.judge(disk_guard.ENOUGH_BYTES - 1, short) == short
    assert disk_guard.judge(disk_guard.ENOUGH_BYTES, short) == held
    spent = disk_guard.judge(disk_guard.LAST_BYTES - 1, short)
    assert spent == Verdict(short=True, reserve=False)
    assert disk_guard.judge(PLENTY - 1, spent) == Verdict(short=False, reserve=False)
    assert disk_guard.judge(PLENTY, spent) == held


def test_new_jobs_are_refused_while_disk_is_short_and_others_go_on(tmp_path: Path) -> None:
    free = [PLENTY]
    told = io.StringIO()
    with redis_server(tmp_path / "redis") as server, redis.Redis.from_url(server.url) as client:
        watched = DiskGuard(
            tmp_path, server.port, Screen(console=True, stream=told), lambda _: free[0]
        )
        watched.check()
        assert (tmp_path / "redis" / "reserve").stat().st_size == disk_guard.RESERVE_BYTES
        client.eval(ACCEPTS, 0)

        free[0] = 0
        watched.check()
        assert not (tmp_path / "redis" / "reserve").exists()
        client.eval(GOES_ON, 0)
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.eval(ACCEPTS, 0)

        server.child.kill()
        server.start()
        watched.check()
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.eval(ACCEPTS, 0)

        free[0] = PLENTY
        watched.check()
        client.eval(ACCEPTS, 0)
        assert (tmp_path / "redis" / "reserve").exists()
    assert "only 0 MB are free" in told.getvalue()
    assert "new jobs are accepted again" in told.getvalue()


def test_a_valkey_that_starts_without_room_takes_no_job_before_the_first_look(
    tmp_path: Path,
) -> None:
    free = [PLENTY]
    screen = Screen(console=True, stream=io.StringIO())
    watched = DiskGuard(tmp_path, 0, screen, lambda _: free[0])
    assert watched.redis_options() == ()
    free[0] = 0
    options = watched.redis_options()
    with (
        redis_server(tmp_path / "redis", *options) as server,
        redis.Redis.from_url(server.url) as client,
    ):
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.eval(ACCEPTS, 0)
        client.eval(GOES_ON, 0)


def test_a_valkey_that_started_without_room_takes_jobs_when_there_is_some(tmp_path: Path) -> None:
    free = [0]
    screen = Screen(console=True, stream=io.StringIO())
    with redis_server(tmp_path / "redis") as server, redis.Redis.from_url(server.url) as client:
        watched = DiskGuard(tmp_path, server.port, screen, lambda _: free[0])
        client.config_set(*(word.removeprefix("--") for word in watched.redis_options()))
        # no look has seen that there was no room
        free[0] = PLENTY
        watched.check()
        client.eval(ACCEPTS, 0)


def test_a_limit_that_somebody_else_set_is_left_alone(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server, redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory", "123456789")
        watched = DiskGuard(
            tmp_path, server.port, Screen(console=True, stream=io.StringIO()), lambda _: PLENTY
        )
        watched.check()
        assert client.config_get("maxmemory")["maxmemory"] == "123456789"
