"""Estimate a job, and find a reusable image for it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shared.jobs import Image
from shared.store import operations
from shared.store.codec import image_json, image_of, request_hash, seconds_or_none
from shared.store.command import Command
from shared.store.job_submission import (
    NewJob,
    NotAccepted,
    Rate,
    Reused,
    not_accepted,
    rate_of,
)


@dataclass(frozen=True, slots=True)
class ReuseSource:
    """An archived job with an image of the same request."""

    job_id: str
    image: Image


@dataclass(frozen=True, slots=True)
class DryRunResult:
    """How a job would be queued, or why it would be refused; the rest as in `QueuedJob`.

    `reused_from` is the job whose image it would get, without being queued.
    """

    refusal: NotAccepted | None
    rank: int
    eta_seconds: float | None
    gate: str
    reused_from: str | None
    rate: Rate | None


def dry_run(job: NewJob, *, archived: ReuseSource | None = None) -> Command[DryRunResult]:
    """Estimate a job; nothing is written, and no request is counted.

    `archived` is a job of the history whose image it would get, if Redis has none.
    """
    operation = operations.DryRun(
        tenant=job.tenant,
        deadline_ms=job.deadline_seconds * 1000,
        priority=job.priority.value,
        credits=job.credits,
        max_position=job.max_position,
        max_wait_ms=job.max_wait_ms,
        request_hash=request_hash(job.spec) if job.spec.reuse else "",
        archived_id=archived.job_id if archived else "",
        model=job.spec.model,
        api_key=job.api_key or "",
        fallbacks=job.fallback_lines,
    )
    return Command(operation, _dry_run_result)


def _dry_run_result(reply: Sequence[str]) -> DryRunResult:
    reason, detail, wait, rank, eta, gate, source, *rate = reply
    refused = not_accepted([reason, detail, wait, *rate]) if reason else None
    return DryRunResult(
        refused, int(rank), seconds_or_none(eta), gate, source or None, rate_of(rate)
    )


@dataclass(frozen=True, slots=True)
class Reusable:
    """The image `image` of an identical request, and the name for a job's copy of it."""

    image: Image
    copy: Reused


def find_reusable(
    job: NewJob, *, object_name: str, archived: ReuseSource | None = None
) -> Command[Reusable | None]:
    """Find the image of an identical request, and reserve the name of a copy; None if missing.

    `archived` is one of the history, used if Redis has none. Unless a job comes to own the copy, it
    is deleted later, whatever happens to this process.
    """
    operation = operations.FindReusable(
        tenant=job.tenant,
        request_hash=request_hash(job.spec),
        object_name=object_name,
        idempotency_key=(job.idempotency_key or "") if job.fingerprint else "",
        archived_id=archived.job_id if archived else "",
        archived_image=image_json(archived.image) if archived else "",
        api_key=job.api_key or "",
    )
    return Command(operation, _reusable)


def _reusable(reply: Sequence[str]) -> Reusable | None:
    if not reply:
        return None
    source, image_json, copy_key = reply
    image = image_of(image_json)
    return Reusable(image, Reused(source, replace(image, key=copy_key)))
