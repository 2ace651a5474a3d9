"""The blocking client. All logic is in `darkroom.operations`."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias, Unpack

import httpx

from darkroom.config import load_config, stack_config
from darkroom.errors import JobFailed, StillRunning, naming
from darkroom.images import Image, facts_of
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
from darkroom.transport import Transport

Job: TypeAlias = AnyJob[Image]


class Client:
    """The client of Darkroom. Thread-safe; close it with `with`.

    Without `url` and `key`, DARKROOM_URL and DARKROOM_API_KEY are used, else the stack.json of a
    running `darkroom up` (`stack` names one). Raise NotConfigured.

    Every call may raise InvalidInput, Unauthorized, NotFound, Conflict, RateLimited or Unavailable
    (see `darkroom.errors`). Temporary failures are retried by `retry_policy`, and every job is sent
    with an idempotency key, so that nothing is paid for twice. `timeout_seconds` is how long the
    service may stay silent, unless it holds a response on purpose.
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
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        config = stack_config(stack) if stack else load_config(url, key)
        self.url = config.url
        self._sender = Transport(config, connections, timeout_seconds, transport)
        self._can: Operations[Image] = Operations(self._bound, retry_policy or RetryPolicy())
        self.jobs = Jobs(self._sender, self._can)
        self.batches = Batches(self._sender, self._can)
        self.webhooks = Webhooks(self._sender, self._can)
        self.queues = Queues(self._sender, self._can)

    def generate(
        self, prompt: str, *, timeout_seconds: float | None = None, **options: Unpack[JobOptions]
    ) -> Image:
        """Generate an image and wait for it.

        Raise JobFailed if there will be none, and StillRunning after `timeout_seconds` (by default,
        only the job's own deadline ends it). `options` are those of JobOptions. An error after the
        job was created has it as `job`.
        """
        ends_at = _ends_at(timeout_seconds)
        held = HELD_SECONDS if timeout_seconds is None else max(1, int(timeout_seconds))
        held = min(held, HELD_SECONDS)
        job = self._sender.run(self._can.submit(prompt, options, held_seconds=held))
        with naming(job):
            return _image(job if job.is_final else self._final(job, timeout_seconds, ends_at))

    def submit(self, prompt: str, **options: Unpack[JobOptions]) -> Job:
        """Create a job and return at once; the job is safe on the service's disk."""
        return self._sender.run(self._can.submit(prompt, options))

    def wait(self, job: Job | str, *, timeout_seconds: float | None = None) -> Job:
        """Wait until a job is final and return it, however it ended; raise StillRunning.

        The service holds the response until something changes: this does not poll.
        """
        return self._final(job, timeout_seconds, _ends_at(timeout_seconds))

    def models(self) -> list[Model]:
        """Read the offered models."""
        return self._sender.run(self._can.models())

    def usage(self, *, days: int = 30) -> Usage:
        """Read your limits, what is used and left of them, and credits by day."""
        return self._sender.run(self._can.usage(days))

    def usage_report(
        self,
        first: date | str | None = None,
        last: date | str | None = None,
        *,
        group_by: Sequence[str] = ("day",),
    ) -> UsageReport:
        """Read what ended on these days (UTC), both included; default: the present month.

        `group_by`: any of day, month, model, key, tag (the whole set of tags), status. Each run of
        a job counts once, with the calls that were or may have been billed.
        """
        return self._sender.run(self._can.usage_report(usage_query(first, last, group_by)))

    def usage_csv(
        self,
        first: date | str | None = None,
        last: date | str | None = None,
        *,
        group_by: Sequence[str] = ("day",),
    ) -> str:
        """Read the rows of `usage_report` as CSV with a header row."""
        return self._sender.run(self._can.usage_csv(usage_query(first, last, group_by)))

    def events(self, after: str | None = None, *, follow: bool = False) -> Iterator[Event]:
        """Yield the changes of all your jobs after a cursor, oldest first.

        Without `after`, start with the oldest stored change (seven days ago), with "now" with the
        next one. With `follow`, wait for further changes forever. Raise NotFound for an expired
        cursor.
        """
        return self._sender.each(self._can.events(after, follow=follow))

    def _final(self, job: Job | str, seconds: float | None, ends_at: float | None) -> Job:
        job_id = job if isinstance(job, str) else job.id
        last: Job | None = None
        for last in self._sender.each(self._can.watch(job_id, ends_at)):
            if last.is_final:
                return last
        raise StillRunning(last or self.jobs.get(job_id), seconds or 0.0)

    def _bound(self, facts: ImageFacts) -> Image:
        return Image(**facts_of(facts), fetch=self._fetch)

    def _fetch(self, facts: ImageFacts, preview: bool) -> bytes:  # noqa: FBT001
        return self._sender.run(self._can.image_bytes(facts, preview=preview))

    def close(self) -> None:
        """Close the connections."""
        self._sender.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


class Jobs:
    """Single jobs."""

    def __init__(self, sender: Transport, can: Operations[Image]) -> None:
        self._sender = sender
        self._can = can

    def get(self, job_id: str) -> Job:
        """Read a job; raise NotFound."""
        return self._sender.run(self._can.get_job(job_id))

    def list(self, **wanted: Unpack[JobFilter]) -> Iterator[Job]:
        """Yield the matching jobs, newest first; pages are read on demand."""
        return self._sender.each(self._can.list_jobs(wanted))

    def watch(self, job_id: str) -> Iterator[Job]:
        """Yield a job now and at each change, until it is final. This does not poll."""
        return self._sender.each(self._can.watch(job_id))

    def cancel(self, job_id: str) -> Job:
        """Cancel a job: a queued one costs nothing; raise Conflict for a final one."""
        return self._sender.run(self._can.cancel_job(job_id))

    def retry(self, job_id: str) -> Job:
        """Retry a failed or canceled job, as the same job; raise Conflict for others."""
        return self._sender.run(self._can.retry_job(job_id))

    def reproduce(self, job_id: str, *, idempotency_key: str | None = None) -> Job:
        """Create a new job for the same image: the same input and the same seed."""
        return self._sender.run(self._can.reproduce(job_id, idempotency_key))

    def delete(self, job_id: str) -> None:
        """Delete a final job and its image; raise Conflict for one that is not final."""
        self._sender.run(self._can.delete_job(job_id))


class Batches:
    """Batches of jobs."""

    def __init__(self, sender: Transport, can: Operations[Image]) -> None:
        self._sender = sender
        self._can = can

    def create(
        self,
        jobs: Sequence[str | Mapping[str, Any]] | None = None,
        *,
        prompt: str | None = None,
        variations: int | None = None,
        input: Mapping[str, Any] | None = None,  # noqa: A002  the name in the API
        **options: Unpack[BatchOptions],
    ) -> Batch:
        """Create up to 10,000 jobs; all are accepted, or none.

        Pass either `jobs`, each a prompt or a mapping with `prompt` and members of JobOptions, or
        one `prompt` with `variations`, the number of seeds (`input` holds its parameters). Raise
        InvalidInput with the faults of every job, and ValueError for neither or both.
        """
        body = batch_body(jobs, prompt, variations, {"input": input or {}})
        return self._sender.run(self._can.create_batch(body, options))

    def get(self, batch_id: str) -> Batch:
        """Read a batch: counts by status, progress from 0 to 1, seconds left."""
        return self._sender.run(self._can.get_batch(batch_id))

    def list(self) -> Iterator[Batch]:
        """Yield your batches, newest first."""
        return self._sender.each(self._can.list_batches())

    def cancel(self, batch_id: str) -> Batch:
        """Cancel the jobs of a batch that are not final; raise Conflict if all are."""
        return self._sender.run(self._can.cancel_batch(batch_id))

    def results(self, batch_id: str, *, only: Callable[[Raw], bool] | None = None) -> Iterator[Job]:
        """Yield the jobs of a batch as they become final, each once. This does not poll.

        `only` selects jobs by their line of the manifest.
        """
        return self._sender.each(self._can.results(batch_id, only))

    def manifest(self, batch_id: str) -> Sequence[Raw]:
        """Read requests and results, job by job, in the order of the request."""
        return self._sender.run(self._can.manifest(batch_id))


class Webhooks:
    """Webhook deliveries. To verify a received webhook, use `darkroom.webhooks.verify`."""

    def __init__(self, sender: Transport, can: Operations[Image]) -> None:
        self._sender = sender
        self._can = can
        self.endpoints = Endpoints(sender, can)

    def list(self, *, job_id: str | None = None, status: str | None = None) -> Iterator[Delivery]:
        """Yield the deliveries, newest first."""
        return self._sender.each(self._can.deliveries({"job_id": job_id, "status": status}))

    def get(self, delivery_id: str) -> Delivery:
        """Read a delivery with its attempts."""
        return self._sender.run(self._can.delivery(delivery_id))

    def redeliver(self, delivery_id: str) -> Delivery:
        """Send a delivery again, with its id."""
        return self._sender.run(self._can.redeliver(delivery_id))

    def redeliver_since(self, since: str) -> Raw:
        """Send again everything that failed since a time (RFC 3339); return `count` and `more`."""
        return self._sender.run(self._can.post("/v1/webhooks/redeliver", {"since": since}))

    def test(self, body: Mapping[str, Any]) -> Raw:
        """Send a signed test event to `{"url": …}`; return the request and its result."""
        steps = self._can.post("/v1/webhooks/test", body, held_seconds=HELD_SECONDS)
        return self._sender.run(steps)


class Endpoints:
    """The endpoints of your webhooks."""

    def __init__(self, sender: Transport, can: Operations[Image]) -> None:
        self._sender = sender
        self._can = can

    def list(self) -> Iterator[Endpoint]:
        """Yield the endpoints, newest first."""
        return self._sender.each(self._can.endpoints())

    def create(self, url: str, **options: Unpack[EndpointOptions]) -> Endpoint:
        """Create an endpoint; if it exists, set these options of it."""
        return self._sender.run(self._can.create_endpoint(url, options))

    def get(self, endpoint_id: str) -> Endpoint:
        """Read an endpoint."""
        return self._sender.run(self._can.get_endpoint(endpoint_id))

    def update(self, endpoint_id: str, **options: Unpack[EndpointOptions]) -> Endpoint:
        """Set options of an endpoint."""
        return self._sender.run(self._can.update_endpoint(endpoint_id, options))

    def delete(self, endpoint_id: str) -> None:
        """Delete an endpoint, its secret and its pending deliveries."""
        self._sender.run(self._can.delete_endpoint(endpoint_id))

    def test(self, endpoint_id: str) -> Raw:
        """Send a signed test event to an endpoint; return the request and its result."""
        return self._sender.run(self._can.test_endpoint(endpoint_id))

    def enable(self, endpoint_id: str) -> Endpoint:
        """Enable an endpoint, or retry a failing one at once; pending deliveries are sent."""
        return self._sender.run(self._can.enable_endpoint(endpoint_id))

    def rotate(self, endpoint_id: str) -> Raw:
        """Create a new secret for an endpoint; it is shown only in this response.

        The previous one also signs until `previous_signs_until`.
        """
        return self._sender.run(self._can.rotate_secret(endpoint_id))


class Queues:
    """The queues, for operators: requires an operator key."""

    def __init__(self, sender: Transport, can: Operations[Image]) -> None:
        self._sender = sender
        self._can = can

    def list(self) -> Sequence[Queue]:
        """Read the state of the queues."""
        return self._sender.run(self._can.queues())

    def pause(self, name: str) -> Queue:
        """Pause a queue (`generate` or `deliver`): nothing new starts, running work continues."""
        return self._sender.run(self._can.hold_queue(name, "pause"))

    def resume(self, name: str) -> Queue:
        """Resume a queue."""
        return self._sender.run(self._can.hold_queue(name, "resume"))


def _ends_at(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds


def _image(job: Job) -> Image:
    if job.image is None:
        raise JobFailed(job)
    return job.image
