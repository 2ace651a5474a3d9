"""Row 25: the clock of Redis is put back or on, while jobs run and wait.

Valkey runs under libfaketime, whose offset is a file that can be written while it runs.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.wait import wait_until
from shared.jobs import State
from tests.deploy.debian import library
from tests.faults.conftest import Tell
from tests.support.cluster import LEASE_SECONDS, Cluster, fleet
from tests.support.store import World

pytestmark = pytest.mark.xdist_group("faults-1")

RATE = 600


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    """The file that says by how many seconds Redis' clock is off."""
    file = tmp_path / "clock"
    file.write_text("+0\n")
    return file


@pytest.fixture
def here(tmp_path: Path, clock: Path) -> Iterator[Cluster]:
    faked = {
        "LD_PRELOAD": str(library("libfaketimeMT.so.1", "libfaketime")),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with fleet(tmp_path / "fleet", redis_environment=faked) as of:
        of.changes = {"provider_rate_per_minute": RATE}
        yield of


@pytest.mark.parametrize(
    "seconds", [-3600, *(pytest.param(one, marks=pytest.mark.slow) for one in (3600, -20))]
)
def test_a_clock_that_steps_holds_nothing_up_and_pays_for_nothing_twice(
    here: Cluster, clock: Path, tell: Tell, seconds: int
) -> None:
    # given calls that take longer than a lease, and jobs that wait
    here.provider.behave(latency_seconds=2 * LEASE_SECONDS)
    api, worker = here.api(), here.worker("generate", threads=4)
    with here.client(api.url) as http:
        jobs = [_ask(http, number) for number in range(12)]
        _wait_for_calls(here, 4)
        # when
        clock.write_text(f"{seconds:+d}\n")
        stepped = time.monotonic()
        here.provider.behave(latency_seconds=0.05)
        before = len(_calls(here))
        _wait_for_calls(here, before + 1)
        resumed = time.monotonic() - stepped
        # then
        world = World(here.redis.url)
        wait_until(lambda: _are_final(world, jobs), "every job to be final", seconds=60)
        done = [world.read(one, "").job for one in jobs]
        assert {job.state for job in done} == {State.SUCCEEDED}
        assert {(job.attempt, job.worker_losses, job.unknown_outcomes) for job in done} == {
            (1, 0, 0)
        }
        assert sum(call["paid"] for call in _calls(here)) == len(jobs)
        world.close()
        here.settled(jobs, [], api, worker)
    tell(25, f"Redis' clock steps by {seconds} s", jobs=len(jobs), next_call_after=resumed)


def _ask(http: httpx.Client, number: int) -> str:
    body = {"input": {"prompt": f"clock {number}", "megapixels": "0.25"}}
    made = http.post("/v1/jobs", json=body)
    assert made.status_code == 202, made.text
    return str(made.json()["id"])


def _calls(here: Cluster) -> list[dict[str, Any]]:
    return [one for one in here.provider.calls() if one["kind"] == "generate"]


def _wait_for_calls(here: Cluster, count: int) -> None:
    wait_until(lambda: len(_calls(here)) >= count, f"{count} calls", seconds=30)


def _are_final(world: World, jobs: list[str]) -> bool:
    return all(world.read(one, "").job.state.is_final for one in jobs)
