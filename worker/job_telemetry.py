"""Logs and metrics of a job's attempts, with the same words."""

from collections.abc import Iterator
from contextlib import contextmanager

from shared import metrics
from shared.errors import ContentRejected, JobError, ProviderRejected, StorageDown
from shared.jobs import Image, Job
from shared.logs import log
from shared.store.transitions import Requeue
from worker.retry_policy import Fail

_LOG = log(__name__)
#: The provider's message may repeat the prompt, and prompts stay out of the logs.
_QUOTES_PROMPT = (ContentRejected, ProviderRejected)


def claimed(job: Job, *, with_prompt: bool) -> None:
    """Report the start of an attempt; prompts are logged only if the operator wants that."""
    if job.started_at is not None and job.claimed_at == job.started_at:
        metrics.JOB_WAIT_SECONDS.observe((job.started_at - job.created_at) / 1000)
    fields = {"prompt": job.spec.input.get("prompt")} if with_prompt else {}
    _LOG.info("job claimed", resumed=job.answer is not None, **fields)


def succeeded(job: Job, image: Image, *, seconds: float) -> None:
    """Report a job that succeeded, after `seconds` of this attempt."""
    metrics.JOB_ATTEMPTS.labels("succeeded").inc()
    metrics.IMAGE_BYTES.observe(image.bytes)
    if job.fallback:
        metrics.FALLBACK_JOBS.labels(job.spec.model).inc()
    for warning in image.warnings:
        metrics.IMAGE_WARNINGS_FOUND.labels(warning).inc()
    _LOG.info("job succeeded", bytes=image.bytes, key=image.key, seconds=round(seconds, 3))
    _finished(job, "succeeded", "", seconds)


def attempt_failed(job: Job, error: JobError, outcome: Requeue | Fail, *, seconds: float) -> None:
    """Report a failed attempt of `seconds`, and what follows."""
    if outcome.unknown:
        metrics.PROVIDER_UNKNOWN_OUTCOMES.inc()
    fields: dict[str, object] = {"error_code": error.code.value, "seconds": round(seconds, 3)}
    if not isinstance(error, _QUOTES_PROMPT):
        fields["error"] = str(error)
    if isinstance(outcome, Requeue):
        metrics.JOB_ATTEMPTS.labels("retried").inc()
        _LOG.warning("job retried", wait_seconds=round(outcome.wait_seconds, 3), **fields)
    else:
        metrics.JOB_ATTEMPTS.labels("failed").inc()
        _LOG.warning("job failed", **fields)
        _finished(job, "failed", outcome.error.code.value, seconds)


def repeated_answer() -> None:
    """Report that the provider answered with the record or the URL of another job."""
    metrics.PROVIDER_REPEATED_ANSWERS.inc()
    _LOG.warning("provider answer repeated")


def lost() -> None:
    """Report that the job was canceled, expired or claimed by another worker in the meantime."""
    metrics.JOB_ATTEMPTS.labels("lost").inc()
    _LOG.info("job lost")


def released() -> None:
    """Report that the job was released."""
    metrics.JOB_ATTEMPTS.labels("released").inc()
    _LOG.info("job released")


def broken() -> None:
    """Report an exception in our own code, with its traceback."""
    _LOG.exception("job failed because of a defect in Darkroom; please report the trace")


@contextmanager
def storage(operation: str) -> Iterator[None]:
    """Measure one storage operation."""
    with metrics.STORAGE_SECONDS.labels(operation).time():
        try:
            yield
        except StorageDown:
            metrics.STORAGE_ERRORS.labels(operation).inc()
            raise


def not_deleted(objects: int) -> None:
    """Report objects that the storage refuses to delete; they are retried."""
    metrics.STORAGE_ERRORS.labels("delete").inc()
    _LOG.warning("object deletion refused", objects=objects)


def _finished(job: Job, status: str, code: str, seconds: float) -> None:
    """Count a final job; time it by Redis' clock until the claim, then by this process' clock."""
    metrics.JOBS_FINISHED.labels(job.model, status, code).inc()
    metrics.JOB_RUN_SECONDS.observe(seconds)
    waited = ((job.claimed_at or job.created_at) - job.created_at) / 1000
    metrics.JOB_TOTAL_SECONDS.labels(status).observe(waited + seconds)
