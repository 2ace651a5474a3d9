"""Row 9: the API is killed while a hundred clients post, each until it is answered."""

import functools
import random
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from sandbox.wait import wait_until
from shared.jobs import State
from shared.store import keys
from tests.faults.conftest import Audit, Tell
from tests.faults.service import Service, service
from tests.support.tls import TLS

pytestmark = pytest.mark.xdist_group("faults-1")

CLIENTS = 100
KEYS = 50
KILLS = 3
PATIENCE_SECONDS = 60.0
#: Between two tries of one client: the API needs some CPU to start again.
PAUSE_SECONDS = 0.2


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("api"), workers=1, concurrency=16) as running:
        running.provider.behave(latency_seconds=0.05)
        yield running


class WaitingClients:
    """Clients that post at once, two with each key, and repeat until they are answered."""

    def __init__(self, here: Service, http: httpx.Client) -> None:
        self._http = http
        self._bodies = [here.body() for _ in range(KEYS)]
        self._tries = 0
        self._lock = threading.Lock()

    @property
    def tries(self) -> int:
        return self._tries

    def post(self, number: int) -> tuple[int, str]:
        """Post until there is a job; return the key's number and the job's id."""
        key = number % KEYS
        headers = {"Idempotency-Key": f"crowd-{id(self)}-{key}"}
        found: list[str] = []

        def is_answered() -> bool:
            with self._lock:
                self._tries += 1
            found.extend(self._ask(self._bodies[key], headers))
            return bool(found)

        wait_until(is_answered, "an answer", seconds=PATIENCE_SECONDS, pause=PAUSE_SECONDS)
        return key, found[0]

    def _ask(self, body: dict[str, Any], headers: dict[str, str]) -> list[str]:
        try:
            answer = self._http.post("/v1/jobs", json=body, headers=headers)
        except httpx.TransportError:
            return []
        # 503: it starts or ends, or cannot tell; 409: the other with this key is at it
        if answer.status_code in {409, 503}:
            return []
        assert answer.status_code in {200, 202}, answer.text
        return [str(answer.json()["id"])]


def connections(here: Service) -> httpx.Client:
    """Open what all clients share: a hundred pools would cost more than the API itself."""
    return httpx.Client(
        base_url=here.state["api"],
        headers={"Authorization": f"Bearer {here.state['api_key']}"},
        timeout=10,
        limits=httpx.Limits(max_connections=CLIENTS),
        verify=TLS,
    )


def kill_while(here: Service, waiting: list[Future[tuple[int, str]]], dice: random.Random) -> None:
    """Kill the API each time when some more have been answered."""

    def are_answered(least: int) -> bool:
        return sum(one.done() for one in waiting) >= least and here.pid("api") is not None

    for part in range(KILLS):
        least = dice.randint(1, CLIENTS // (KILLS + 1)) + part * CLIENTS // (KILLS + 1)
        wait_until(functools.partial(are_answered, least), "answers", seconds=PATIENCE_SECONDS)
        here.kill("api")


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_clients_that_repeat_with_their_key_get_one_job_a_key(
    here: Service, audit: Audit, tell: Tell, seed: int
) -> None:
    # given
    here.wait_until_whole()
    before = set(all_jobs(here))
    # when
    with connections(here) as http, ThreadPoolExecutor(CLIENTS) as pool:
        crowd, began = WaitingClients(here, http), time.monotonic()
        waiting = [pool.submit(crowd.post, number) for number in range(CLIENTS)]
        kill_while(here, waiting, random.Random(seed))
        answers = [one.result() for one in waiting]
    took = time.monotonic() - began
    # then
    by_key: dict[int, set[str]] = defaultdict(set)
    for key, job_id in answers:
        by_key[key].add(job_id)
    assert {len(ids) for ids in by_key.values()} == {1}
    jobs = {job_id for _, job_id in answers}
    assert set(all_jobs(here)) - before == jobs
    assert {job.state for job in here.wait_for_end(jobs)} == {State.SUCCEEDED}
    audit(here, jobs)
    tell(
        9,
        f"API killed under {CLIENTS} clients, seed {seed}",
        kills=KILLS,
        requests=crowd.tries,
        jobs=len(jobs),
        all_answered_after=took,
    )


def all_jobs(here: Service) -> list[str]:
    return [str(one) for one in here.world.client.zrange(keys.tenant_jobs(here.tenant), 0, -1)]
