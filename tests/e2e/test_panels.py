"""A real Prometheus looks at the running stack: every panel of every dashboard shows something."""

from contextlib import AbstractContextManager, suppress
from pathlib import Path
from threading import Event

import httpx
import yaml

from deploy.dashboards import ALL
from sandbox.wait import WaitTimeout, wait_until
from tests.deploy.compose import ROOT
from tests.deploy.prometheus import program
from tests.e2e.up import Up, up
from tests.integration.sandbox_client import Client
from tests.support.background import in_background
from tests.support.prometheus_server import prometheus
from tests.support.tls import TLS
from tests.support.webhook_receiver import WebhookReceiver, receiver

FAULTS = (
    {"fault": "status", "status": 429, "retry_after": 1},
    "ok",
    "ok",
    {"fault": "status", "status": 500},
    "ok",
    {"fault": "malformed"},
    "ok",
)


def _targets(stack: Up) -> dict[str, list[str]]:
    api, generate, deliver = (httpx.URL(url).netloc.decode() for url in stack.state["metrics"])
    return {
        "darkroom-api": [api],
        "darkroom-worker-generate": [generate],
        "darkroom-worker-deliver": [deliver],
    }


def _asked(stack: Up, hook: WebhookReceiver) -> AbstractContextManager[None]:
    """Ask for an image again and again, while the block lasts, in good ways and in bad."""
    headers = {"Authorization": f"Bearer {stack.state['api_key']}"}
    good = {
        "input": {"prompt": "A lighthouse at dawn", "megapixels": "0.25"},
        "webhook": {"url": hook.url, "events": ["job.succeeded", "job.failed"]},
    }

    def ask(stop: Event) -> None:
        with httpx.Client(
            base_url=stack.state["api"], headers=headers, timeout=30, verify=TLS
        ) as http:
            while not stop.wait(0.2):
                with suppress(httpx.HTTPError):
                    job = http.post("/v1/jobs", json=good, headers={"Prefer": "wait=2"}).json()
                    http.get(f"/v1/jobs/{job['id']}/image")
                    http.post("/v1/jobs", json={"input": {}})

    return in_background(ask)


def _scaling() -> list[str]:
    """Return the queries by which KEDA scales the workers."""
    file = ROOT / "deploy" / "kubernetes" / "components" / "keda" / "scaledobject.yaml"
    scaled = yaml.safe_load_all(file.read_text(encoding="utf-8"))
    return [one["spec"]["triggers"][0]["metadata"]["query"] for one in scaled]


def test_every_panel_shows_something(tmp_path: Path) -> None:
    program("prometheus")  # skips before anything is started
    expressions = {
        (name, panel.title, query.expr)
        for name, dashboard in ALL.items()
        for panel in dashboard.panels
        for query in panel.queries
    } | {("keda", "query", query) for query in _scaling()}

    with (
        receiver() as hook,
        up(tmp_path / "stack", "--no-demo", "--concurrency", "4") as stack,
        prometheus(tmp_path / "prometheus", _targets(stack)) as seen,
        _asked(stack, hook),
    ):
        hook.script.extend([500, 200, 503])
        provider = Client(stack.state["provider_url"])
        provider.behave(*FAULTS)
        provider.http.close()
        empty = set(expressions)

        def all_show() -> bool:
            empty.difference_update({one for one in empty if seen.shows(one[2])})
            return not empty

        with suppress(WaitTimeout):
            wait_until(all_show, "data in every panel", seconds=60)

    assert sorted(empty) == []
