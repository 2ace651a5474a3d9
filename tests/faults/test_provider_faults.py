"""Row 11: the provider is too busy, fails, breaks off, is unpaid or knows no key; then it is well.

What each single reply means stands in `test_generate`; how the gate moves, in `test_gate`.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

import psutil
import pytest

from sandbox.subprocesses import Child
from sandbox.wait import wait_until
from shared.errors import ErrorCode
from shared.jobs import State
from shared.store import job_queries
from tests.conftest import InTime
from tests.faults.conftest import Audit, Tell
from tests.faults.injection import for_seconds
from tests.faults.service import Service, service

pytestmark = pytest.mark.xdist_group("faults-3")

RATE = 300
BURST = RATE // 10
INTERVAL_SECONDS = 60 / (RATE - BURST)
THREADS = 16
NEW_KEY = "a-key-that-was-bought-today"
CIRCUIT_SECONDS = 10.0
#: How far the provider's clock of an arrival may be from that of the gate.
CLOCK_SECONDS = 0.5


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    rate = {"DARKROOM_PROVIDER_RATE_PER_MINUTE": str(RATE)}
    with service(tmp_path_factory.mktemp("provider"), workers=2, concurrency=8, **rate) as running:
        yield running


def waiting_on(here: Service, job_id: str) -> object:
    return here.http.get(f"/v1/jobs/{job_id}").json()["waiting_on"]


def wait_until_held(here: Service, jobs: list[str], reason: str, *, seconds: float = 10) -> None:
    """Wait until all jobs are back in the queue, for this reason."""

    def is_held() -> bool:
        found = [here.world.read(one, here.tenant) for one in jobs]
        return {(one.job.state, one.gate) for one in found} == {(State.QUEUED, reason)}

    wait_until(is_held, f"every job to wait for {reason}", seconds=seconds)


def keeps_the_rate(here: Service, jobs: list[str]) -> bool:
    """Return whether in no stretch of time more calls came than its burst and its length allow."""
    times = [datetime.fromisoformat(one["at"]).timestamp() for one in here.calls(jobs)]
    return all(
        end - first + 1
        <= BURST + 1 + (times[end] - times[first] + CLOCK_SECONDS) / INTERVAL_SECONDS
        for first in range(len(times))
        for end in range(first, len(times))
    )


def untried(here: Service, jobs: list[str]) -> None:
    """Check that each job succeeded with its first attempt, paid for once."""
    done = [here.job(one) for one in jobs]
    assert {job.state for job in done} == {State.SUCCEEDED}
    assert {(job.attempt, job.worker_losses, here.paid(job.id)) for job in done} == {(1, 0, 1)}


def test_a_storm_of_429_costs_no_attempt_and_few_calls(
    here: Service, audit: Audit, tell: Tell
) -> None:
    # given: told to wait a second at first, later not for how long
    busy = {"fault": "status", "status": 429}
    here.provider.behave(*[{**busy, "retry_after": 1}] * THREADS, default=busy)
    began = time.monotonic()
    jobs = here.create_many(20)
    # when
    wait_until_held(here, jobs, "provider_rate")
    for_seconds(3, lambda: None)
    refused, lasted = len(here.calls(jobs)), time.monotonic() - began
    here.provider.behave()
    # then: those that were out when the first refusal came, and a probe after each pause
    here.wait_for_end(jobs)
    assert 1 < refused <= THREADS + 1 + lasted
    assert keeps_the_rate(here, jobs)
    untried(here, jobs)
    audit(here, jobs)
    tell(11, "429 with and without Retry-After", jobs=20, refused=refused, lasted=lasted)


@pytest.mark.parametrize(
    ("kind", "bad", "outcome", "end"),
    [
        # whoever is unlucky five times, or meets two unknown outcomes, is failed and says so
        ("500", {"fault": "status", "status": 500}, "500", (ErrorCode.PROVIDER_DOWN, 5, 0)),
        (
            "a reset",
            {"fault": "drop", "reset": True},
            "drop",
            (ErrorCode.PROVIDER_UNKNOWN_OUTCOME, 2, 2),
        ),
    ],
    ids=["500", "reset"],
)
def test_what_fails_for_half_of_the_calls_is_paid_twice_at_most(
    here: Service,
    audit: Audit,
    tell: Tell,
    kind: str,
    bad: Mapping[str, object],
    outcome: str,
    end: tuple[ErrorCode, int, int],
) -> None:
    # given: every other call, those that are made again too
    here.provider.behave(*[bad, "ok"] * 100)
    # when
    jobs = here.create_many(12)
    done = here.wait_for_end(jobs, seconds=60)
    # then
    calls = here.calls(jobs)
    failed = sum(call["outcome"] == outcome for call in calls)
    assert failed == -(-len(calls) // 2)
    unknown = sum(job.unknown_outcomes for job in done)
    assert unknown == (failed if outcome == "drop" else 0)
    unheard = [job for job in done if job.state is not State.SUCCEEDED]
    assert {(job.error_code, job.attempt, job.unknown_outcomes) for job in unheard} <= {end}
    audit(here, jobs)
    paid = sum(here.paid(one) for one in jobs)
    told = {"calls": len(calls), "failed": failed, "unknown": unknown, "paid": paid}
    tell(11, f"{kind} for half the calls", jobs=12, **told, unheard=len(unheard))


def test_the_circuit_opens_when_everything_fails_and_closes_alone(
    here: Service, audit: Audit, tell: Tell, in_time: InTime
) -> None:
    # given
    here.provider.behave(default={"fault": "status", "status": 503})
    # when
    began = time.monotonic()
    jobs = here.create_many(12)
    wait_until(
        lambda: here.world.store.run(job_queries.service_stats()).circuit == 1,
        "the circuit to open",
    )
    opened = time.monotonic() - began
    in_time(opened, CIRCUIT_SECONDS)
    wait_until_held(here, jobs, "provider_down")
    out = len(here.calls(jobs))
    here.provider.behave()
    # then
    healed = time.monotonic()
    here.wait_for_end(jobs, seconds=60)
    closed = time.monotonic() - healed
    assert out <= THREADS + 2
    assert {here.job(one).state for one in jobs} == {State.SUCCEEDED}
    assert {here.paid(one) for one in jobs} == {1}
    audit(here, jobs)
    tell(11, "503 to all, then well", failed=out, opened_after=opened, all_final_after=closed)


@pytest.mark.parametrize(
    ("retry_after", "pause"),
    [(1, 1.0), pytest.param(None, 30.0, marks=pytest.mark.long)],
)
def test_an_account_without_credits_is_probed_and_goes_on_when_it_has_some(
    here: Service, audit: Audit, tell: Tell, retry_after: int | None, pause: float
) -> None:
    # given
    asked = {} if retry_after is None else {"retry_after": retry_after}
    here.provider.behave(default={"fault": "status", "status": 406, **asked})
    began = time.monotonic()
    jobs = here.create_many(12)
    # when
    wait_until_held(here, jobs, "provider_credits")
    assert waiting_on(here, jobs[0]) == "provider_credits"
    for_seconds(2 * pause, lambda: None)
    probes, lasted = len(here.calls(jobs)), time.monotonic() - began
    here.provider.behave()
    # then
    healed = time.monotonic()
    here.wait_for_end(jobs, seconds=pause + 60)
    took = time.monotonic() - healed
    assert 1 < probes <= THREADS + 1 + lasted / pause
    untried(here, jobs)
    audit(here, jobs)
    tell(11, f"no credits, probed every {pause:g} s", calls=probes, all_final_after=took)


@contextmanager
def worker_with(here: Service, key: str) -> Iterator[None]:
    """Run one more worker, as one of the stack is run, but with another key."""
    pid = here.pid("generate-1")
    like = psutil.Process(pid)
    another = {"DARKROOM_ONEMIN_API_KEY": key, "DARKROOM_METRICS_PORT": "0"}
    command = [word.replace("generate-1@", "generate-new@") for word in like.cmdline()]
    log = here.data / "logs" / "generate-new.log"
    with Child(command, log, environment={**like.environ(), **another}):
        yield


@pytest.mark.slow
def test_jobs_that_no_key_can_pay_for_are_done_by_a_worker_with_a_new_key(
    here: Service, audit: Audit, tell: Tell
) -> None:
    # given
    here.provider.behave()
    here.provider.good_keys([NEW_KEY])
    jobs = here.create_many(12)
    wait_until_held(here, jobs, "provider_auth")
    refused = [call["outcome"] for call in here.provider.calls()].count("401")
    # when
    with worker_with(here, NEW_KEY):
        began = time.monotonic()
        here.wait_for_end(jobs, seconds=60)
        took = time.monotonic() - began
    # then
    assert 1 <= refused <= THREADS
    untried(here, jobs)
    assert not here.logged(NEW_KEY)
    here.provider.good_keys(None)
    # the old key is asked about every 15 s, and taken again
    here.wait_for_end([here.create()], seconds=60)
    audit(here, jobs)
    tell(11, "every key dead, then a new one", refused=refused, all_final_after=took)


@pytest.mark.long
def test_jobs_wait_while_every_key_is_dead_and_go_on_when_one_lives(
    here: Service, audit: Audit, tell: Tell
) -> None:
    # given
    here.provider.behave()
    here.provider.good_keys(["another"])
    jobs = here.create_many(12)
    # when
    wait_until_held(here, jobs, "provider_auth")
    assert waiting_on(here, jobs[0]) == "provider_auth"
    refused = [call["outcome"] for call in here.provider.calls()].count("401")
    here.provider.good_keys(None)
    # then: dead keys are asked about every 15 s
    healed = time.monotonic()
    here.wait_for_end(jobs, seconds=60)
    took = time.monotonic() - healed
    assert 1 <= refused <= THREADS
    untried(here, jobs)
    audit(here, jobs)
    tell(11, "every key dead, then alive", refused=refused, all_final_after=took)
