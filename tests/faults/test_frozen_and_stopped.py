"""Row 3: a worker frozen for two leases; row 4: workers stopped under jobs longer than a lease."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.wait import wait_until
from shared.jobs import State
from tests.conftest import InTime
from tests.faults.conftest import Audit, Tell
from tests.faults.crash_points import Trap
from tests.faults.service import LEASE_SECONDS, Service, service
from worker.lifecycle import GRACE_SECONDS

#: Beyond the grace, for the last words.
SPARE_SECONDS = 5.0

pytestmark = pytest.mark.xdist_group("faults-2")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("frozen"), workers=2) as running:
        running.provider.behave(latency_seconds=0.05)
        yield running


@pytest.mark.parametrize(
    ("step", "calls"),
    [
        ("before start_call", 1),
        ("before checkpoint", 2),
        *(
            pytest.param(step, 1, marks=pytest.mark.slow)
            for step in ("before put", "before succeed")
        ),
    ],
)
def test_the_late_writes_of_a_worker_that_was_frozen_are_refused(
    here: Service, audit: Audit, tell: Tell, step: str, calls: int
) -> None:
    # given
    here.wait_until_whole()
    here.crash_points.set(Trap(step, "pause"))
    job_id = here.create()
    wait_until(lambda: here.crash_points.sprung, "a worker at the step")
    # when it is frozen for two leases
    frozen, began = here.crash_points.caught, time.monotonic()
    os.kill(frozen, signal.SIGSTOP)
    try:
        (job,) = here.wait_for_end([job_id])
        took = time.monotonic() - began
        thaw = began + 2 * LEASE_SECONDS
        wait_until(lambda: time.monotonic() > thaw, "the end of two leases")
    finally:
        os.kill(frozen, signal.SIGCONT)
    here.crash_points.clear()
    # then it goes on, and changes nothing
    lost = f'"job_id": "{job_id}"'
    wait_until(lambda: here.logged('"job lost"', lost), "the loser's word")
    assert here.job(job_id) == job
    assert (job.state, here.paid(job_id)) == (State.SUCCEEDED, calls)
    audit(here, [job_id])
    tell(3, f"frozen {step}", final_after=took, calls=calls)


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, pytest.param(signal.SIGQUIT, marks=pytest.mark.slow)],
    ids=lambda one: one.name,
)
def test_workers_stopped_one_after_the_other_lose_no_lease_of_a_long_call(
    here: Service, audit: Audit, tell: Tell, number: signal.Signals
) -> None:
    # given calls that take longer than a lease
    here.wait_until_whole()
    here.provider.behave(latency_seconds=1.5 * LEASE_SECONDS)
    jobs = [here.create() for _ in range(20)]
    wait_until(lambda: len(here.calls(jobs)) >= 16, "threads at work")
    # when both are asked to stop, one of them five times
    began = time.monotonic()
    for name, times in (("generate-1", 1), ("generate-2", 5)):
        for _ in range(times):
            here.send(name, number)
    # then
    done = here.wait_for_end(jobs, seconds=60)
    took = time.monotonic() - began
    here.provider.behave(latency_seconds=0.05)
    assert {job.state for job in done} == {State.SUCCEEDED}
    assert {(job.worker_losses, job.attempt, here.paid(job.id)) for job in done} == {(0, 1, 1)}
    audit(here, jobs)
    tell(4, f"{number.name} once and five times", jobs=len(jobs), all_final_after=took, rescued=0)


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[Service]:
    """A service whose workers have the least grace, and fetch for longer."""
    grace = {
        "DARKROOM_PROVIDER_TIMEOUT_SECONDS": "1",
        "DARKROOM_DOWNLOAD_TIMEOUT_SECONDS": "60",
    }
    with service(tmp_path, workers=1, concurrency=4, **grace) as running:
        yield running


@pytest.mark.slow
def test_what_outlasts_the_grace_is_given_back_and_is_done_by_another_unpaid(
    hasty: Service, audit: Audit, tell: Tell, in_time: InTime
) -> None:
    # given downloads that last longer than the grace
    drip = {"fault": "slow_drip", "bytes": 10, "seconds": 1, "times": 1}
    hasty.provider.behave(default=drip)
    jobs = hasty.create_many(4)
    wait_until(lambda: downloads(hasty) >= 4, "the downloads")
    # when
    began = time.monotonic()
    stopped = hasty.send("generate-1", signal.SIGTERM)
    wait_until(lambda: hasty.pid("generate-1") != stopped, "the end of the worker")
    ended = time.monotonic() - began
    # then
    in_time(ended, 1 + GRACE_SECONDS + SPARE_SECONDS)
    done = hasty.wait_for_end(jobs)
    assert {job.state for job in done} == {State.SUCCEEDED}
    assert {(job.worker_losses, job.attempt, hasty.paid(job.id)) for job in done} == {(0, 1, 1)}
    audit(hasty, jobs)
    tell(4, "SIGTERM, longer than the grace of 11 s", jobs=4, ended_after=ended, paid=4)


def downloads(here: Service) -> int:
    return [call["kind"] for call in here.provider.calls()].count("download")
