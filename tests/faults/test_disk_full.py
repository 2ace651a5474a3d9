"""Row 15: the disk of Redis, of the embedded S3 server, or of both is full while jobs run."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.devstack.disk_guard import LAST_BYTES
from sandbox.wait import wait_until
from shared.errors import StoreError
from shared.jobs import State
from tests.faults.conftest import Audit, Tell
from tests.faults.injection import for_seconds
from tests.faults.service import Service, service
from tests.faults.small_disk import SmallDisk, why_not

pytestmark = pytest.mark.xdist_group("faults-4")

JOBS = 12
CALL_SECONDS = 1.5
#: Longer than a call and than a lease: what the provider answers finds no room.
FULL_SECONDS = 5.0


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> SmallDisk:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    return SmallDisk(tmp_path / "disk", tmp_path / "data", request.param)


@pytest.fixture
def here(disk: SmallDisk, tmp_path: Path) -> Iterator[Service]:
    with service(
        tmp_path, within=disk.within, concurrency=8, DARKROOM_STORAGE_TIMEOUT_SECONDS="2"
    ) as running:
        disk.belongs_to(running.up.child.pid)
        running.provider.behave(latency_seconds=CALL_SECONDS)
        running.wait_until_whole()
        yield running


class Client:
    """Asks again and again, and keeps what was accepted."""

    def __init__(self, here: Service) -> None:
        self._here = here
        self.accepted: list[str] = []
        self.refused = 0

    def ask(self) -> bool:
        """Ask for a job; report whether it was accepted. Whatever else is said, it is 503."""
        answer = self._here.http.post("/v1/jobs", json=self._here.body())
        if answer.status_code == 202:
            self.accepted.append(str(answer.json()["id"]))
            return True
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["retry-after"]) > 0
        assert self._here.http.get("/healthz").status_code == 200
        self.refused += 1
        return False


def at_the_provider(here: Service) -> list[str]:
    """Return jobs that all are at the provider, or were: there is a thread for each.

    A worker that has to connect again while Redis takes no write of kombu's ends, and comes back
    when there is room: what was not claimed by then waits so long.
    """
    jobs = here.create_many(JOBS)
    wait_until(lambda: len(here.calls(jobs)) == JOBS, "jobs at the provider")
    return jobs


def are_final(here: Service, jobs: list[str]) -> bool:
    """Return whether all have ended, as far as there is a Redis to say so."""
    try:
        return all(here.job(one).state.is_final for one in jobs)
    except StoreError:
        return False


def nothing_lost(here: Service, jobs: list[str]) -> None:
    done = here.wait_for_end(jobs)
    assert {job.state for job in done} == {State.SUCCEEDED}
    assert {(job.attempt, job.worker_losses, here.paid(job.id)) for job in done} == {(1, 0, 1)}


@pytest.mark.parametrize(
    "disk", [pytest.param(("redis", "s3"), marks=pytest.mark.slow)], indirect=True, ids="+".join
)
def test_a_disk_that_fills_lets_jobs_in_flight_end_and_takes_no_new_one(
    here: Service, disk: SmallDisk, audit: Audit, tell: Tell
) -> None:
    # given
    jobs, client = at_the_provider(here), Client(here)
    # when it is full, and the reserve is given up
    disk.fill()
    wait_until(lambda: not client.ask(), "the API to notice")
    wait_until(lambda: disk.free > LAST_BYTES, "the reserve to be given up")
    # then (Redis died of its last write, and is started again)
    wait_until(lambda: are_final(here, jobs), "the end of the jobs", seconds=60)
    nothing_lost(here, jobs)
    assert not client.ask()
    assert disk.free > 0
    # and it recovers alone
    disk.empty()
    emptied = time.monotonic()
    wait_until(client.ask, "jobs to be accepted again")
    took = time.monotonic() - emptied
    nothing_lost(here, client.accepted)
    audit(here, [*jobs, *client.accepted])
    tell(15, "one disk full, reserve given up", jobs=JOBS, refused=client.refused, open_after=took)


@pytest.mark.parametrize(
    "disk", [("redis",), pytest.param(("s3",), marks=pytest.mark.slow)], indirect=True, ids="+".join
)
def test_what_the_provider_answers_to_a_disk_full_to_the_last_byte_is_kept(
    request: pytest.FixtureRequest, here: Service, disk: SmallDisk, audit: Audit, tell: Tell
) -> None:
    # given
    jobs, client = at_the_provider(here), Client(here)
    # when whatever is freed is taken at once
    disk.fill()
    wait_until(lambda: not client.ask(), "the API to notice")

    def hold() -> None:
        disk.fill()
        assert not client.ask()

    for_seconds(FULL_SECONDS, hold)
    bought = [one["kind"] for one in here.provider.calls()].count("generate")
    # then
    disk.empty()
    emptied = time.monotonic()
    wait_until(client.ask, "jobs to be accepted again", seconds=30)
    opened = time.monotonic() - emptied
    nothing_lost(here, jobs)
    took = time.monotonic() - emptied
    nothing_lost(here, client.accepted)
    audit(here, [*jobs, *client.accepted])
    names = request.node.callspec.id
    tell(
        15,
        f"disk of {names} full for {FULL_SECONDS:g} s",
        bought_meanwhile=bought,
        refused=client.refused,
        open_after=opened,
        all_final_after=took,
    )
