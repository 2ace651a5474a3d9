"""Row 13: the storage is gone, silent, slow, says 503, refuses our keys or has lost its bucket."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from sandbox.wait import wait_until
from shared.errors import ErrorCode
from shared.jobs import State
from shared.store import keys
from tests.faults.conftest import Audit, Tell
from tests.faults.injection import (
    absent,
    black_hole,
    bucket_missing,
    for_seconds,
    other_keys,
    slow,
    unavailable,
)
from tests.faults.service import Service, service

pytestmark = pytest.mark.xdist_group("faults-3")

JOBS = 24
THREADS = 8
#: One attempt at a silent storage, until all that was at the provider has been tried there too.
TIMEOUT_SECONDS = 1.0
SETTLE_SECONDS = TIMEOUT_SECONDS + 0.5
RETURN_SECONDS = 60.0

Injection = Callable[[Service], AbstractContextManager[object]]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    quick = {"DARKROOM_STORAGE_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS)}
    where = tmp_path_factory.mktemp("storage")
    with service(where, workers=1, concurrency=THREADS, **quick) as running:
        running.provider.behave(latency_seconds=0.3)
        yield running


def gone(here: Service) -> AbstractContextManager[object]:
    return absent(here, "s3")


def silent(here: Service) -> AbstractContextManager[object]:
    return black_hole(here, "s3")


def is_held(here: Service) -> bool:
    return bool(here.world.client.hexists(keys.gate(), "hold:storage"))


@pytest.mark.parametrize(
    ("harm", "seconds"),
    [
        (gone, 4.0),
        pytest.param(silent, 3.0, marks=pytest.mark.slow),
        (unavailable, 3.0),
        pytest.param(gone, 10.0, marks=pytest.mark.long),
        pytest.param(other_keys, 4.0, marks=pytest.mark.long),
        pytest.param(bucket_missing, 4.0, marks=pytest.mark.long),
        pytest.param(gone, 60.0, marks=pytest.mark.long),
        pytest.param(silent, 60.0, marks=pytest.mark.long),
    ],
)
def test_what_is_bought_waits_for_the_storage_and_nothing_more_is_bought(
    here: Service, audit: Audit, tell: Tell, harm: Injection, seconds: float
) -> None:
    # given
    here.wait_until_whole()
    with harm(here):
        # when
        began = time.monotonic()
        jobs = here.create_many(JOBS)
        wait_until(lambda: is_held(here), "new calls to be held")
        held = len(here.calls(jobs))
        for_seconds(SETTLE_SECONDS, lambda: None)
        bought = len(here.calls(jobs))
        # then: only what was at the provider by then
        assert bought <= held + THREADS
        assert waits_for_storage(here, jobs)
        canceled = goes_on_otherwise(here, jobs)
        left = seconds - (time.monotonic() - began)
        for_seconds(left, lambda: None)
        more = len(here.calls(jobs)) - bought
        # a probe when the hold is over
        assert more <= seconds // 30
    # and when it is well again
    back = time.monotonic()
    done = here.wait_for_end([one for one in jobs if one != canceled], seconds=RETURN_SECONDS)
    took = time.monotonic() - back
    assert {job.state for job in done} == {State.SUCCEEDED}
    assert {(job.attempt, job.worker_losses, here.paid(job.id)) for job in done} == {(1, 0, 1)}
    assert {job.last_error_code for job in done} <= {None, ErrorCode.STORAGE_DOWN}
    audit(here, jobs)
    tell(
        13,
        f"storage {harm.__name__.replace('_', ' ')} for {seconds:g} s",
        jobs=JOBS,
        bought_meanwhile=bought + more,
        threads_held=0,
        all_final_after=took,
    )


def waits_for_storage(here: Service, jobs: list[str]) -> bool:
    told = [here.http.get(f"/v1/jobs/{one}").json() for one in jobs]
    assert {one["status"] for one in told} <= {"queued", "running"}
    return "storage" in {one["waiting_on"] for one in told}


def goes_on_otherwise(here: Service, jobs: list[str]) -> str:
    """Wait until no thread waits for the storage; give a job that was canceled and told of."""
    wait_until(lambda: here.slots() == (0, 0), "threads that are free")
    canceled = next(one for one in jobs if not here.calls([one]))
    assert here.http.post(f"/v1/jobs/{canceled}/cancel").status_code == 200
    here.wait_for_webhooks([canceled])
    return canceled


def test_a_slow_storage_delays_images_and_costs_nothing(
    here: Service, audit: Audit, tell: Tell
) -> None:
    # given
    here.wait_until_whole()
    # when
    began = time.monotonic()
    with slow(here, "s3"):
        jobs = here.create_many(THREADS)
        done = here.wait_for_end(jobs, seconds=RETURN_SECONDS)
    took = time.monotonic() - began
    # then
    assert {job.state for job in done} == {State.SUCCEEDED}
    assert {(job.attempt, job.worker_losses, here.paid(job.id)) for job in done} == {(1, 0, 1)}
    audit(here, jobs)
    tell(13, "storage works a third of the time", jobs=THREADS, all_final_after=took)
