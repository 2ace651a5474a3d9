"""Row 23: one of several keys, teams or models fails, and the others keep their pace."""

import itertools
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from sandbox.wait import wait_until
from shared.jobs import Job, State
from shared.model_catalog import DEFAULT_MODEL
from shared.store import keys
from tests.conftest import InTime
from tests.faults.conftest import Tell
from tests.support.cluster import Api, Cluster, WorkerProcess, fleet
from tests.support.models import OTHER_MODEL
from tests.support.store import World

pytestmark = pytest.mark.xdist_group("faults-2")

SICK, WELL = "red-0123456789-sick", "blue-0123456789-well"
RATE = 600
BURST = RATE // 10
INTERVAL_SECONDS = 60 / (RATE - BURST)
THREADS = 8
#: Calls of a key beyond the rate's burst, over which its pace is measured.
MEASURED = 40


class Shop:
    """A running service, a tenant of it, and what the provider saw."""

    def __init__(self, of: Cluster, api: Api, worker: WorkerProcess) -> None:
        self.fleet = of
        self.alive = (api, worker)
        self.world = World(of.redis.url)
        self.http = of.client(api.url)
        self._numbers = itertools.count()

    def ask(self, count: int, model: str = DEFAULT_MODEL) -> list[str]:
        def one(_: int) -> str:
            prompt = {"prompt": f"{model} {next(self._numbers)} alone", "megapixels": "0.25"}
            made = self.http.post("/v1/jobs", json={"model": model, "input": prompt})
            assert made.status_code == 202, made.text
            return str(made.json()["id"])

        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(one, range(count)))

    def ask_at_once(self, count: int) -> list[str]:
        """Ask for jobs while nothing is given out; then let the queue go."""
        operator = {"Authorization": f"Bearer {self.fleet.keys.ops_key}"}
        queue = "/ops/v1/queues/generate"
        self.http.post(f"{queue}/pause", headers=operator).raise_for_status()
        jobs = self.ask(count)
        self.http.post(f"{queue}/resume", headers=operator).raise_for_status()
        return jobs

    def job(self, job_id: str) -> Job:
        return self.world.read(job_id, "").job

    def wait(self, jobs: list[str], *, seconds: float = 60) -> list[Job]:
        left = set(jobs)

        def are_final() -> bool:
            left.difference_update({one for one in left if self.job(one).state.is_final})
            return not left

        wait_until(are_final, f"the end of {len(jobs)} jobs", seconds=seconds)
        return [self.job(one) for one in jobs]

    def calls(self, **of: object) -> list[dict[str, Any]]:
        calls = self.fleet.provider.calls()
        generate = [one for one in calls if one["kind"] == "generate"]
        return [one for one in generate if all(one[name] == is_ for name, is_ in of.items())]

    def check(self, jobs: list[str]) -> None:
        self.fleet.settled(jobs, [], *self.alive)


@contextmanager
def shop(where: Path, **changes: object) -> Iterator[Shop]:
    with fleet(where) as of:
        of.changes = {"onemin_api_key": f"red:{SICK},blue:{WELL}", "image_settle_seconds": 0}
        of.changes.update(changes)
        made = Shop(of, of.api(), of.worker("generate", threads=THREADS))
        yield made
        made.http.close()
        made.world.close()


def seconds_between(calls: list[dict[str, Any]]) -> float:
    times = sorted(datetime.fromisoformat(one["at"]).timestamp() for one in calls)
    return times[-1] - times[0]


@pytest.mark.parametrize(
    ("what", "fault", "most_calls"),
    [
        pytest.param(
            "a team without credits",
            {"fault": "status", "status": 406},
            THREADS + 1,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "a key that is too fast",
            {"fault": "status", "status": 429, "retry_after": 20},
            THREADS,
            marks=pytest.mark.slow,
        ),
        # five in a row and those that were out, then one after 1, 2, 4 and 8 s
        ("a key that fails", {"fault": "status", "status": 500}, 5 + THREADS + 4),
        pytest.param(
            "a key that is refused",
            {"fault": "status", "status": 401},
            THREADS + 1,
            marks=pytest.mark.slow,
        ),
    ],
    ids=["406", "429", "500", "401"],
)
def test_a_key_that_fails_leaves_the_other_its_pace(
    tmp_path: Path,
    tell: Tell,
    in_time: InTime,
    what: str,
    fault: Mapping[str, object],
    most_calls: int,
) -> None:
    with shop(tmp_path, provider_rate_per_minute=RATE) as here:
        # given
        here.fleet.provider.behave(latency_seconds=0.05)
        here.fleet.provider.limit({"key": SICK, "default": fault})
        # when
        jobs = here.ask(BURST + MEASURED)
        done = here.wait(jobs)
        # then
        assert {job.state for job in done} == {State.SUCCEEDED}
        assert len(here.calls(key=SICK[-4:])) <= most_calls
        well = here.calls(key=WELL[-4:], paid=True)
        assert len(well) == len(jobs)
        due = MEASURED * INTERVAL_SECONDS
        took = seconds_between(well)
        in_time(took, due / 0.95)
        here.check(jobs)
        share = f"{due / took:.0%}"
        tell(23, what, jobs=len(jobs), sick_calls=len(here.calls(key=SICK[-4:])), pace=share)


def test_a_model_that_fails_leaves_the_other_its_pace(
    tmp_path: Path, tell: Tell, in_time: InTime
) -> None:
    with shop(tmp_path) as here:
        # given the pace without the other, of jobs that wait already
        here.fleet.provider.behave(latency_seconds=0.2)
        here.wait(here.ask_at_once(120))
        first = here.calls(model=DEFAULT_MODEL)
        alone = seconds_between(first)
        # when
        fault = {"fault": "status", "status": 503}
        here.fleet.provider.limit({"model": OTHER_MODEL, "default": fault, "latency_seconds": 0.2})
        sick = here.ask(40, OTHER_MODEL)
        wait_until(
            lambda: here.world.client.hexists(
                keys.gate(), f"hold:provider_down:model:{OTHER_MODEL}"
            ),
            "the model to be held",
        )
        well = here.ask_at_once(120)
        done = here.wait(well)
        # then
        assert {(job.state, job.attempt) for job in done} == {(State.SUCCEEDED, 1)}
        beside = seconds_between(here.calls(model=DEFAULT_MODEL)[len(first) :])
        in_time(beside, alone / 0.95)
        told = {here.world.read(one, "").gate for one in sick} - {""}
        assert told <= {"provider_down"}
        # and when it is well again
        here.fleet.provider.http.delete("/_sandbox/behavior")
        assert State.SUCCEEDED in {job.state for job in here.wait(sick, seconds=90)}
        here.check([*well, *sick])
        tell(23, "a model that fails", jobs=240, pace=f"{alone / beside:.0%}")


def test_a_removed_model_is_called_once_a_minute_and_holds_nobody(
    tmp_path: Path, tell: Tell
) -> None:
    with shop(tmp_path) as here:
        # given
        fault = {"fault": "status", "status": 400, "code": "UNSUPPORTED_MODEL"}
        here.fleet.provider.limit({"model": OTHER_MODEL, "default": fault})
        job = {"model": OTHER_MODEL, "input": {"prompt": "removed", "megapixels": "0.25"}}
        batch = here.http.post("/v1/batches", json={"jobs": [job] * 300}).json()
        well = here.ask(20)
        # when
        assert {job.state for job in here.wait(well)} == {State.SUCCEEDED}

        def counts() -> dict[str, int]:
            found = here.http.get(f"/v1/batches/{batch['id']}").json()["counts"]
            return {status: count for status, count in found.items() if count}

        wait_until(lambda: counts() == {"failed": 300}, "every job of the batch to end")
        refused = here.http.post("/v1/jobs", json=job)
        # then
        assert (refused.status_code, refused.json()["code"]) == (422, "model_unavailable")
        calls = len(here.calls(model=OTHER_MODEL))
        assert calls <= THREADS, "only those that were out when the first answer came"
        tell(23, "a removed model", jobs=320, calls=calls)
