"""Row 10: the clock of a worker is an hour off.

An S3 storage refuses what it signs (RequestTimeTooSkewed), so another worker has to store what it
bought; with every clock wrong, images wait after their checkpoint until the clocks are right.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.wait import wait_until
from shared.jobs import State
from tests.faults.conftest import Audit, Tell
from tests.faults.service import LEASE_SECONDS, Service, service

pytestmark = [pytest.mark.xdist_group("faults-1"), pytest.mark.slow]


@pytest.fixture(params=[3600, pytest.param(-3600, marks=pytest.mark.long)])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    clock = f"generate-1={request.param}"
    with service(tmp_path, workers=2, concurrency=2, FAULTS_CLOCK=clock) as running:
        yield running


def test_a_worker_whose_clock_is_an_hour_off_expires_and_doubles_nothing(
    here: Service, audit: Audit, tell: Tell
) -> None:
    # given calls that take longer than a lease
    here.provider.behave(latency_seconds=1.5 * LEASE_SECONDS)
    # when
    began = time.monotonic()
    jobs = [here.create(deadline_seconds=600) for _ in range(6)]
    wait_until(lambda: len(here.calls(jobs)) >= 4, "both workers at it")
    done = here.wait_for_end(jobs, seconds=60)
    took = time.monotonic() - began
    # then
    assert {job.state for job in done} == {State.SUCCEEDED}
    assert {(job.worker_losses, job.attempt, here.paid(job.id)) for job in done} == {(0, 1, 1)}
    assert here.logged("this host's clock differs from Redis' clock")
    audit(here, jobs)
    tell(
        10, "a clock an hour off", jobs=len(jobs), calls=len(here.calls(jobs)), all_final_after=took
    )
