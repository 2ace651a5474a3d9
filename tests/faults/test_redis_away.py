"""Rows 6 and 7: Redis is killed, away, frozen, cut off or full, while jobs run."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager

import pytest

from sandbox.wait import wait_until
from shared.jobs import State
from tests.conftest import InTime
from tests.faults.conftest import Audit, Tell
from tests.faults.injection import Refusals, absent, for_seconds, frozen
from tests.faults.service import LEASE_SECONDS, Service, service
from tests.support.store import memory_limit

pytestmark = pytest.mark.xdist_group("faults-3")

JOBS = 12
CALL_SECONDS = 1.0
ANSWER_SECONDS = 0.25
HEALTH_SECONDS = 0.05
RESUME_SECONDS = 10.0
FROZEN_ANSWER_SECONDS = 2.0


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("redis"), workers=2) as running:
        yield running


@pytest.fixture
def jobs(here: Service) -> list[str]:
    """Jobs of which most are at the provider."""
    here.wait_until_whole()
    here.provider.behave(latency_seconds=CALL_SECONDS)
    jobs = here.create_many(JOBS)
    wait_until(lambda: len(here.calls(jobs)) >= JOBS // 2, "jobs at the provider")
    return jobs


def accepts(here: Service) -> bool:
    return here.http.post("/v1/jobs", json=here.body()).status_code == 202


def resumed(here: Service, jobs: list[str], *, since: float) -> float:
    """Wait until all is done, and another job too; return the seconds since Redis was back."""
    wait_until(lambda: accepts(here), "jobs to be accepted again")
    here.wait_for_end([*jobs, here.create()])
    return time.monotonic() - since


def undisturbed(here: Service, jobs: list[str]) -> None:
    """Check that each job was done in its one attempt, and paid for once."""
    done = [here.job(one) for one in jobs]
    assert {job.state for job in done} == {State.SUCCEEDED}
    assert {(job.worker_losses, job.attempt, here.paid(job.id)) for job in done} == {(0, 1, 1)}


@pytest.mark.slow
def test_a_redis_that_was_killed_idle_is_used_again(
    here: Service, audit: Audit, tell: Tell
) -> None:
    # given
    here.wait_until_whole()
    before = here.create()
    here.wait_for_end([before])
    # when
    with absent(here, "redis"):
        pass
    # then
    took = resumed(here, [before], since=time.monotonic())
    audit(here, [before])
    tell(6, "Redis killed, idle", resumed_after=took)


Injection = Callable[[Service], AbstractContextManager[object]]


def killed(here: Service) -> AbstractContextManager[object]:
    return absent(here, "redis")


def frozen_up(here: Service) -> AbstractContextManager[object]:
    return frozen(here, "redis")


WORDS: Mapping[Injection, str] = {killed: "killed", frozen_up: "frozen"}


@pytest.mark.parametrize(
    ("harm", "seconds", "answer_seconds"),
    [
        (killed, 0.0, ANSWER_SECONDS),
        # longer than a lease
        (killed, 1.5 * LEASE_SECONDS, ANSWER_SECONDS),
        (frozen_up, 1.5 * LEASE_SECONDS, FROZEN_ANSWER_SECONDS),
        pytest.param(killed, 10.0, ANSWER_SECONDS, marks=pytest.mark.long),
        pytest.param(killed, 30.0, ANSWER_SECONDS, marks=pytest.mark.long),
        pytest.param(frozen_up, 30.0, FROZEN_ANSWER_SECONDS, marks=pytest.mark.long),
    ],
)
def test_jobs_outlive_an_absence_of_redis_each_done_once(
    here: Service,
    jobs: list[str],
    audit: Audit,
    tell: Tell,
    in_time: InTime,
    *,
    harm: Injection,
    seconds: float,
    answer_seconds: float,
) -> None:
    # when
    refusals = Refusals(here)
    with harm(here):
        for_seconds(seconds, refusals.ask)
    # then
    took = resumed(here, jobs, since=time.monotonic())
    undisturbed(here, jobs)
    audit(here, jobs)
    # what was away for longer than a lease is given one more, lest living workers lose theirs
    in_time(took, RESUME_SECONDS + (LEASE_SECONDS if seconds > LEASE_SECONDS else 0))
    in_time(refusals.slowest, answer_seconds)
    in_time(refusals.slowest_health, HEALTH_SECONDS)
    tell(
        6,
        f"Redis {WORDS[harm]} for {seconds:g} s under {JOBS} jobs",
        resumed_after=took,
        slowest_503=f"{refusals.slowest * 1000:.0f} ms",
        slowest_health=f"{refusals.slowest_health * 1000:.0f} ms",
        rescued=0,
    )


def test_jobs_outlive_resets_of_every_connection(
    here: Service, jobs: list[str], audit: Audit, tell: Tell, in_time: InTime
) -> None:
    # when
    cut = 0

    def cut_off() -> None:
        nonlocal cut
        cut += int(here.world.client.client_kill_filter(_type="normal"))

    for_seconds(2, cut_off)
    # then
    took = resumed(here, jobs, since=time.monotonic())
    undisturbed(here, jobs)
    audit(here, jobs)
    in_time(took, RESUME_SECONDS)
    tell(6, "connections reset for 2 s", resets=cut, resumed_after=took)


def test_a_full_redis_takes_no_new_job_and_lets_those_that_run_end(
    here: Service, jobs: list[str], audit: Audit, tell: Tell
) -> None:
    # when
    with memory_limit(here.world.client, 1):
        wait_until(lambda: not accepts(here), "the API to notice")
        refusals = Refusals(here)
        assert refusals.ask().json()["code"] == "redis_full"
        done = here.wait_for_end(jobs)
        # kombu asks each second for what a full Redis refuses
        for_seconds(3, refusals.ask)
    # then
    took = resumed(here, jobs, since=time.monotonic())
    assert {job.state for job in done} == {State.SUCCEEDED}
    undisturbed(here, jobs)
    audit(here, jobs)
    lines = said(here, "maybe_refresh_binding_expiry")
    assert all(count <= 1 for count in lines.values()), lines
    tell(
        7,
        "Redis full under jobs",
        resumed_after=took,
        slowest_503=f"{refusals.slowest * 1000:.0f} ms",
        lines=max(lines.values(), default=0),
    )


def said(here: Service, word: str) -> dict[str, int]:
    """Count the lines with a word, by log."""
    logs = sorted((here.data / "logs").glob("*.log"))
    return {one.name: one.read_text(errors="replace").count(word) for one in logs}
