"""Processes of the service that are started and replaced one by one, as on several machines.

Each may run another tree of the code: two versions, then, stand on one Redis.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.devstack.tenant import open_local_tenant
from sandbox.servers import free_port
from sandbox.subprocesses import Child
from sandbox.wait import WaitTimeout, wait_for_http, wait_until
from shared.start_commands import api_command, worker_command
from tests.deploy.compose import ROOT
from tests.faults.invariants import Line, all_faults, check_invariants
from tests.faults.observations import read_facts
from tests.integration.sandbox_client import Client
from tests.support.servers import RedisServer, S3Server, redis_server, s3_server
from tests.support.tls import TLS
from tests.support.webhook_receiver import Received
from tests.support.worker_process import Worker, environment

LEASE_SECONDS = 2.0
SETTINGS: Mapping[str, object] = {
    "lease_seconds": LEASE_SECONDS,
    "provider_rate_per_minute": 0,
    "provider_timeout_seconds": 10,
    "onemin_image_hosts": "127.0.0.1",
    "onemin_allow_private_hosts": "127.0.0.1",
    "webhook_allow_hosts": "127.0.0.1",
    "webhook_schedule": "0,1,1,2,5",
    "onemin_api_key": "sandbox",
    "log_format": "json",
}


@dataclass
class Api:
    """An API process and where it answers."""

    child: Child
    url: str

    @property
    def metrics(self) -> str:
        return f"{self.url}/metrics"

    def says(self, path: str) -> str:
        return httpx.get(f"{self.url}{path}", timeout=5, verify=TLS).text


@dataclass
class WorkerProcess:
    """A worker process and where its metrics are."""

    child: Worker
    queue: str
    metrics: str


class Cluster:
    """Everything that runs; whatever still does is ended with the block of `fleet`."""

    def __init__(
        self, where: Path, redis: RedisServer, s3: S3Server, provider: str, stack: ExitStack
    ) -> None:
        self.where = where
        self.redis = redis
        self.s3 = s3
        self.provider = Client(provider)
        self.keys = open_local_tenant(redis.url)
        self.changes: dict[str, object] = {}
        self._provider_url = provider
        self._stack = stack
        self._count = 0

    def api(self, tree: Path = ROOT, *, port: int = 0) -> Api:
        """Start an API process of the code in `tree`; it answers when this returns."""
        port = port or free_port()
        url = f"http://127.0.0.1:{port}"
        command = api_command(host="127.0.0.1", port=port)
        child = Child(command, self._log("api"), environment=self._environment(tree), home=tree)
        self._stack.enter_context(child)
        wait_for_http(f"{url}/readyz", status=200)
        return Api(child, url)

    def worker(self, queue: str, tree: Path = ROOT, *, threads: int = 8) -> WorkerProcess:
        """Start a worker process of the code in `tree`; it takes permits when this returns."""
        port = free_port()
        told = self._environment(tree, metrics_port=port)
        words = worker_command(queue, threads=threads)
        child = Worker(words, self._log(queue), environment=told, grace_seconds=30, home=tree)
        self._stack.enter_context(child)
        child.wait_until_ready()
        return WorkerProcess(child, queue, f"http://127.0.0.1:{port}/metrics")

    def state(self, *processes: Api | WorkerProcess) -> dict[str, Any]:
        """Return what stack.json has for a stack of these running processes."""
        s3 = self.s3
        return {
            **{name: getattr(self.keys, name) for name in ("tenant", "api_key", "ops_key")},
            "webhook_secret": self.keys.webhook_secret,
            "redis_url": self.redis.url,
            "provider_url": self._provider_url,
            "s3": {
                "endpoint": s3.endpoint,
                "access_key": s3.access_key,
                "secret_key": s3.secret_key,
                "bucket": s3.bucket,
            },
            "metrics": [one.metrics for one in processes],
        }

    def settled(
        self, jobs: Sequence[str], received: Sequence[Received], *alive: Api | WorkerProcess
    ) -> list[Line]:
        """Wait until the seven invariants hold; fail with those that do not."""
        lines: list[Line] = []

        def holds() -> bool:
            state = self.state(*alive)
            facts = read_facts(state, self.where, jobs=jobs, received=list(received))
            lines[:] = check_invariants(facts)
            return not all_faults(lines)

        try:
            wait_until(holds, "the invariants", seconds=60)
        except WaitTimeout:
            pytest.fail("\n".join(map(str, lines)))
        return lines

    def client(self, url: str, **options: Any) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.keys.api_key}"}
        return httpx.Client(base_url=url, headers=headers, timeout=90, verify=TLS, **options)

    def _log(self, name: str) -> Path:
        self._count += 1
        return self.where / "logs" / f"{self._count}-{name}.log"

    def _environment(self, tree: Path, **more: object) -> dict[str, str]:
        told = {
            **SETTINGS,
            "redis_url": self.redis.url,
            "s3_endpoint": self.s3.endpoint,
            "s3_access_key": self.s3.access_key,
            "s3_secret_key": self.s3.secret_key,
            "s3_bucket": self.s3.bucket,
            "onemin_base_url": self._provider_url,
            **self.changes,
            **more,
        }
        return {**environment(told), "PYTHONPATH": str(tree)}


@contextmanager
def fleet(
    where: Path,
    *,
    redis_environment: Mapping[str, str] | None = None,
    s3_access_keys: Sequence[str] = (),
) -> Iterator[Cluster]:
    """Run what a service stands on (Redis, S3, provider, tenant), and nothing that runs on it."""
    (where / "logs").mkdir(parents=True)
    port = free_port()
    program = str(Path(sys.executable).with_name("darkroom"))
    sandbox = [program, "sandbox", "--port", str(port), "--image-port", "0"]
    with (
        redis_server(where / "redis", environment=redis_environment) as redis,
        s3_server(where / "s3", *s3_access_keys) as s3,
        Child(sandbox, where / "logs" / "provider.log", environment=environment({})),
        ExitStack() as stack,
    ):
        wait_for_http(f"http://127.0.0.1:{port}/_sandbox/calls", status=200)
        made = Cluster(where, redis, s3, f"http://127.0.0.1:{port}", stack)
        stack.callback(made.provider.http.close)
        yield made
