"""Row 2: three workers, and each second one of them is killed -9."""

import random
import time
from pathlib import Path

import pytest

from sandbox.waiting import wait_until
from shared.errors import ErrorCode
from shared.jobs import State
from shared.settings import inherited_environment
from tests.faults.conftest import Audit, Tell
from tests.faults.service import Service, service

pytestmark = pytest.mark.xdist_group("faults-2")

NAMES = ("generate-1", "generate-2", "generate-3")
SEEDS = range(int(inherited_environment().get("SEEDS", "20")))
KILL_EVERY_SECONDS = 1.0
LATENCY_SECONDS = 0.3


def survive(here: Service, seed: int, count: int, *, seconds: float) -> tuple[list[str], int]:
    """Do jobs while workers are killed; gives the jobs and the number of kills.

    A kill each second, but none before some job has ended since the last: where a worker takes
    seconds to start, nothing would ever be done.
    """
    dice, kills, ended = random.Random(seed), 0, -1
    here.provider.behave(latency_seconds=LATENCY_SECONDS)
    jobs = here.create_many(count)
    left = set(jobs)
    next_kill = time.monotonic()

    def are_final() -> bool:
        nonlocal kills, ended, next_kill
        if time.monotonic() >= next_kill and count - len(left) > ended:
            kills += here.kill(dice.choice(NAMES)) is not None
            next_kill, ended = time.monotonic() + KILL_EVERY_SECONDS, count - len(left)
        left.difference_update({one for one in left if here.job(one).state.is_final})
        return not left

    wait_until(are_final, f"the end of {count} jobs", seconds=seconds)
    return jobs, kills


def check(here: Service, audit: Audit, tell: Tell, seed: int, count: int) -> None:
    began = time.monotonic()
    jobs, kills = survive(here, seed, count, seconds=3 * count)
    took = time.monotonic() - began
    done = [here.job(one) for one in jobs]
    # a job whose workers died twice at the provider, or three times, is failed and says so
    failed = [job.error_code for job in done if job.state is not State.SUCCEEDED]
    assert set(failed) <= {ErrorCode.PROVIDER_UNKNOWN_OUTCOME, ErrorCode.INTERNAL}
    audit(here, jobs)
    paid = sum(here.paid(one) for one in jobs)
    unknown = sum(job.unknown_outcomes for job in done)
    tell(
        2,
        f"random kills, seed {seed}",
        jobs=count,
        kills=kills,
        took=took,
        calls=paid,
        unknown=unknown,
        failed=len(failed),
    )


@pytest.mark.timeout(600)
def test_jobs_survive_a_kill_each_second(tmp_path: Path, audit: Audit, tell: Tell) -> None:
    with service(tmp_path, workers=3, concurrency=4) as here:
        check(here, audit, tell, seed=1, count=100)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", SEEDS)
def test_500_jobs_survive_a_kill_each_second(
    tmp_path: Path, audit: Audit, tell: Tell, seed: int
) -> None:
    with service(tmp_path, workers=3, concurrency=4) as here:
        check(here, audit, tell, seed=seed, count=500)
