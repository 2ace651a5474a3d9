"""A worker context with real servers, and short ways to run jobs in it."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sandbox.wait import wait_until
from shared.jobs import Job, JobSpec, OnUnknown
from shared.model_catalog import DEFAULT_MODEL
from shared.settings import Settings
from shared.storage.client import Storage
from shared.store import keys
from tests.integration.sandbox_client import Client
from tests.support.models import KLEIN
from tests.support.servers import S3Server
from tests.support.store import World
from worker.context import WorkerContext
from worker.generate import do_next_jobs
from worker.lifecycle import build_context
from worker.provider.client import OneMin

INPUT: Mapping[str, Any] = {
    **KLEIN.parameters.defaults,
    "prompt": "A lighthouse at dawn",
    "aspect_ratio": "16:9",
    "megapixels": "0.25",
    "seed": 7,
}


def spec(
    *,
    on_unknown: OnUnknown = OnUnknown.RETRY,
    webhook: Mapping[str, Any] | None = None,
    **fields: object,
) -> JobSpec:
    return JobSpec(DEFAULT_MODEL, {**INPUT, **fields}, webhook=webhook, on_unknown=on_unknown)


def settings_for(s3: S3Server, provider_url: str, **changes: Any) -> dict[str, Any]:
    """Return the settings of a worker on loopback, by name."""
    return {
        "onemin_api_key": "k",
        "onemin_base_url": provider_url,
        "onemin_image_hosts": "127.0.0.1",
        "onemin_allow_private_hosts": "127.0.0.1",
        "s3_endpoint": s3.endpoint,
        "s3_access_key": s3.access_key,
        "s3_secret_key": s3.secret_key,
        "s3_bucket": s3.bucket,
        "webhook_allow_hosts": "127.0.0.1",
        "provider_timeout_seconds": 5,
        "download_timeout_seconds": 5,
        # a URL that a test does not serve counts as expired at once
        "image_settle_seconds": 0,
        **changes,
    }


class WorkerHarness:
    """The store, the provider and the context of one worker process."""

    def __init__(self, redis_url: str, s3: S3Server, provider: Client, **changes: Any) -> None:
        self.world = World(redis_url, **settings_for(s3, provider.url, **changes))
        self.provider = provider
        self.s3 = s3
        self._opened: list[WorkerContext] = []
        self.context = self.open_context()

    def open_context(self, **changes: Any) -> WorkerContext:
        """Open the context of another process; `changes` are settings that differ."""
        settings = Settings(**{**self.world.settings.model_dump(), **changes})
        context = build_context(settings, self.world.scripts, ["generate", "deliver"])
        self._opened.append(context)
        return context

    def close(self) -> None:
        for context in self._opened:
            context.stopping.set()
            close_context(context)
        self.world.close()

    def accept(self, **fields: Any) -> str:
        how = {name: fields.pop(name) for name in list(fields) if name in _OF_THE_JOB}
        return self.world.accept(spec=fields.pop("spec", None) or spec(**fields), **how)

    def job(self, job_id: str) -> Job:
        return self.world.read(job_id).job

    def finish(self, job_id: str, *, seconds: float = 15) -> Job:
        """Run a job to its end, as a worker's thread and the sweep would."""

        def is_final() -> bool:
            # make the next attempt due
            self.world.client.zadd(keys.queue_due("jobs"), {job_id: 1}, xx=True)
            self.world.sweep()
            if not self.job(job_id).state.is_final:
                do_next_jobs(self.context)
            return self.job(job_id).state.is_final

        wait_until(is_final, f"the end of {job_id}", seconds=seconds)
        return self.job(job_id)

    def wait_for_end(self, job_id: str, *, seconds: float = 15) -> Job:
        """Wait until others have brought a job to its end."""
        ended = f"the end of {job_id}"
        wait_until(lambda: self.job(job_id).state.is_final, ended, seconds=seconds)
        return self.job(job_id)

    def run(self, **fields: Any) -> Job:
        """Accept one job and run it to its end."""
        return self.finish(self.accept(**fields))

    def paid(self) -> int:
        return sum(call["paid"] for call in self.provider.calls())

    def asked(self, kind: str) -> list[str]:
        """Return the outcomes of the provider's calls of a kind, in order."""
        return [outcome for found, outcome, _ in self.provider.outcomes() if found == kind]

    def stored(self, key: str) -> bytes:
        response = self.s3.client().get_object(self.s3.bucket, key)
        try:
            return bytes(response.data)
        finally:
            response.close()
            response.release_conn()

    def is_stored(self, key: str) -> bool:
        found = self.s3.client().list_objects(self.s3.bucket, key)
        return any(entry.object_name == key for entry in found)

    def slots(self) -> tuple[int, int]:
        """Return how many leases there are, and how many of the tenant's jobs count as running."""
        running = self.world.client.hget(keys.queue_group("jobs", "acme"), "running")
        return int(self.world.client.zcard(keys.queue_leases("jobs"))), int(running or 0)


_OF_THE_JOB = frozenset({"tenant", "id", "priority", "deadline_seconds", "webhook_host", "credits"})


def close_context(context: WorkerContext) -> None:
    context.store.close()
    context.downloader.close()
    context.sender.close()
    for part in (context.provider, context.storage):
        assert isinstance(part, OneMin | Storage)
        part.close()


class StopsDuringTheCall(threading.Event):
    """Set from the third look on: a stop between a claim and the end of what was claimed."""

    looks = 0

    def is_set(self) -> bool:
        self.looks += 1
        return self.looks > 2


@contextmanager
def at_work(context: WorkerContext, *, threads: int = 1) -> Iterator[list[threading.Thread]]:
    """Run one job on each of some threads while the block runs."""
    running = [threading.Thread(target=do_next_jobs, args=(context,)) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield running
    finally:
        for thread in running:
            thread.join(20)
            assert not thread.is_alive()
