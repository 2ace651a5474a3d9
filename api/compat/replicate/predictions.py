"""`/replicate/v1/predictions`: asks for jobs and shows them as predictions."""

import base64
from typing import Any

import orjson
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from api.compat.replicate.models import unknown_model
from api.compat.replicate.parsing import new_prediction
from api.context import AppContext, app_context, current_tenant
from api.headers import preferred_wait
from api.job_waiting import is_final
from api.jobs.create import enqueue, job_request_context, until_final
from api.jobs.read import CLOCK_SKEW_MS, SCAN_LIMIT, id_bound, read_job
from api.json_body import require_json
from api.problems import not_found
from api.query import Query, cursor_of, encode_cursor, milliseconds
from shared.errors import DarkroomError
from shared.ids import is_job_id
from shared.jobs import Job
from shared.model_catalog import MODELS
from shared.replicate_schema import ROOT, prediction
from shared.store.job_queries import Filter, Page, QueuedJob, list_jobs
from shared.store.job_submission import cancel

_PAGE = 100
_CREATED = 201
_ACCEPTED = 202


async def create_prediction(request: Request) -> Response:
    """Accept a job of the model that `version` names.

    With `Prefer: wait` (60 s) or `wait=N` (1 to 60) the answer is held until the job is final.
    """
    return await _create(request, None)


async def create_model_prediction(request: Request, owner: str, name: str) -> Response:
    """Accept a job of this model; waits as `POST /predictions` does."""
    return await _create(request, f"{owner}/{name}")


async def _create(request: Request, model: str | None) -> Response:
    parts, principal = app_context(request), await current_tenant(request)
    Query(request).done()
    require_json(request)
    if model is not None and model not in MODELS:
        raise unknown_model()
    context = job_request_context(request, parts, principal)
    cancel_after = request.headers.get("cancel-after")
    raw = await request.body()
    job = new_prediction(raw, context, model=model, cancel_after=cancel_after)
    queued_job, headers = await enqueue(request, parts, job)
    response = await _made(request, parts, queued_job)
    response.headers.update(headers)
    return response


async def _made(request: Request, parts: AppContext, queued_job: QueuedJob) -> Response:
    """Answer with what was made: at once, or when it is final if the client prefers to wait."""
    seconds = preferred_wait(request.headers)
    if seconds is None:
        return _response(_begun(parts, queued_job.job), _CREATED)
    queued_job = await until_final(parts, queued_job, seconds)
    if is_final(queued_job):
        try:
            return _response(await _prediction(parts, queued_job.job), _CREATED)
        except DarkroomError:
            pass  # the storage is away: the client asks again, and its GET is tried again
    return _response(_begun(parts, queued_job.job), _ACCEPTED)


def _begun(parts: AppContext, job: Job) -> dict[str, Any]:
    """Write a prediction whose client must ask again: it takes all but `starting` for finished."""
    found = prediction(parts.view, job)
    return {**found, "status": "starting", "output": None, "completed_at": None, "metrics": {}}


async def get_prediction(request: Request, prediction_id: str) -> Response:
    """Read a prediction: any job of the tenant, however it was asked for."""
    parts, principal = app_context(request), await current_tenant(request)
    Query(request).done()
    queued_job = await read_job(parts, prediction_id, principal.tenant)
    return _response(await _prediction(parts, queued_job.job))


async def cancel_prediction(request: Request, prediction_id: str) -> Response:
    """Cancel a prediction; one that is final is given as it is."""
    parts, principal = app_context(request), await current_tenant(request)
    Query(request).done()
    if not is_job_id(prediction_id):
        raise not_found("prediction")
    found = await parts.committer.run(cancel(prediction_id, tenant=principal.tenant))
    if isinstance(found, Job):
        return _response(prediction(parts.view, found))
    queued_job = await read_job(parts, prediction_id, principal.tenant)
    return _response(await _prediction(parts, queued_job.job))


async def get_predictions(request: Request) -> Response:
    """List predictions, newest first, a hundred a page; `next` is the address of the next."""
    parts, principal = app_context(request), await current_tenant(request)
    query = Query(request)
    after = query.take("created_after", milliseconds)
    before = query.take("created_before", milliseconds)
    cursor = query.take("cursor", cursor_of(is_job_id))
    query.done()
    call = list_jobs(
        principal.tenant,
        Filter(created_after=after, created_before=before),
        before=cursor,
        oldest=id_bound(after, -CLOCK_SKEW_MS),
        newest=id_bound(before, CLOCK_SKEW_MS),
        limit=_PAGE,
        scan_limit=SCAN_LIMIT,
    )
    return _page(request, parts, await parts.committer.run(call))


def _page(request: Request, parts: AppContext, page: Page) -> Response:
    following = None
    if page.before:
        parameters = request.query_params.multi_items()
        bounds = [(name, value) for name, value in parameters if name != "cursor"]
        query = str(QueryParams([*bounds, ("cursor", encode_cursor(page.before))]))
        following = f"{parts.settings.public_url}{ROOT}/predictions?{query}"
    found = [prediction(parts.view, queued_job.job) for queued_job in page.jobs]
    return _response({"previous": None, "next": following, "results": found})


async def _prediction(parts: AppContext, job: Job) -> dict[str, Any]:
    """Write a prediction whose output its client takes for a file.

    It takes `https:` and `data:` addresses only: where the service is reached without TLS the
    picture itself is in the answer. Raises StorageDown, ObjectMissing, ObjectDamaged.
    """
    found = prediction(parts.view, job)
    if job.image and not parts.view.public_url.startswith("https:"):
        data = await parts.images.whole(job.image)
        written = base64.b64encode(data).decode()
        found["output"] = [f"data:{job.image.content_type};base64,{written}"]
    return found


def _response(body: dict[str, Any], status: int = 200) -> Response:
    headers = {"Cache-Control": "private, no-cache"}
    return Response(orjson.dumps(body), status, headers, "application/json")
