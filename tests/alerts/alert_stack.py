"""A service that runs, is asked for images all the time, and is watched by Prometheus."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import httpx

from tests.support.background import in_background
from tests.support.cluster import Api, Cluster, WorkerProcess, fleet
from tests.support.forward_proxy import ForwardProxy, forward_proxy
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.prometheus_server import Prometheus, prometheus, quicker
from tests.support.store import World
from tests.support.tls import TLS
from tests.support.webhook_receiver import WebhookReceiver, receiver

#: By what the windows and `for` of each file are divided.
FACTORS = {"alerts.yml": 60, "objectives.yml": 180}
#: Alerts whose threshold is a time that nobody waits for: in their expression there, and here.
THRESHOLDS: Mapping[str, tuple[str, str]] = {
    "DarkroomQueueOld": ("> 600", "> 10"),
    "DarkroomHistoryBehind": ("> 900", "> 15"),
}
#: After this time final jobs move to the history; the setting allows no less.
ARCHIVE_AFTER_SECONDS = 60
EVERY = "500ms"
THREADS = 8
ASK_EVERY_SECONDS = 0.3


def quick(file: str, rules: dict[str, Any]) -> dict[str, Any]:
    """Return the rules of a file as they are judged here."""
    changed = quicker(rules, FACTORS[file])
    for group in changed["groups"]:
        for rule in group["rules"]:
            rule["expr"] = shown_sooner(rule)
    return changed


def shown_sooner(rule: Mapping[str, Any]) -> str:
    """Return the expression of a rule with its threshold here."""
    expr = str(rule["expr"])
    known = THRESHOLDS.get(rule.get("alert", ""))
    return expr.replace(*known) if known else expr


@dataclass
class AlertStack:
    """What runs, and ways to ask it."""

    here: Cluster
    api: Api
    generate: Sequence[WorkerProcess]
    deliver: WorkerProcess
    #: through which that worker sends
    proxy: ForwardProxy
    hook: WebhookReceiver
    history: PostgresServer
    seen: Prometheus
    world: World
    http: httpx.Client
    ops: httpx.Client
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def body(self, url: str = "", **fields: Any) -> dict[str, Any]:
        asked = {"prompt": f"Alert image {next(self.numbers)}", "megapixels": "0.25"}
        webhook = {"url": url or self.hook.url, "events": ["job.succeeded", "job.canceled"]}
        return {"input": asked, "webhook": webhook, **fields}

    def ask(self, count: int, url: str = "", **fields: Any) -> list[str]:
        """Ask for so many images; return the jobs."""
        made = [self.http.post("/v1/jobs", json=self.body(url, **fields)) for _ in range(count)]
        assert {answer.status_code for answer in made} == {202}
        return [str(answer.json()["id"]) for answer in made]


@contextmanager
def alert_stack(where: Path) -> Iterator[AlertStack]:
    """Run it all until the block ends."""
    with (
        forward_proxy() as proxy,
        fleet(where / "fleet") as here,
        receiver() as hook,
        postgres_server() as history,
    ):
        # above the longest that an image is made to take here
        here.changes["provider_timeout_seconds"] = 20
        here.changes["history_url"] = history.create("history")
        here.changes["archive_after_seconds"] = ARCHIVE_AFTER_SECONDS
        here.changes["egress_proxy"] = proxy.url
        deliver = here.worker("deliver", threads=THREADS)
        del here.changes["egress_proxy"]
        api = here.api()
        generate = [here.worker("generate", threads=THREADS) for _ in range(2)]
        targets = {
            "darkroom-api": [_address(api.url)],
            "darkroom-worker-generate": [_address(one.metrics) for one in generate],
            "darkroom-worker-deliver": [_address(deliver.metrics)],
        }
        ops = {"Authorization": f"Bearer {here.keys.ops_key}"}
        world = World(here.redis.url)
        with (
            prometheus(where / "prometheus", targets, every=EVERY, change=quick) as seen,
            here.client(api.url) as http,
            httpx.Client(base_url=api.url, headers=ops, timeout=30, verify=TLS) as operator,
        ):
            made = AlertStack(
                here, api, generate, deliver, proxy, hook, history, seen, world, http, operator
            )
            with _asked(made):
                yield made
        world.close()


def _asked(here: AlertStack) -> AbstractContextManager[None]:
    """Ask for an image now and then, whatever comes of it."""

    def ask(stop: Event) -> None:
        with here.here.client(here.api.url) as http:
            while not stop.wait(ASK_EVERY_SECONDS):
                with suppress(httpx.HTTPError):
                    http.post("/v1/jobs", json=here.body())

    return in_background(ask)


def _address(url: str) -> str:
    return httpx.URL(url).netloc.decode()
