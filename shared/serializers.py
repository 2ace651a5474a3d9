"""The JSON of jobs and batches for the API and webhooks."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, overload
from urllib.parse import quote

from shared import schemas
from shared.batches import Batch
from shared.errors import ErrorCode
from shared.jobs import Image, Job, State, Status, WaitingOn
from shared.model_catalog import Catalog, load_catalog
from shared.setting_values import OBJECT_KEY
from shared.signing import ImageUrlSigner
from shared.store.job_queries import QueuedJob

_WAITS = {reason.value for reason in WaitingOn}
#: What a job that waits for its next attempt waits on, by error code; all others just retry.
_WAITS_LATER: Mapping[ErrorCode | None, WaitingOn] = {
    ErrorCode.STORAGE_DOWN: WaitingOn.STORAGE,
    ErrorCode.IMAGE_EXPIRED: WaitingOn.IMAGE_HOST,
}


@overload
def rfc3339(milliseconds: int) -> str: ...
@overload
def rfc3339(milliseconds: int | None) -> str | None: ...
def rfc3339(milliseconds: int | None) -> str | None:
    """Write a time as RFC 3339 in UTC with milliseconds."""
    if milliseconds is None:
        return None
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    """Write a time to the second, cached because most times written are close together."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@dataclass(frozen=True, slots=True)
class View:
    """Write jobs.

    `public_url` is the URL of the service for clients. `image_base_url` is that of a CDN in front
    of the service, or with `{key}` that of a stored object, which anyone may read; '': neither.
    `models` are those of the settings.
    """

    public_url: str
    signer: ImageUrlSigner
    image_base_url: str = ""
    models: Catalog = field(default_factory=load_catalog)

    def job(self, queued_job: QueuedJob) -> schemas.Job:
        """Write a job."""
        job = queued_job.job
        return {
            "id": job.id,
            "status": job.state.status,
            "step": job.state.step,
            "model": job.spec.model,
            "fallback_models": list(job.spec.fallback_models),
            "served_model": job.served_model,
            "input": dict(job.spec.input),
            "prompt_withheld": job.is_prompt_withheld,
            "image": self._image(job, job.image) if job.image else None,
            "version": job.version,
            "run": job.run,
            "reused_from": job.reused_from,
            "error": _error(job),
            "attempt": job.attempt,
            "max_attempts": job.max_attempts,
            "priority": job.priority,
            "waiting_on": waiting_on(queued_job),
            "position": queued_job.rank,
            "eta_seconds": queued_job.eta_seconds,
            "batch_id": job.batch_id,
            "metadata": dict(job.spec.metadata),
            "tags": list(job.spec.tags),
            "webhook": webhook_shown(job.spec.webhook),
            "created_at": rfc3339(job.created_at),
            "started_at": rfc3339(job.started_at),
            "finished_at": rfc3339(job.finished_at),
            "deadline_at": rfc3339(job.deadline_at),
            "expires_at": rfc3339(job.expires_at),
            "timings": _timings(job),
            "provider": {
                "record_id": job.record_id,
                "calls": job.calls,
                "unknown_outcomes": job.unknown_outcomes,
                "regenerated": job.regenerated,
            },
        }

    def image_url(self, job: Job) -> str:
        """Return the URL of a job's image."""
        if job.image and OBJECT_KEY in self.image_base_url:
            return self.image_base_url.replace(OBJECT_KEY, quote(job.image.key))
        return self._signed_url(job.id)

    def _signed_url(self, job_id: str) -> str:
        cdn = "" if OBJECT_KEY in self.image_base_url else self.image_base_url
        query = self.signer.query(job_id, now_seconds=time.time())
        return f"{cdn or self.public_url}/v1/jobs/{job_id}/image?{query}"

    def _image(self, job: Job, image: Image) -> schemas.JobImage:
        return {
            "url": self.image_url(job),
            "preview_url": f"{self._signed_url(job.id)}&size=preview",
            "key": image.key,
            "content_type": image.content_type,
            "width": image.width,
            "height": image.height,
            "bytes": image.bytes,
            "sha256": image.sha256,
            "warnings": list(image.warnings),
            "expires_at": rfc3339(job.image_deleted_at or job.image_expires_at or job.expires_at),
            "deleted_at": rfc3339(job.image_deleted_at),
        }


def batch_shown(batch: Batch, now_ms: int) -> schemas.Batch:
    """Write a batch as of `now_ms`."""
    return {
        "id": batch.id,
        "status": batch.status,
        "total": batch.size,
        "counts": counts_shown(batch.counts),
        "progress": round(batch.progress, 4),
        "eta_seconds": batch.eta_seconds(now_ms),
        "priority": batch.spec.priority,
        "metadata": dict(batch.spec.metadata),
        "tags": list(batch.spec.tags),
        "webhook": webhook_shown(batch.spec.webhook),
        "created_at": rfc3339(batch.created_at),
        "started_at": rfc3339(batch.started_at),
        "canceled_at": rfc3339(batch.canceled_at),
        "completed_at": rfc3339(batch.completed_at),
    }


def counts_shown(counts: Mapping[Status, int] | Mapping[str, int]) -> schemas.StatusCounts:
    """Write how many jobs there are by status."""
    return {
        "queued": counts.get(Status.QUEUED, 0),
        "running": counts.get(Status.RUNNING, 0),
        "succeeded": counts.get(Status.SUCCEEDED, 0),
        "failed": counts.get(Status.FAILED, 0),
        "canceled": counts.get(Status.CANCELED, 0),
    }


def waiting_on(queued_job: QueuedJob) -> WaitingOn | None:
    """Return why a queued job does not run; None for every other job."""
    job = queued_job.job
    if job.state is not State.QUEUED:
        return None
    if job.due_at is not None:
        return _WAITS_LATER.get(job.last_error_code, WaitingOn.RETRY)
    return waiting_reason(queued_job.gate)


def waiting_reason(gate: str) -> WaitingOn:
    """Return why ready jobs are not claimed, by what holds them ('' for nothing)."""
    return WaitingOn(gate) if gate in _WAITS else WaitingOn.QUEUE


def webhook_shown(webhook: Mapping[str, Any] | None) -> schemas.WebhookTarget | None:
    """Write a webhook without its headers, which may be secrets."""
    if webhook is None:
        return None
    return {"url": webhook["url"], "events": list(webhook["events"])}


def _error(job: Job) -> schemas.JobError | None:
    if job.error_code is None:
        return None
    return {
        "code": job.error_code,
        "message": job.error_message or "",
        "retryable": job.error_retryable,
    }


def _timings(job: Job) -> schemas.Timings:
    seconds = job.timings.get
    return {
        "wait": seconds("wait"),
        "provider": seconds("provider"),
        "download": seconds("download"),
        "store": seconds("store"),
        "total": seconds("total"),
    }
