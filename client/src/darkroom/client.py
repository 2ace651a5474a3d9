"""The synchronous client. Every rule stands in `darkroom.operations`; here it is only named."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias, Unpack

import httpx

from darkroom.config import load_config, stack_config
from darkroom.errors import JobFailed, StillRunning
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
)
from darkroom.models import Job as AnyJob
from darkroom.operations import HELD_SECONDS, Operations
from darkroom.options import BatchOptions, JobFilter, JobOptions, batch_body
from darkroom.retries import RetryPolicy
from darkroom.transport import Transport

Job: TypeAlias = AnyJob[Image]


class Client:
    """Asks a Darkroom for images; safe for threads, and best closed by `with`.

    `url` and `key` are read from DARKROOM_URL and DARKROOM_API_KEY where they are not given, else
    from the stack.json of a running `darkroom up` (`stack` names one). Raises NotConfigured.

    Every call may raise InvalidInput, Unauthorized, NotFound, Conflict, RateLimited or Unavailable
    (see `darkroom.errors`). Temporary failures are retried by `retry_policy`, and every job is sent
    with an idempotency key, so that nothing is paid for twice. `timeout_seconds` is how
    long the service may be silent where it does not hold its answer on purpose.
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
        """Have an image made and wait for it.

        Raises JobFailed where there will be none, and StillRunning when `timeout_seconds` are over
        (without, the job's own deadline ends it). `options` are those of JobOptions.
        """
        ends_at = _ends_at(timeout_seconds)
        held = HELD_SECONDS if timeout_seconds is None else max(1, int(timeout_seconds))
        held = min(held, HELD_SECONDS)
        job = self._sender.run(self._can.submit(prompt, options, held_seconds=held))
        return _image(job if job.is_final else self._final(job, timeout_seconds, ends_at))

    def submit(self, prompt: str, **options: Unpack[JobOptions]) -> Job:
        """Ask for an image and return at once; the job is safe on the service's disk."""
        return self._sender.run(self._can.submit(prompt, options))

    def wait(self, job: Job | str, *, timeout_seconds: float | None = None) -> Job:
        """Wait until a job is final and give it, however it ended; raises StillRunning.

        The service holds the answer until something changes: this does not poll.
        """
        return self._final(job, timeout_seconds, _ends_at(timeout_seconds))

    def models(self) -> list[Model]:
        """Read what can be asked for."""
        return self._sender.run(self._can.models())

    def usage(self, *, days: int = 30) -> Usage:
        """Read your limits, what is used and left of them, and credits by day."""
        return self._sender.run(self._can.usage(days))

    def events(self, after: str | None = None, *, follow: bool = False) -> Iterator[Event]:
        """Give the changes of all your jobs after a cursor, the oldest first.

        Without `after` from the oldest that is kept (seven days), with "now" what comes from now
        on. With `follow` it goes on for ever, waiting for news. Raises NotFound for a cursor that
        is too old.
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

    def _fetch(self, facts: ImageFacts) -> bytes:
        return self._sender.run(self._can.image_bytes(facts))

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
        """Read a job; raises NotFound."""
        return self._sender.run(self._can.get_job(job_id))

    def list(self, **wanted: Unpack[JobFilter]) -> Iterator[Job]:
        """Give the jobs that fit, newest first; pages are read as they are needed."""
        return self._sender.each(self._can.list_jobs(wanted))

    def watch(self, job_id: str) -> Iterator[Job]:
        """Give a job now and at each change, until it is final. This does not poll."""
        return self._sender.each(self._can.watch(job_id))

    def cancel(self, job_id: str) -> Job:
        """Cancel a job: a queued one costs nothing; raises Conflict for one that is final."""
        return self._sender.run(self._can.cancel_job(job_id))

    def retry(self, job_id: str) -> Job:
        """Send a failed or canceled job again, as the same job; raises Conflict for others."""
        return self._sender.run(self._can.retry_job(job_id))

    def reproduce(self, job_id: str, *, idempotency_key: str | None = None) -> Job:
        """Ask for the same image as a new job: the same input and the same seed."""
        return self._sender.run(self._can.reproduce(job_id, idempotency_key))

    def delete(self, job_id: str) -> None:
        """Forget a final job and its image, now; raises Conflict for one that is not final."""
        self._sender.run(self._can.delete_job(job_id))


class Batches:
    """Many jobs at once."""

    def __init__(self, sender: Transport, can: Operations[Image]) -> None:
        self._sender = sender
        self._can = can

    def create(
        self,
        jobs: Sequence[str | Mapping[str, Any]] | None = None,
        *,
        prompt: str | None = None,
        variations: int | None = None,
        input: Mapping[str, Any] | None = None,  # noqa: A002  the API's word
        **options: Unpack[BatchOptions],
    ) -> Batch:
        """Ask for up to 10,000 images; all are accepted, or none.

        Either `jobs`, each a prompt or a mapping with `prompt` and what JobOptions has, or one
        `prompt` with `variations`, so many seeds of it (`input` holds its parameters). Raises
        InvalidInput with the faults of every job, and ValueError for neither or both.
        """
        body = batch_body(jobs, prompt, variations, {"input": input or {}})
        return self._sender.run(self._can.create_batch(body, options))

    def get(self, batch_id: str) -> Batch:
        """Read a batch: counts by status, progress from 0 to 1, seconds left."""
        return self._sender.run(self._can.get_batch(batch_id))

    def list(self) -> Iterator[Batch]:
        """Give your batches, newest first."""
        return self._sender.each(self._can.list_batches())

    def cancel(self, batch_id: str) -> Batch:
        """Cancel what of a batch is not final; raises Conflict where all of it is."""
        return self._sender.run(self._can.cancel_batch(batch_id))

    def results(self, batch_id: str, *, only: Callable[[Raw], bool] | None = None) -> Iterator[Job]:
        """Give the jobs of a batch as they become final, each once. This does not poll.

        `only` says of a line of the manifest whether its job is wanted.
        """
        return self._sender.each(self._can.results(batch_id, only))

    def manifest(self, batch_id: str) -> Sequence[Raw]:
        """Read what was asked and what came, job by job, in the order asked."""
        return self._sender.run(self._can.manifest(batch_id))


class Webhooks:
    """What was told to whom. To check a webhook that you received: `darkroom.webhooks.verify`."""

    def __init__(self, sender: Transport, can: Operations[Image]) -> None:
        self._sender = sender
        self._can = can
        self.endpoints = Endpoints(sender, can)

    def list(self, *, job_id: str | None = None, status: str | None = None) -> Iterator[Delivery]:
        """Give the deliveries, newest first."""
        return self._sender.each(self._can.deliveries({"job_id": job_id, "status": status}))

    def get(self, delivery_id: str) -> Delivery:
        """Read a delivery with its attempts."""
        return self._sender.run(self._can.delivery(delivery_id))

    def redeliver(self, delivery_id: str) -> Delivery:
        """Send one again, with its id."""
        return self._sender.run(self._can.redeliver(delivery_id))

    def redeliver_since(self, since: str) -> Raw:
        """Send again all that failed since a time (RFC 3339); gives `count` and `more`."""
        return self._sender.run(self._can.post("/v1/webhooks/redeliver", {"since": since}))

    def test(self, body: Mapping[str, Any]) -> Raw:
        """Have one signed test event sent (`{"url": …}`); gives the request and the outcome."""
        steps = self._can.post("/v1/webhooks/test", body, held_seconds=HELD_SECONDS)
        return self._sender.run(steps)


class Endpoints:
    """The endpoints that your webhooks are sent to."""

    def __init__(self, sender: Transport, can: Operations[Image]) -> None:
        self._sender = sender
        self._can = can

    def list(self) -> Iterator[Endpoint]:
        """Give the endpoints, newest first."""
        return self._sender.each(self._can.endpoints())

    def enable(self, endpoint_id: str) -> Endpoint:
        """Enable an endpoint, or have a failing one tried at once; it is sent what it missed."""
        return self._sender.run(self._can.enable_endpoint(endpoint_id))

    def rotate(self, endpoint_id: str) -> Raw:
        """Make a new secret for an endpoint: `secret`, shown now only.

        The one before signs too, until `previous_signs_until`.
        """
        return self._sender.run(self._can.rotate_secret(endpoint_id))


class Queues:
    """The queues, for operators: all of this needs an ops key."""

    def __init__(self, sender: Transport, can: Operations[Image]) -> None:
        self._sender = sender
        self._can = can

    def list(self) -> Sequence[Queue]:
        """Read how they stand."""
        return self._sender.run(self._can.queues())

    def pause(self, name: str) -> Queue:
        """Give nothing new out of a queue (`generate` or `deliver`); what is begun goes on."""
        return self._sender.run(self._can.hold_queue(name, "pause"))

    def resume(self, name: str) -> Queue:
        """Let a queue go on."""
        return self._sender.run(self._can.hold_queue(name, "resume"))


def _ends_at(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds


def _image(job: Job) -> Image:
    if job.image is None:
        raise JobFailed(job)
    return job.image
