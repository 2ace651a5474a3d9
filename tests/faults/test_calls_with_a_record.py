"""Rows 1 and 4 where calls are submitted and polled: the provider's record settles what was bought.

The mode is `DARKROOM_ONEMIN_ASYNC`: once the record's id is noted, no death of a worker costs a
second call.
"""

import signal
import time
from collections.abc import Iterator

import pytest

from sandbox.wait import wait_until
from shared.jobs import State
from tests.conftest import InTime
from tests.faults.conftest import Audit, Tell
from tests.faults.crash_points import Trap
from tests.faults.service import LEASE_SECONDS, Service, service

pytestmark = pytest.mark.xdist_group("faults-4")

SPARE_SECONDS = 5.0
#: A worker has nothing to finish but what it says: far less than the rest of a call.
STOP_SECONDS = 3.0


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    asynchronous = {"DARKROOM_ONEMIN_ASYNC": "true", "DARKROOM_PROVIDER_TIMEOUT_SECONDS": "30"}
    where = tmp_path_factory.mktemp("records")
    with service(where, workers=1, concurrency=4, **asynchronous) as running:
        yield running


def polls(here: Service) -> int:
    return [one["kind"] for one in here.provider.calls()].count("result")


def wait_for_polls(here: Service, *, more_than: int) -> None:
    wait_until(lambda: polls(here) > more_than, "looks at the record")


def final_once(here: Service, job_id: str, *, unknown: int = 0) -> None:
    (job,) = here.wait_for_end([job_id])
    assert (job.state, job.unknown_outcomes) == (State.SUCCEEDED, unknown)
    assert here.paid(job_id) == 1 + unknown


@pytest.mark.parametrize(
    ("step", "unknown"),
    [
        # the record was made, and its id died with the worker: nobody can know
        ("before record_submitted", 1),
        ("after record_submitted", 0),
    ],
)
def test_a_worker_killed_when_the_record_is_noted_pays_for_no_further_call(
    here: Service, audit: Audit, tell: Tell, in_time: InTime, step: str, unknown: int
) -> None:
    # given
    here.wait_until_whole()
    here.provider.behave(latency_seconds=1)
    here.crash_points.set(Trap(step))
    # when
    job_id = here.create()
    wait_until(lambda: here.crash_points.sprung, "a worker in the trap")
    # then
    final_once(here, job_id, unknown=unknown)
    took = time.time() - here.crash_points.sprung_at
    in_time(took, LEASE_SECONDS + SPARE_SECONDS)
    audit(here, [job_id])
    tell(1, f"async: killed {step}", final_after=took, calls=1 + unknown, unknown=unknown)


def test_a_worker_killed_while_it_polls_pays_for_no_further_call(
    here: Service, audit: Audit, tell: Tell
) -> None:
    # given
    here.wait_until_whole()
    here.provider.behave(latency_seconds=3)
    before = polls(here)
    jobs = here.create_many(4)
    wait_for_polls(here, more_than=before + 4)
    # when
    began = time.monotonic()
    assert here.kill("generate-1")
    # then
    for job_id in jobs:
        final_once(here, job_id)
    took = time.monotonic() - began
    assert {here.job(one).worker_losses for one in jobs} == {1}
    audit(here, jobs)
    tell(1, "async: killed while it polls", jobs=4, final_after=took, calls=4, unknown=0)


def test_a_worker_that_stops_while_it_polls_leaves_at_once_and_loses_no_attempt(
    here: Service, audit: Audit, tell: Tell, in_time: InTime
) -> None:
    # given images that take far longer than a stop should
    here.wait_until_whole()
    here.provider.behave(latency_seconds=6)
    before = polls(here)
    jobs = here.create_many(4)
    wait_for_polls(here, more_than=before + 4)
    # when
    began = time.monotonic()
    stopped = here.send("generate-1", signal.SIGTERM)
    wait_until(lambda: here.pid("generate-1") != stopped, "the end of the worker")
    took = time.monotonic() - began
    # then
    in_time(took, STOP_SECONDS)
    for job_id in jobs:
        final_once(here, job_id)
    assert {(here.job(one).attempt, here.job(one).worker_losses) for one in jobs} == {(1, 0)}
    audit(here, jobs)
    tell(4, "async: SIGTERM while it polls", jobs=4, ended_after=took, calls=4)
