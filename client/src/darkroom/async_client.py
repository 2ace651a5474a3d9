"""The asyncio client: `darkroom.client` with `await`."""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias, Unpack

import httpx

from darkroom.config import load_config, stack_config
from darkroom.errors import JobFailed, StillRunning, naming
from darkroom.images import AsyncImage, facts_of
from darkroom.models import (
    Batch,
    Delivery,
    Endpoint,
    Event,
    ImageFacts,
    Model,
    Queue,
    Raw,
    Usage,
    UsageReport,
)
from darkroom.models import Job as AnyJob
from darkroom.operations import HELD_SECONDS, Operations
from darkroom.options import (
    BatchOptions,
    EndpointOptions,
    JobFilter,
    JobOptions,
    batch_body,
    usage_query,
)
from darkroom.retries import RetryPolicy
from darkroom.transport import AsyncSender

Job: TypeAlias = AnyJob[AsyncImage]


class AsyncClient:
    """The asyncio client of Darkroom; see `darkroom.Client`, which has the same arguments.

    Close it with `async with`. For one event loop; concurrent calls share `connections`.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        stack: str | Path | None = None,
        timeout_seconds: float = 30.0,
        retry_policy: RetryPolicy | None = None,
        connections: int = 20,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        config = stack_config(stack) if stack else load_config(url, key)
        self.url = config.url
        self._sender = AsyncSender(config, connections, timeout_seconds, transport)
        self._can: Operations[AsyncImage] = Operations(self._bound, retry_policy or RetryPolicy())
        self.jobs = Jobs(self._sender, self._can)
        self.batches = Batches(self._sender, self._can)
        self.webhooks = Webhooks(self._sender, self._can)
        self.queues = Queues(self._sender, self._can)

    async def generate(
        self, prompt: str, *, timeout_seconds: float | None = None, **options: Unpack[JobOptions]
    ) -> AsyncImage:
        """See `darkroom.client.Client.generate`."""
        ends_at = _ends_at(timeout_seconds)
        held = HELD_SECONDS if timeout_seconds is None else max(1, int(timeout_seconds))
        held = min(held, HELD_SECONDS)
        job = await self._sender.run(self._can.submit(prompt, options, held_seconds=held))
        with naming(job):
            return _image(job if job.is_final else await self._final(job, timeout_seconds, ends_at))

    async def submit(self, prompt: str, **options: Unpack[JobOptions]) -> Job:
        """See `darkroom.client.Client.submit`."""
        return await self._sender.run(self._can.submit(prompt, options))

    async def wait(self, job: Job | str, *, timeout_seconds: float | None = None) -> Job:
        """See `darkroom.client.Client.wait`."""
        return await self._final(job, timeout_seconds, _ends_at(timeout_seconds))

    async def models(self) -> list[Model]:
        """See `darkroom.client.Client.models`."""
        return await self._sender.run(self._can.models())

    async def usage(self, *, days: int = 30) -> Usage:
        """See `darkroom.client.Client.usage`."""
        return await self._sender.run(self._can.usage(days))

    async def usage_report(
        self,
        first: date | str | None = None,
        last: date | str | None = None,
        *,
        group_by: Sequence[str] = ("day",),
    ) -> UsageReport:
        """See `darkroom.client.Client.usage_report`."""
        return await self._sender.run(self._can.usage_report(usage_query(first, last, group_by)))

    async def usage_csv(
        self,
        first: date | str | None = None,
        last: date | str | None = None,
        *,
        group_by: Sequence[str] = ("day",),
    ) -> str:
        """See `darkroom.client.Client.usage_csv`."""
        return await self._sender.run(self._can.usage_csv(usage_query(first, last, group_by)))

    def events(self, after: str | None = None, *, follow: bool = False) -> AsyncIterator[Event]:
        """See `darkroom.client.Client.events`."""
        return self._sender.each(self._can.events(after, follow=follow))

    async def _final(self, job: Job | str, seconds: float | None, ends_at: float | None) -> Job:
        job_id = job if isinstance(job, str) else job.id
        last: Job | None = None
        async for last in self._sender.each(self._can.watch(job_id, ends_at)):
            if last.is_final:
                return last
        raise StillRunning(last or await self.jobs.get(job_id), seconds or 0.0)

    def _bound(self, facts: ImageFacts) -> AsyncImage:
        return AsyncImage(**facts_of(facts), fetch=self._fetch)

    async def _fetch(self, facts: ImageFacts, preview: bool) -> bytes:  # noqa: FBT001
        return await self._sender.run(self._can.image_bytes(facts, preview=preview))

    async def close(self) -> None:
        """Close the connections."""
        await self._sender.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self.close()


class Jobs:
    """Single jobs."""

    def __init__(self, sender: AsyncSender, can: Operations[AsyncImage]) -> None:
        self._sender = sender
        self._can = can

    async def get(self, job_id: str) -> Job:
        """See `darkroom.client.Jobs.get`."""
        return await self._sender.run(self._can.get_job(job_id))

    def list(self, **wanted: Unpack[JobFilter]) -> AsyncIterator[Job]:
        """See `darkroom.client.Jobs.list`."""
        return self._sender.each(self._can.list_jobs(wanted))

    def watch(self, job_id: str) -> AsyncIterator[Job]:
        """See `darkroom.client.Jobs.watch`."""
        return self._sender.each(self._can.watch(job_id))

    async def cancel(self, job_id: str) -> Job:
        """See `darkroom.client.Jobs.cancel`."""
        return await self._sender.run(self._can.cancel_job(job_id))

    async def retry(self, job_id: str) -> Job:
        """See `darkroom.client.Jobs.retry`."""
        return await self._sender.run(self._can.retry_job(job_id))

    async def reproduce(self, job_id: str, *, idempotency_key: str | None = None) -> Job:
        """See `darkroom.client.Jobs.reproduce`."""
        return await self._sender.run(self._can.reproduce(job_id, idempotency_key))

    async def delete(self, job_id: str) -> None:
        """See `darkroom.client.Jobs.delete`."""
        await self._sender.run(self._can.delete_job(job_id))


class Batches:
    """Batches of jobs."""

    def __init__(self, sender: AsyncSender, can: Operations[AsyncImage]) -> None:
        self._sender = sender
        self._can = can

    async def create(
        self,
        jobs: Sequence[str | Mapping[str, Any]] | None = None,
        *,
        prompt: str | None = None,
        variations: int | None = None,
        input: Mapping[str, Any] | None = None,  # noqa: A002  the name in the API
        **options: Unpack[BatchOptions],
    ) -> Batch:
        """See `darkroom.client.Batches.create`."""
        body = batch_body(jobs, prompt, variations, {"input": input or {}})
        return await self._sender.run(self._can.create_batch(body, options))

    async def get(self, batch_id: str) -> Batch:
        """See `darkroom.client.Batches.get`."""
        return await self._sender.run(self._can.get_batch(batch_id))

    def list(self) -> AsyncIterator[Batch]:
        """See `darkroom.client.Batches.list`."""
        return self._sender.each(self._can.list_batches())

    async def cancel(self, batch_id: str) -> Batch:
        """See `darkroom.client.Batches.cancel`."""
        return await self._sender.run(self._can.cancel_batch(batch_id))

    def results(
        self, batch_id: str, *, only: Callable[[Raw], bool] | None = None
    ) -> AsyncIterator[Job]:
        """See `darkroom.client.Batches.results`."""
        return self._sender.each(self._can.results(batch_id, only))

    async def manifest(self, batch_id: str) -> Sequence[Raw]:
        """See `darkroom.client.Batches.manifest`."""
        return await self._sender.run(self._can.manifest(batch_id))


class Webhooks:
    """Webhook deliveries. To verify a received webhook, use `darkroom.webhooks.verify`."""

    def __init__(self, sender: AsyncSender, can: Operations[AsyncImage]) -> None:
        self._sender = sender
        self._can = can
        self.endpoints = Endpoints(sender, can)

    def list(
        self, *, job_id: str | None = None, status: str | None = None
    ) -> AsyncIterator[Delivery]:
        """See `darkroom.client.Webhooks.list`."""
        return self._sender.each(self._can.deliveries({"job_id": job_id, "status": status}))

    async def get(self, delivery_id: str) -> Delivery:
        """See `darkroom.client.Webhooks.get`."""
        return await self._sender.run(self._can.delivery(delivery_id))

    async def redeliver(self, delivery_id: str) -> Delivery:
        """See `darkroom.client.Webhooks.redeliver`."""
        return await self._sender.run(self._can.redeliver(delivery_id))

    async def redeliver_since(self, since: str) -> Raw:
        """See `darkroom.client.Webhooks.redeliver_since`."""
        return await self._sender.run(self._can.post("/v1/webhooks/redeliver", {"since": since}))

    async def test(self, body: Mapping[str, Any]) -> Raw:
        """See `darkroom.client.Webhooks.test`."""
        steps = self._can.post("/v1/webhooks/test", body, held_seconds=HELD_SECONDS)
        return await self._sender.run(steps)


class Endpoints:
    """The endpoints of your webhooks."""

    def __init__(self, sender: AsyncSender, can: Operations[AsyncImage]) -> None:
        self._sender = sender
        self._can = can

    def list(self) -> AsyncIterator[Endpoint]:
        """See `darkroom.client.Endpoints.list`."""
        return self._sender.each(self._can.endpoints())

    async def create(self, url: str, **options: Unpack[EndpointOptions]) -> Endpoint:
        """See `darkroom.client.Endpoints.create`."""
        return await self._sender.run(self._can.create_endpoint(url, options))

    async def get(self, endpoint_id: str) -> Endpoint:
        """See `darkroom.client.Endpoints.get`."""
        return await self._sender.run(self._can.get_endpoint(endpoint_id))

    async def update(self, endpoint_id: str, **options: Unpack[EndpointOptions]) -> Endpoint:
        """See `darkroom.client.Endpoints.update`."""
        return await self._sender.run(self._can.update_endpoint(endpoint_id, options))

    async def delete(self, endpoint_id: str) -> None:
        """See `darkroom.client.Endpoints.delete`."""
        await self._sender.run(self._can.delete_endpoint(endpoint_id))

    async def test(self, endpoint_id: str) -> Raw:
        """See `darkroom.client.Endpoints.test`."""
        return await self._sender.run(self._can.test_endpoint(endpoint_id))

    async def enable(self, endpoint_id: str) -> Endpoint:
        """See `darkroom.client.Endpoints.enable`."""
        return await self._sender.run(self._can.enable_endpoint(endpoint_id))

    async def rotate(self, endpoint_id: str) -> Raw:
        """See `darkroom.client.Endpoints.rotate`."""
        return await self._sender.run(self._can.rotate_secret(endpoint_id))


class Queues:
    """The queues, for operators: requires an operator key."""

    def __init__(self, sender: AsyncSender, can: Operations[AsyncImage]) -> None:
        self._sender = sender
        self._can = can

    async def list(self) -> Sequence[Queue]:
        """See `darkroom.client.Queues.list`."""
        return await self._sender.run(self._can.queues())

    async def pause(self, name: str) -> Queue:
        """See `darkroom.client.Queues.pause`."""
        return await self._sender.run(self._can.hold_queue(name, "pause"))

    async def resume(self, name: str) -> Queue:
        """See `darkroom.client.Queues.resume`."""
        return await self._sender.run(self._can.hold_queue(name, "resume"))


def _ends_at(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds


def _image(job: Job) -> AsyncImage:
    if job.image is None:
        raise JobFailed(job)
    return job.image
