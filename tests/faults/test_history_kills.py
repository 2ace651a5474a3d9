"""Row 29: the history moves jobs while its database, Redis, workers and the API are killed."""

import os
import random
import signal
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.wait import wait_until
from shared.settings import ARCHIVE_SECONDS_MIN
from tests.faults.conftest import Tell
from tests.faults.injection import pid_of
from tests.faults.service import Service, service
from tests.support.postgres import PostgresServer, postgres_server

pytestmark = pytest.mark.xdist_group("faults-2")

VICTIMS = ("postgres", "redis", "api", "generate-1", "generate-2", "deliver")
#: A database that is killed stays away so long.
AWAY_SECONDS = 2.0
#: Between the jobs of one client: the workers, though killed, keep up.
PAUSE_SECONDS = 0.25
#: A killed worker's calls may have been paid: their jobs then fail, and are archived all the same.
DONE_SECONDS = 120


@dataclass
class Client:
    """A program that creates jobs, each until it is told that it is accepted."""

    here: Service
    accepted: list[str] = field(default_factory=list)

    def create_until(self, ends: float) -> None:
        while time.monotonic() < ends:
            self.accepted.append(self._create())
            pass_by(PAUSE_SECONDS)

    def _create(self) -> str:
        body = self.here.body()
        del body["webhook"]
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        while True:
            try:
                answer = self.here.http.post("/v1/jobs", json=body, headers=headers)
            except httpx.HTTPError:
                continue
            if answer.status_code in {200, 202}:
                return str(answer.json()["id"])
            assert answer.status_code >= 500, answer.text


def pass_by(seconds: float) -> None:
    ends = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > ends, "the time to pass")


def jobs_listed(here: Service) -> list[dict[str, Any]]:
    """Read the whole list, page by page; wait where the history is away."""
    return list(_pages(here))


def _pages(here: Service) -> Iterator[dict[str, Any]]:
    cursor = None
    while True:
        query = {"limit": "50", **({"cursor": cursor} if cursor else {})}
        answer = here.http.get("/v1/jobs", params=query)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        yield from page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


def harm(here: Service, postgres: PostgresServer, dice: random.Random, ends: float) -> Counter[str]:
    """Kill one part after another until the time is over."""
    killed: Counter[str] = Counter()
    while time.monotonic() < ends:
        victim = dice.choice(VICTIMS)
        if victim == "postgres":
            postgres.child.kill()
            pass_by(AWAY_SECONDS)
            postgres.start()
            killed[victim] += 1
        elif victim == "redis":
            killed[victim] += kill_redis(here)
        elif here.kill(victim):
            killed[victim.partition("-")[0]] += 1
        pass_by(1)
    return killed


def kill_redis(here: Service) -> bool:
    """Kill Redis, unless it is starting; return whether it was killed."""
    try:
        os.kill(pid_of(here, "redis"), signal.SIGKILL)
    except (OSError, LookupError, ValueError):
        return False
    return True


def all_archived(here: Service, jobs: list[str]) -> bool:
    live = here.world.client.pipeline()
    for job_id in jobs:
        live.exists(f"{{dr}}:job:{job_id}")
    return not any(live.execute())


def survive(tmp_path: Path, tell: Tell, *, seconds: float, seed: int) -> None:
    with (
        postgres_server() as postgres,
        service(
            tmp_path,
            workers=2,
            concurrency=4,
            DARKROOM_HISTORY_URL=postgres.create("history"),
            DARKROOM_ARCHIVE_AFTER_SECONDS=str(ARCHIVE_SECONDS_MIN),
        ) as here,
    ):
        here.provider.behave(latency_seconds=0.1)
        client, ends = Client(here), time.monotonic() + seconds
        with ThreadPoolExecutor(2) as threads:
            creating = [threads.submit(client.create_until, ends) for _ in range(2)]
            killed = harm(here, postgres, random.Random(seed), ends)
            for one in creating:
                one.result()
        here.wait_until_whole()
        jobs = client.accepted
        wait_until(lambda: all_archived(here, jobs), "the history", seconds=DONE_SECONDS)

        listed = jobs_listed(here)
        counted = Counter(job["id"] for job in listed)
        assert {job_id: counted[job_id] for job_id in jobs if counted[job_id] != 1} == {}
        succeeded = [job for job in listed if job["id"] in set(jobs) and job["image"]]
        for job in succeeded:
            assert here.http.get(f"/v1/jobs/{job['id']}/image").status_code == 200
        paid = Counter(call["prompt"] for call in here.provider.calls() if call.get("paid"))
        for job in listed:
            bought = paid[job["input"]["prompt"]]
            known = job["provider"]["calls"]
            assert bought <= known <= bought + job["provider"]["unknown_outcomes"], job
        tell(
            29,
            f"kills while jobs move to the history, seed {seed}",
            jobs=len(jobs),
            kills=dict(killed),
            succeeded=len(succeeded),
            paid=sum(paid.values()),
            statuses=dict(Counter(job["status"] for job in listed)),
        )


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_no_job_is_lost_or_doubled_by_kills_for_a_minute(tmp_path: Path, tell: Tell) -> None:
    survive(tmp_path, tell, seconds=60, seed=1)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [2, 3])
def test_no_job_is_lost_or_doubled_by_kills_for_five_minutes(
    tmp_path: Path, tell: Tell, seed: int
) -> None:
    survive(tmp_path, tell, seconds=300, seed=seed)
