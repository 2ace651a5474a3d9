"""Clients' operations on jobs: create, cancel, retry, delete."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shared.jobs import Image, Job, JobSpec, Priority, Status
from shared.store import operations
from shared.store.codec import (
    image_json,
    job_of,
    pairs,
    prompt_words,
    request_hash,
    seconds_or_none,
    spec_json,
    tags_text,
    webhook_fields,
)
from shared.store.command import Command
from shared.store.operations import Operation


@dataclass(frozen=True, slots=True)
class Fallback:
    """A model that may serve a job, its input, and the estimated credits of one call."""

    model: str
    input: Mapping[str, Any]
    credits: float = 0.0


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to create. `fingerprint` and `idempotency_key` are both set or both absent."""

    id: str
    tenant: str
    spec: JobSpec
    priority: Priority
    deadline_seconds: int
    max_attempts: int
    idempotency_key: str | None = None
    fingerprint: str = ""
    webhook_host: str = ""
    #: the estimated credits of one call
    credits: float = 0.0
    #: refuse instead of queueing behind more jobs, or for longer, than this
    max_position: int | None = None
    max_wait_seconds: float | None = None
    #: estimate only: see `dry_run`
    dry_run: bool = False
    reused: "Reused | None" = None
    #: a traceparent: the job's spans are below it
    trace: str | None = None
    #: the id of the API key that creates it, and pays for it
    api_key: str | None = None
    #: in order; their names are `spec.fallback_models`
    fallbacks: tuple[Fallback, ...] = ()

    @property
    def max_wait_ms(self) -> float | None:
        """Return the longest wait in milliseconds."""
        return None if self.max_wait_seconds is None else self.max_wait_seconds * 1000

    @property
    def fallback_lines(self) -> str:
        """Return the fallbacks as the Lua functions read them: `model credits spec`, one a line."""
        return "\n".join(
            f"{one.model} {one.credits} {spec_json(replace(self.spec, input=one.input))}"
            for one in self.fallbacks
        )

    def input_of(self, model: str) -> Mapping[str, Any]:
        """Return the input of the model that serves the job."""
        return next((one.input for one in self.fallbacks if one.model == model), self.spec.input)


@dataclass(frozen=True, slots=True)
class Reused:
    """An image that was copied for a new job from the job `source`."""

    source: str
    image: Image


@dataclass(frozen=True, slots=True)
class Rate:
    """What is left of the requests per minute of a tenant or of its key, whichever is less.

    `reset_seconds` is the time until more is left.
    """

    limit: int
    left: int
    reset_seconds: float


@dataclass(frozen=True, slots=True)
class Accepted:
    """The job is on disk. `created_at` is in milliseconds; the rest as in `QueuedJob`.

    `model` serves the job, as far as is decided ('' for a group).
    """

    created_at: int
    rank: int
    gate: str = ""
    eta_seconds: float | None = None
    model: str = ""
    rate: Rate | None = None


@dataclass(frozen=True, slots=True)
class NotAccepted:
    """Nothing was written, and why: one of these words.

    - `replayed`, `gone`, `reused`: `detail` is the job of the idempotency key;
    - `late`: the function ran after its time limit; `lost`: the stage of a batch was swept;
    - `prompt_withheld`: the job `detail` was archived without its prompt and cannot run again;
    - `tenant_gone`: the tenant, or the key of an earlier tenant of that name, was deleted;
    - `model_gone`: `detail` is the model that the provider does not offer;
    - limits of the tenant or the key: `too_fast` (requests a minute; `detail` is whose, and the
      limit), `tenant_full` (queued jobs), `budget_spent` (`detail` is read by
      `shared.store.budgets.budget_of`);
    - a request of several jobs that could never be accepted: `too_many_jobs` (`detail` is whose
      limit, and the limit), `too_expensive` (`detail` as of `budget_spent`);
    - limits of the service: `full` (queued jobs of all tenants), `behind` (the queue's delay in
      milliseconds);
    - `too_long`: `fail_fast` cannot be met; `detail` is the position.

    `wait_seconds` is when a retry may succeed (for `too_long`: the expected wait), if known.
    """

    reason: str
    detail: str = ""
    wait_seconds: float | None = None
    rate: Rate | None = None


def accept(job: NewJob, *, not_after_ms: float) -> Command[Accepted | NotAccepted]:
    """Accept a job unless Redis' clock is past `not_after_ms`."""
    webhook = webhook_fields(job.spec.webhook)
    operation = operations.Accept(
        id=job.id,
        tenant=job.tenant,
        not_after_ms=not_after_ms,
        fingerprint=job.fingerprint,
        deadline_ms=job.deadline_seconds * 1000,
        max_attempts=job.max_attempts,
        priority=job.priority.value,
        spec=spec_json(job.spec),
        on_unknown=job.spec.on_unknown.value,
        webhook_url=webhook.url,
        webhook_host=job.webhook_host,
        webhook_events=webhook.events,
        model=job.spec.model,
        credits=job.credits,
        max_position=job.max_position,
        max_wait_ms=job.max_wait_ms,
        reused_from=job.reused.source if job.reused else "",
        image=image_json(job.reused.image) if job.reused else "",
        request_hash=request_hash(job.spec) if job.reused else "",
        trace=job.trace or "",
        idempotency_key=job.idempotency_key or "",
        tags=tags_text(job.spec.tags),
        words=prompt_words(job.spec),
        api_key=job.api_key or "",
        record_retention=job.spec.retention.record_seconds,
        image_retention=job.spec.retention.image_seconds,
        fallbacks="" if job.reused else job.fallback_lines,
    )
    return Command(operation, _accepted)


def _accepted(reply: Sequence[str]) -> Accepted | NotAccepted:
    if reply[0] != "accepted":
        return not_accepted(reply)
    _, created_at, rank, gate, eta, model, *rate = reply
    return Accepted(int(created_at), int(rank), gate, seconds_or_none(eta), model, rate_of(rate))


def not_accepted(reply: Sequence[str]) -> NotAccepted:
    """Parse a refusal: a word and a detail, and for some the wait and the rate."""
    reason, detail, wait, *rate = (*reply, "", "")[: max(len(reply), 3)]
    return NotAccepted(reason, detail, float(wait) / 1000 if wait else None, rate_of(rate))


def rate_of(fields: Sequence[str]) -> Rate | None:
    """Parse a rate; nothing or '' if there is no limit."""
    if not fields or not fields[0]:
        return None
    limit, left, reset = (int(part) for part in fields)
    return Rate(limit, left, reset / 1000)


@dataclass(frozen=True, slots=True)
class JobGroup:
    """The jobs of one request, accepted all or none; they differ only in id and input.

    `body` identifies the request: a retry of the same body joins the jobs of an earlier, unanswered
    attempt within `group_seconds`. With an idempotency key (of the first job) every request with
    that key gets the same jobs.
    """

    jobs: tuple[NewJob, ...]
    body: str
    is_retry: bool
    group_seconds: int


@dataclass(frozen=True, slots=True)
class JoinedAttempt:
    """An earlier attempt of the same request created these jobs; nothing was written."""

    jobs: tuple[str, ...]


def accept_group(
    group: JobGroup, *, not_after_ms: float
) -> Command[Accepted | JoinedAttempt | NotAccepted]:
    """Accept all jobs of a request unless Redis' clock is past `not_after_ms`; or join one."""
    first = group.jobs[0]
    operation = operations.AcceptGroup(
        tenant=first.tenant,
        not_after_ms=not_after_ms,
        fingerprint=first.fingerprint,
        is_retry=group.is_retry,
        keep_ms=group.group_seconds * 1000,
        deadline_ms=first.deadline_seconds * 1000,
        max_attempts=first.max_attempts,
        priority=first.priority.value,
        on_unknown=first.spec.on_unknown.value,
        model=first.spec.model,
        credits=first.credits,
        trace=first.trace or "",
        body=group.body,
        idempotency_key=first.idempotency_key or "",
        api_key=first.api_key or "",
        jobs=tuple(
            part
            for job in group.jobs
            for part in (job.id, spec_json(job.spec), prompt_words(job.spec))
        ),
    )
    return Command(operation, _accepted_all)


def _accepted_all(reply: Sequence[str]) -> Accepted | JoinedAttempt | NotAccepted:
    state, *rest = reply
    if state == "joined":
        return JoinedAttempt(tuple(rest))
    if state != "accepted":
        return not_accepted(reply)
    created_at, *rate = rest
    return Accepted(int(created_at), 0, rate=rate_of(rate))


def close_group(group: JobGroup, jobs: Sequence[str], *, answered: bool) -> Command[None]:
    """Record that a request was answered or abandoned: the next retry joins its jobs."""
    operation = operations.CloseGroup(
        tenant=group.jobs[0].tenant,
        body=group.body,
        ids=" ".join(jobs),
        outcome="answered" if answered else "left",
    )
    return Command(operation, lambda _: None)


def cancel(job_id: str, *, tenant: str) -> Command[Job | Status | None]:
    """Cancel a job; return it, or its final status, or None if there is none."""
    return _client_transition(operations.Cancel(job_id, tenant, uuid.uuid4().hex), job_id)


def rerun(
    job_id: str, *, tenant: str, deadline_seconds: int, api_key: str = ""
) -> Command[Job | Status | NotAccepted | None]:
    """Retry a failed or canceled job; return it, or its status, or why not.

    `api_key` is the id of the key that retries it, and pays for this run.
    """
    operation = operations.Rerun(job_id, tenant, uuid.uuid4().hex, deadline_seconds * 1000, api_key)
    return _client_transition(operation, job_id)


def delete_job(job_id: str, *, tenant: str) -> Command[Status | bool]:
    """Delete a final job of a tenant ("*" for any) and its image.

    Return True, False if there is none, or its status.
    """
    return Command(operations.DeleteJob(job_id, tenant, uuid.uuid4().hex), _deleted)


def _deleted(reply: Sequence[str]) -> Status | bool:
    return Status(reply[1]) if reply[0] == "state" else reply[0] == "ok"


def _client_transition(operation: Operation, job_id: str) -> Command[Any]:
    """Apply a client's transition; its token makes it safe to repeat."""
    return Command(operation, lambda reply: _client_transition_result(job_id, reply))


def _client_transition_result(
    job_id: str, reply: Sequence[str]
) -> Job | Status | NotAccepted | None:
    match reply[0]:
        case "ok":
            return job_of(job_id, pairs(reply[1:]))
        case "missing":
            return None
        case "state":
            return Status(reply[1])
    return not_accepted(reply)
