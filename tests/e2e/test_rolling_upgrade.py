"""Two versions at once on one Redis, under load: every process is replaced, one lost on the way."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from sandbox.wait import wait_until
from shared.store import keys
from tests.deploy.compose import ROOT
from tests.support.cluster import Api, Cluster, WorkerProcess, fleet
from tests.support.store import World
from tests.support.version_skew import ACCEPTED, CLAIMED, NEXT, next_version
from tests.support.webhook_receiver import WebhookReceiver, receiver

pytestmark = pytest.mark.xdist_group("upgrade")

CLIENTS = 6
EVENTS = ["job.succeeded", "job.failed", "job.canceled"]


class Load:
    """Clients that ask for one image after another, of whichever address takes the job."""

    def __init__(self, here: Cluster, hook: WebhookReceiver) -> None:
        self._here = here
        self._hook = hook
        self.urls: list[str] = []
        self.jobs: list[str] = []
        self.stop = threading.Event()

    def ask(self, client: int) -> None:
        number = 0
        with self._here.client("http://127.0.0.1") as http:
            while not self.stop.is_set():
                number += 1
                self.jobs.append(self._one(http, f"{client}-{number}"))

    def _one(self, http: httpx.Client, key: str) -> str:
        body = {
            "input": {"prompt": f"Upgrade image {key}", "seed": 7, "megapixels": "0.25"},
            "webhook": {"url": self._hook.url, "events": EVENTS},
        }
        headers = {"Idempotency-Key": f"load-{key}", "Prefer": "wait=10"}
        taken: list[str] = []

        def is_taken() -> bool:
            for url in list(self.urls):
                try:
                    made = http.post(f"{url}/v1/jobs", json=body, headers=headers)
                except httpx.TransportError:
                    continue
                assert made.status_code in {200, 202, 503}, made.text
                if made.is_success:
                    taken.append(str(made.json()["id"]))
                    return True
            return False

        wait_until(is_taken, "an API that takes a job")
        return taken[0]


@contextmanager
def asked(here: Cluster, hook: WebhookReceiver, first: Api) -> Iterator[Load]:
    load = Load(here, hook)
    load.urls.append(first.url)
    with ThreadPoolExecutor(CLIENTS) as pool:
        asking: list[Future[None]] = [pool.submit(load.ask, client) for client in range(CLIENTS)]
        try:
            yield load
        finally:
            load.stop.set()
        for one in asking:
            one.result()


class Upgrade:
    """Replaces processes by those of another version, and goes on when jobs get on."""

    def __init__(self, here: Cluster, load: Load, world: World) -> None:
        self._here = here
        self._load = load
        self._world = world

    def api(self, old: Api, tree: Path) -> Api:
        new = self._here.api(tree)
        self._load.urls.append(new.url)
        self._wait_for_more()
        # as a load balancer does: nothing new goes there, and what is there ends
        self._load.urls.remove(old.url)
        old.child.stop()
        return new

    def worker(self, old: WorkerProcess, tree: Path, *, is_lost: bool = False) -> WorkerProcess:
        new = self._here.worker(old.queue, tree)
        self._wait_for_more()
        if is_lost:
            old.child.kill()
        else:
            assert old.child.stop() == 0, old.child.said()
        self._wait_for_more()
        return new

    def _wait_for_more(self) -> None:
        """Wait until some more jobs have succeeded."""
        before = self._done()
        wait_until(lambda: self._done() >= before + 5, "more images")

    def _done(self) -> int:
        return int(self._world.client.hget(keys.counts(), "succeeded") or 0)


def fields(world: World, jobs: list[str]) -> set[tuple[bool, bool]]:
    """Tell which mixtures there are: accepted, and last claimed, by the other version."""
    found = (world.client.hmget(keys.job(job), ACCEPTED, CLAIMED) for job in jobs)
    return {(accepted is not None, claimed is not None) for accepted, claimed in found}


@pytest.fixture
def world(here: Cluster) -> Iterator[World]:
    made = World(here.redis.url)
    yield made
    made.close()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Cluster]:
    with fleet(tmp_path / "fleet") as made:
        yield made


@dataclass
class Service:
    """What runs now."""

    api: Api
    generate: list[WorkerProcess]
    deliver: WorkerProcess

    @property
    def all(self) -> list[Api | WorkerProcess]:
        return [self.api, self.deliver, *self.generate]


@pytest.mark.parametrize(
    "back",
    [pytest.param(False, marks=pytest.mark.slow), pytest.param(True, marks=pytest.mark.long)],
)
def test_every_process_is_replaced_by_another_version_and_nothing_is_lost(
    here: Cluster,
    world: World,
    tmp_path: Path,
    back: bool,  # noqa: FBT001
) -> None:
    # given
    ours, other = ROOT, next_version(tmp_path / "next")
    here.provider.behave(latency_seconds=0.2)
    generate = [here.worker("generate", ours), here.worker("generate", ours)]
    now = Service(here.api(ours), generate, here.worker("deliver", ours))
    with receiver() as hook:
        # when
        with asked(here, hook, now.api) as load:
            replace(now, other, Upgrade(here, load, world))
            assert f'version="{NEXT}"' in now.api.says("/metrics")
            if back:
                replace(now, ours, Upgrade(here, load, world))
        # then
        first = here.settled(load.jobs, hook.received, *now.all)[0]
    assert first.figures == {"succeeded": len(set(load.jobs))}
    both = (True, False)
    assert fields(world, load.jobs) == {(made, done) for made in both for done in both}
    agents = {one.headers["user-agent"] for one in hook.received}
    assert {agent.endswith(NEXT) for agent in agents} == set(both)


def replace(now: Service, tree: Path, upgrade: Upgrade) -> None:
    """Replace everything by the code in `tree`, one process after the other."""
    now.generate[0] = upgrade.worker(now.generate[0], tree)
    now.deliver = upgrade.worker(now.deliver, tree)
    now.api = upgrade.api(now.api, tree)
    now.generate[1] = upgrade.worker(now.generate[1], tree, is_lost=True)
