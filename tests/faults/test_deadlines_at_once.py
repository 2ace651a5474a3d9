"""Row 24: the deadlines of thousands of jobs pass in one instant."""

import time
from contextlib import closing
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from sandbox.wait import wait_until
from shared.store import keys
from tests.conftest import InTime
from tests.faults.conftest import Tell
from tests.support.cluster import Cluster, fleet
from tests.support.store import World
from tests.support.tls import TLS

pytestmark = pytest.mark.xdist_group("faults-1")

THREADS = 16
#: How far the provider's clock of an arrival may be from Redis', and the way of a call to it.
CLOCK_SECONDS = 0.25
HELD_MICROSECONDS = 30_000
DEADLINES = keys.deadlines()


@pytest.mark.parametrize("jobs", [2_000, pytest.param(20_000, marks=pytest.mark.long)])
def test_nothing_is_bought_after_a_deadline_that_thousands_share(
    tmp_path: Path, tell: Tell, in_time: InTime, jobs: int
) -> None:
    with (
        fleet(tmp_path) as of,
        # the machine may be busy with other tests
        closing(World(of.redis.url, redis_timeout_seconds=30)) as world,
    ):
        # given
        of.provider.behave(latency_seconds=0.3)
        with httpx.Client(
            base_url=of.api().url, headers=_as_operator(of), timeout=90, verify=TLS
        ) as http:
            _queue(http, of, jobs)
            worker = of.worker("generate", threads=THREADS)
            wait_until(lambda: world.client.zcard(DEADLINES) == jobs, "all queued", seconds=60)
            late = _set_deadlines(world, seconds=5)
            world.client.config_set("slowlog-log-slower-than", HELD_MICROSECONDS)
            world.client.slowlog_reset()
            # when
            http.post("/ops/v1/queues/generate/resume").raise_for_status()
        wait_until(lambda: _now(world) > late, "the deadline", seconds=30)
        passed = time.monotonic()
        wait_until(lambda: not _count(world, "queued", "running"), "all final", seconds=60)
        took = time.monotonic() - passed
        held, slow = _slow_commands(world)
        # then
        at = _called_at(of)
        assert at
        assert max(at) <= late / 1000 + CLOCK_SECONDS, "bought after the deadline"
        failed = _count(world, "failed")
        assert failed + _count(world, "succeeded") == jobs
        wait_until(lambda: _reported(worker.metrics) == failed, "the metrics to have all")
        in_time(took, 10)
        in_time(held, HELD_MICROSECONDS + 1)
        figures = {"jobs": jobs, "bought": len(at), "all_final_after": took}
        tell(24, "deadlines at one instant", **figures, redis_held=held / 1e6, by=slow)


def _as_operator(of: Cluster) -> dict[str, str]:
    return {"Authorization": f"Bearer {of.keys.ops_key}"}


def _queue(http: httpx.Client, of: Cluster, jobs: int) -> None:
    """Queue jobs while nothing is given out."""
    http.post("/ops/v1/queues/generate/pause").raise_for_status()
    tenant = {"Authorization": f"Bearer {of.keys.api_key}"}
    for start in range(0, jobs, 10_000):
        one = {"input": {"prompt": "late", "megapixels": "0.25"}}
        batch = {"jobs": [one] * min(10_000, jobs - start)}
        http.post("/v1/batches", json=batch, headers=tenant).raise_for_status()


def _called_at(of: Cluster) -> list[float]:
    calls = [one for one in of.provider.calls() if one["kind"] == "generate"]
    return [datetime.fromisoformat(one["at"]).timestamp() for one in calls]


def _now(world: World) -> int:
    seconds, micros = world.client.time()
    return int(seconds) * 1000 + int(micros) // 1000


def _set_deadlines(world: World, *, seconds: float) -> int:
    """Let all queued jobs have one deadline, so many seconds from now; return it."""
    late = _now(world) + int(seconds * 1000)
    ids = list(map(str, world.client.zrange(DEADLINES, 0, -1)))
    for start in range(0, len(ids), 1000):
        with world.client.pipeline(transaction=False) as pipe:
            for one in ids[start : start + 1000]:
                pipe.hset(keys.job(one), "deadline", late)
                pipe.zadd(DEADLINES, {one: late}, xx=True)
            pipe.execute()
    return late


def _count(world: World, *statuses: str) -> int:
    counts = world.client.hmget(keys.counts(), list(statuses))
    return sum(int(count or 0) for count in counts)


def _slow_commands(world: World) -> tuple[int, list[str]]:
    """Return the microseconds of the slowest command in Redis' slow log, and all commands in it."""
    slow = world.client.slowlog_get(100)
    commands = [bytes(one["command"]).decode()[:40] for one in slow]
    return max((int(one["duration"]) for one in slow), default=0), commands


def _reported(url: str) -> int:
    lines = httpx.get(url, timeout=10).text.splitlines()
    mark = 'error_code="deadline_exceeded"'
    of_it = [one for one in lines if one.startswith("darkroom_jobs_finished_total") and mark in one]
    return int(sum(float(line.rpartition(" ")[2]) for line in of_it))
