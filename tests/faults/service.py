"""A whole service of real processes, each replaceable by the test, started again when it dies."""

import itertools
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
from minio import Minio

from sandbox.wait import WaitTimeout, wait_until
from shared.jobs import Job
from shared.model_catalog import DEFAULT_MODEL
from shared.store import keys
from tests.e2e.up import Up, clean_environment, up
from tests.faults.crash_points import CrashPoints
from tests.integration.sandbox_client import Client
from tests.support.store import World
from tests.support.tls import TLS
from tests.support.webhook_receiver import WebhookReceiver, receiver

ROOT = Path(__file__).parents[2]
LEASE_SECONDS = 2.0
EVENTS = ("job.succeeded", "job.failed", "job.canceled")
PROGRAM = (sys.executable, "-m", "tests.faults.stack")
QUICK = {
    "DARKROOM_LEASE_SECONDS": str(LEASE_SECONDS),
    "DARKROOM_PROVIDER_TIMEOUT_SECONDS": "10",
    "DARKROOM_DOWNLOAD_TIMEOUT_SECONDS": "10",
    "DARKROOM_STORAGE_TIMEOUT_SECONDS": "10",
    "DARKROOM_WEBHOOK_SCHEDULE": "0,1,1,2,5",
    # so that credits are set aside for each job, and have to come back
    "DARKROOM_CREDITS_PER_IMAGE": f"{DEFAULT_MODEL}=105",
}


class Service:
    """The service, a tenant's program, a receiver of its webhooks, and ways to do harm."""

    def __init__(self, running: Up, hook: WebhookReceiver, crash_points: CrashPoints) -> None:
        self.up = running
        self.hook = hook
        self.crash_points = crash_points
        self.state = running.state
        self.world = World(self.state["redis_url"])
        self.provider = Client(self.state["provider_url"])
        headers = {"Authorization": f"Bearer {self.state['api_key']}"}
        self.http = httpx.Client(
            base_url=self.state["api"], headers=headers, timeout=30, verify=TLS
        )
        self._numbers = itertools.count()

    @property
    def data(self) -> Path:
        return self.up.data

    @property
    def tenant(self) -> str:
        return str(self.state["tenant"])

    def close(self) -> None:
        self.http.close()
        self.provider.http.close()
        self.world.close()

    # jobs

    def body(self, *, word: str = "", **fields: Any) -> dict[str, Any]:
        """Write what to ask for; no two prompts are alike."""
        asked = {
            "prompt": f"Fault {word} image {next(self._numbers)} of {os.getpid()}",
            "seed": 7,
        }
        webhook = {"url": self.hook.url, "events": EVENTS}
        return {"input": {**asked, "megapixels": "0.25"}, "webhook": webhook, **fields}

    def create(self, *, word: str = "", **fields: Any) -> str:
        made = self.http.post("/v1/jobs", json=self.body(word=word, **fields))
        assert made.status_code == 202, made.text
        return str(made.json()["id"])

    def create_meeting(self, step: Mapping[str, object], **fields: Any) -> str:
        """Create a job whose call meets this step of the provider, and wait until it has."""
        self.provider.behave(step)
        job_id = self.create(**fields)
        try:
            wait_until(lambda: bool(self.calls([job_id])), "the call")
        except WaitTimeout as error:
            reason = self.http.get(f"/v1/jobs/{job_id}").json()["waiting_on"]
            raise WaitTimeout(f"{error} The job waits on {reason}.") from error
        return job_id

    def create_many(self, count: int) -> list[str]:
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda _: self.create(), range(count)))

    def job(self, job_id: str) -> Job:
        return self.world.read(job_id, "").job

    def wait_for_end(self, jobs: Iterable[str], *, seconds: float = 60) -> list[Job]:
        """Wait until all are final, and give them."""
        jobs = list(jobs)
        left = set(jobs)

        def are_final() -> bool:
            left.difference_update({one for one in left if self.job(one).state.is_final})
            return not left

        wait_until(are_final, f"the end of {len(jobs)} jobs", seconds=seconds)
        return [self.job(one) for one in jobs]

    def outcome(self, job_id: str) -> tuple[str, str | None, int, int]:
        """Wait for the end; return state, error code, attempts, and images paid for."""
        (job,) = self.wait_for_end([job_id])
        return job.state.value, job.error_code, job.attempt, self.paid(job_id)

    def wait_for_webhooks(self, jobs: Iterable[str], *, seconds: float = 60) -> None:
        """Wait until each job was told of."""
        wanted = set(jobs)
        wait_until(
            lambda: wanted <= {one.json["data"]["id"] for one in list(self.hook.received)},
            f"{len(wanted)} webhooks",
            seconds=seconds,
        )

    # what the others know

    def calls(self, jobs: Iterable[str]) -> list[dict[str, Any]]:
        """Return the provider's generate calls for these jobs."""
        prompts = {self.job(one).spec.input["prompt"] for one in jobs}
        calls = self.provider.calls()
        return [one for one in calls if one["kind"] == "generate" and one["prompt"] in prompts]

    def paid(self, job_id: str) -> int:
        return sum(call["paid"] for call in self.calls([job_id]))

    def slots(self) -> tuple[int, int]:
        """Return how many leases there are, and how many of the tenant's jobs count as running."""
        running = self.world.client.hget(keys.queue_group("jobs", self.tenant), "running")
        return int(self.world.client.zcard(keys.queue_leases("jobs"))), int(running or 0)

    def logged(self, *words: str) -> bool:
        """Return whether some worker wrote a line with all these words."""
        logs = (self.data / "logs").glob("*.log")
        lines = (line for path in logs for line in path.read_text(errors="replace").splitlines())
        return any(all(word in line for word in words) for line in lines)

    # processes

    def pid(self, name: str) -> int | None:
        """Return the process of a part: generate-N, deliver, api, provider, redis or s3."""
        for process in psutil.Process(self.up.child.pid).children():
            try:
                if _is_part(name, process.cmdline()):
                    return process.pid
            except psutil.Error:
                continue
        return None

    def send(self, name: str, number: signal.Signals) -> int | None:
        """Send a part a signal, if it runs; return its pid."""
        pid = self.pid(name)
        if pid is not None:
            os.kill(pid, number)
        return pid

    def kill(self, name: str) -> int | None:
        return self.send(name, signal.SIGKILL)

    def wait_until_whole(self, *, seconds: float = 60) -> None:
        """Wait until every worker serves again."""

        def serves() -> bool:
            try:
                return all(httpx.get(url, verify=TLS).is_success for url in self.state["metrics"])
            except httpx.HTTPError:
                return False

        wait_until(serves, "all workers", seconds=seconds)

    # storage

    def stored(self, job_id: str) -> list[str]:
        """Return the keys of all that is stored of a job."""
        client, bucket = self.storage()
        keys = (str(one.object_name) for one in client.list_objects(bucket, recursive=True))
        return [key for key in keys if job_id in key]

    def storage(self) -> tuple[Minio, str]:
        s3 = self.state["s3"]
        access = {"access_key": s3["access_key"], "secret_key": s3["secret_key"]}
        return Minio(s3["endpoint"], secure=False, region="us-east-1", **access), s3["bucket"]


_MARKS = {
    "api": "api.main:create_app",
    "redis": "valkey-server",
    "s3": "serve",
    "provider": "sandbox",
}


def _is_part(name: str, command: list[str]) -> bool:
    mark = _MARKS.get(name)
    return mark in command if mark else f"--hostname={name}@%h" in command


@contextmanager
def service(
    where: Path,
    *,
    workers: int = 2,
    concurrency: int = 8,
    within: Sequence[str] = (),
    **environment: str,
) -> Iterator[Service]:
    """Run a service with its data in `where` until the block ends.

    `within` is the beginning of a command that runs the rest of it.
    """
    crash_points = where / "traps"
    crash_points.mkdir(parents=True)
    path = f"{ROOT}:{clean_environment().get('PYTHONPATH', '')}".rstrip(":")
    told = {**QUICK, "PYTHONPATH": path, "FAULTS_TRAPS": str(crash_points), **environment}
    counts = ("--workers", str(workers), "--concurrency", str(concurrency))
    with (
        receiver() as hook,
        up(where / "data", *counts, environment=told, program=(*within, *PROGRAM)) as running,
    ):
        made = Service(running, hook, CrashPoints(crash_points))
        try:
            yield made
        finally:
            made.crash_points.clear()
            made.close()
