"""A job in Replicate's form, a prediction, for responses and webhooks."""

from collections.abc import Mapping

from shared.errors import ErrorCode
from shared.jobs import Job, Status
from shared.model_catalog import Model
from shared.schemas import Prediction, PredictionStatus
from shared.serializers import View, rfc3339

#: The `form` of webhooks that send predictions instead of jobs.
FORM = "replicate"
#: The path prefix of Replicate's API.
ROOT = "/replicate/v1"
_STATUSES: Mapping[Status, PredictionStatus] = {
    Status.QUEUED: "starting",
    Status.RUNNING: "processing",
    Status.SUCCEEDED: "succeeded",
    Status.FAILED: "failed",
    Status.CANCELED: "canceled",
}


def prediction(view: View, job: Job) -> Prediction:
    """Write a job as a prediction; Replicate's client requires `model` and `version`."""
    here = f"{view.public_url}{ROOT}/predictions/{job.id}"
    model = view.models.get(job.spec.model)
    has_image = job.image is not None and job.image_deleted_at is None
    return {
        "id": job.id,
        "model": model.replicate_id if model else job.spec.model,
        "version": model.version if model else "hidden",
        "status": _status(job),
        "input": dict(job.spec.input),
        "output": [view.image_url(job)] if has_image else None,
        "logs": _logs(view.models.get(job.model), job),
        "error": _error(job),
        "source": "api",
        "data_removed": job.image_deleted_at is not None or job.is_prompt_withheld,
        "created_at": rfc3339(job.created_at),
        "started_at": rfc3339(job.started_at),
        "completed_at": rfc3339(job.finished_at),
        "metrics": _metrics(job),
        "urls": {"get": here, "cancel": f"{here}/cancel"},
    }


def _logs(model: Model | None, job: Job) -> str:
    """Return the log: the seed, from which clients read it, if the model has one."""
    seed = model.seed_of(job.spec.input) if model else job.spec.input.get("seed")
    return "" if seed is None else f"Using seed: {seed}\n"


def _status(job: Job) -> PredictionStatus:
    """Return the status; `Cancel-After` sets the deadline, and the client knows no `aborted`."""
    if job.error_code is ErrorCode.DEADLINE_EXCEEDED:
        return "canceled"
    return _STATUSES[job.state.status]


def _error(job: Job) -> str | None:
    if job.error_code is None:
        return None
    return job.error_message or job.error_code.value


def _metrics(job: Job) -> dict[str, float]:
    """Seconds at the provider and in total, once they are known."""
    if not job.state.is_final:
        return {}
    steps = [job.timings.get(step, 0.0) for step in ("provider", "download", "store")]
    return {"predict_time": sum(steps), "total_time": job.timings.get("total", 0.0)}
