"""Row 1: a worker is killed -9 at each step of a job; row 5: by one job, again and again."""

import signal
import time
from collections.abc import Iterator

import psutil
import pytest

from sandbox.wait import wait_until
from shared.errors import ErrorCode
from shared.jobs import State
from tests.conftest import InTime
from tests.faults.conftest import Audit, Tell
from tests.faults.crash_points import Trap
from tests.faults.service import LEASE_SECONDS, Service, service

pytestmark = pytest.mark.xdist_group("faults-1")

#: Step, what happens there, paid calls, unknown outcomes.
STEPS = [
    pytest.param("before claim", "kill", 1, 0, marks=pytest.mark.slow),
    ("after claim", "kill", 1, 0),
    ("before start_call", "kill", 1, 0),
    # the note is made before the first byte is sent: nobody can know
    ("before provider", "kill", 1, 1),
    pytest.param("before provider", "kill soon", 2, 1, marks=pytest.mark.slow),
    ("before checkpoint", "kill", 2, 1),
    ("after checkpoint", "kill", 1, 0),
    pytest.param("before download", "kill soon", 1, 0, marks=pytest.mark.slow),
    pytest.param("after download", "kill", 1, 0, marks=pytest.mark.slow),
    pytest.param("before put", "kill soon", 1, 0, marks=pytest.mark.slow),
    ("after put", "kill", 1, 0),
    ("after succeed", "kill", 1, 0),
]
SPARE_SECONDS = 5.0


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("steps"), workers=2) as running:
        yield running


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid)


def slow_down(here: Service, step: str) -> None:
    """Make what is to be interrupted last long enough, once."""
    drip = {"fault": "slow_drip", "bytes": 100, "seconds": 0.5, "times": 1}
    script = {"before provider": [{"fault": "ok", "latency_seconds": 1}], "before download": [drip]}
    here.provider.behave(*script.get(step, ()), latency_seconds=0.1)
    if step == "before put":
        here.send("s3", signal.SIGSTOP)


@pytest.mark.parametrize(("step", "action", "paid", "unknown"), STEPS)
def test_a_job_survives_the_death_of_its_worker_at_each_step(
    here: Service,
    audit: Audit,
    tell: Tell,
    in_time: InTime,
    *,
    step: str,
    action: str,
    paid: int,
    unknown: int,
) -> None:
    # given
    here.wait_until_whole()
    slow_down(here, step)
    here.crash_points.set(Trap(step, "kill soon" if action == "kill soon" else "kill"))
    # when
    job_id = here.create()
    wait_until(lambda: here.crash_points.sprung, "a worker in the trap")
    wait_until(lambda: is_gone(here.crash_points.caught), "its death")
    here.send("s3", signal.SIGCONT)
    # then
    (job,) = here.wait_for_end([job_id])
    took = time.time() - here.crash_points.sprung_at
    in_time(took, LEASE_SECONDS + SPARE_SECONDS)
    assert (job.state, job.unknown_outcomes) == (State.SUCCEEDED, unknown)
    prompt = job.spec.input["prompt"]
    assert sum(call["paid"] for call in here.provider.calls() if call["prompt"] == prompt) == paid
    audit(here, [job_id])
    tell(1, f"killed {step}, {action}", final_after=took, calls=paid, unknown=unknown)


def test_a_job_that_always_takes_its_worker_down_is_failed_and_others_are_unharmed(
    here: Service, audit: Audit, tell: Tell
) -> None:
    # given others that are at the provider, by both workers
    here.wait_until_whole()
    here.provider.behave(latency_seconds=2)
    here.crash_points.set(Trap("before provider", word="poison", always=True))
    others = [here.create() for _ in range(6)]
    wait_until(
        lambda: {here.job(one).state for one in others} == {State.CALLING}, "all at the provider"
    )
    # when
    began = time.time()
    poison = here.create(word="poison")
    # then
    (job,) = here.wait_for_end([poison], seconds=60)
    took = time.time() - began
    here.crash_points.clear()
    assert job.state is State.FAILED
    assert job.error_code in {ErrorCode.INTERNAL, ErrorCode.PROVIDER_UNKNOWN_OUTCOME}
    done = here.wait_for_end(others)
    assert {one.state for one in done} == {State.SUCCEEDED}
    beside = sum(one.unknown_outcomes for one in done)
    assert beside > 0, "nobody was at the provider beside it"
    audit(here, [poison, *others])
    tell(
        5,
        "a job that kills its workers",
        failed_after=took,
        worker_losses=job.worker_losses,
        beside=beside,
    )


@pytest.mark.slow
def test_a_job_that_takes_workers_down_before_it_is_sold_is_failed_after_three(
    here: Service, audit: Audit, tell: Tell
) -> None:
    # given what kills before the provider is asked, so that nothing unknown ends it earlier
    here.wait_until_whole()
    here.crash_points.set(Trap("after claim", always=True))
    # when
    began = time.time()
    job_id = here.create()
    # then
    (job,) = here.wait_for_end([job_id], seconds=60)
    took = time.time() - began
    here.crash_points.clear()
    assert (job.state, job.error_code, job.worker_losses) == (State.FAILED, ErrorCode.INTERNAL, 3)
    audit(here, [job_id])
    tell(5, "a job that kills before the call", failed_after=took, worker_losses=job.worker_losses)
