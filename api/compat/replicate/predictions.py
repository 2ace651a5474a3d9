"""`/replicate/v1/predictions`: create jobs and return them as predictions."""

import base64
from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from fastapi import Depends, Query
from pydantic import Field
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from api.compat.replicate.errors import SHAPE
from api.compat.replicate.models import READ, ReplicatePage, ReplicateRoute, unknown_model
from api.compat.replicate.parsing import find_model, new_prediction
from api.compat.replicate.schemas import PredictionBody
from api.context import AppContext, Context, CurrentTenant, is_final
from api.headers import preferred_wait, reads_headers
from api.jobs.create import enqueue, job_request_context, until_final
from api.jobs.routes import read_job
from api.json_body import RawBody
from api.problems import BODY, NOT_ACCEPTED, not_found, problems
from api.query import JobCursor, Moment, QueryModel, encode_cursor
from api.routing import tenant_router
from shared.errors import DarkroomError
from shared.history.search import JobSearch
from shared.ids import is_job_id
from shared.jobs import Job
from shared.replicate_schema import ROOT, prediction
from shared.schemas import Prediction
from shared.store.job_queries import Filter, Page, QueuedJob
from shared.store.job_submission import cancel
from shared.store.tenants import Principal

_PAGE = 100
_CREATED = 201
_ACCEPTED = 202


_ONE = f"{ROOT}/predictions/{{prediction_id}}"
_READ_IMAGE = problems("not_found", "image_damaged", "storage_down", shape=SHAPE)
_Raw = Annotated[bytes, Depends(RawBody(PredictionBody))]
_CREATING: dict[str, Any] = {
    "status_code": _CREATED,
    "response_model": Prediction,
    "response_description": "Accepted, or final if the response was held",
    "responses": {
        202: {"description": "Not final after the wait", "model": Prediction},
        **problems(*("not_found", "image_damaged"), *BODY, *NOT_ACCEPTED, shape=SHAPE),
    },
    "openapi_extra": reads_headers(
        Idempotency_Key="The same key and body make the same jobs, within 24 hours",
        Prefer="`wait` (60 s) or `wait=N`, 1 to 60 seconds",
        Cancel_After="Canceled after this: `90`, `90s`, `1h30m`",
    ),
}

router = tenant_router("replicate", route_class=ReplicateRoute, shape=SHAPE)


@router.post(f"{ROOT}/predictions", operation_id="replicate_create_prediction", **_CREATING)
async def create_prediction(
    request: Request, parts: Context, principal: CurrentTenant, raw: _Raw
) -> Response:
    """Create a job of the model that `version` names.

    With `Prefer: wait` (60 s) or `wait=N` (1 to 60), the response is held until the job is final.
    """
    return await _create(request, parts, principal, raw)


@router.post(
    f"{ROOT}/models/{{owner}}/{{name}}/predictions",
    operation_id="replicate_create_model_prediction",
    **_CREATING,
)
async def create_model_prediction(
    request: Request, parts: Context, principal: CurrentTenant, raw: _Raw, owner: str, name: str
) -> Response:
    """Create a job of this model; waits like `POST /predictions`."""
    return await _create(request, parts, principal, raw, f"{owner}/{name}")


async def _create(
    request: Request,
    parts: AppContext,
    principal: Principal,
    raw: bytes,
    model: str | None = None,
) -> Response:
    found = find_model(parts.models, model) if model else None
    if model and not found:
        raise unknown_model(parts.models_for(principal))
    context = job_request_context(request, parts, principal)
    cancel_after = request.headers.get("cancel-after")
    job = new_prediction(raw, context, model=found, cancel_after=cancel_after)
    queued_job, headers = await enqueue(request, parts, job)
    response = await _made(request, parts, queued_job)
    response.headers.update(headers)
    return response


async def _made(request: Request, parts: AppContext, queued_job: QueuedJob) -> Response:
    """Respond with the prediction: at once, or when it is final if the client prefers to wait."""
    seconds = preferred_wait(request.headers)
    if seconds is None:
        return _response(_begun(parts, queued_job.job), _CREATED)
    queued_job = await until_final(parts, queued_job, seconds)
    if is_final(queued_job):
        try:
            return _response(await _prediction(parts, queued_job.job), _CREATED)
        except DarkroomError:
            pass  # the storage is unavailable: the client polls, and its GET is retried
    return _response(_begun(parts, queued_job.job), _ACCEPTED)


def _begun(parts: AppContext, job: Job) -> Prediction:
    """Write a prediction with status `starting`: the client takes every other one for finished."""
    found = prediction(parts.view, job)
    return {**found, "status": "starting", "output": None, "completed_at": None, "metrics": {}}


@router.get(
    _ONE,
    operation_id="replicate_get_prediction",
    response_model=Prediction,
    response_description="The prediction",
    responses=_READ_IMAGE,
)
async def get_prediction(parts: Context, principal: CurrentTenant, prediction_id: str) -> Response:
    """Read a prediction: any job of the tenant, whichever API created it."""
    queued_job = await read_job(parts, prediction_id, principal.tenant)
    return _response(await _prediction(parts, queued_job.job))


@router.post(
    f"{_ONE}/cancel",
    operation_id="replicate_cancel_prediction",
    response_model=Prediction,
    response_description="The prediction",
    responses=_READ_IMAGE,
)
async def cancel_prediction(
    parts: Context, principal: CurrentTenant, prediction_id: str
) -> Response:
    """Cancel a prediction; a final one is returned unchanged."""
    if not is_job_id(prediction_id):
        raise not_found("prediction")
    found = await parts.committer.run(cancel(prediction_id, tenant=principal.tenant))
    if isinstance(found, Job):
        return _response(prediction(parts.view, found))
    queued_job = await read_job(parts, prediction_id, principal.tenant)
    return _response(await _prediction(parts, queued_job.job))


class _PredictionsQuery(QueryModel):
    created_after: Annotated[Moment, Field(description="Later than this")] = None
    created_before: Annotated[Moment, Field(description="Earlier than this")] = None
    cursor: Annotated[JobCursor, Field(description="Of `next`")] = None


@router.get(
    f"{ROOT}/predictions",
    operation_id="replicate_get_predictions",
    response_model=ReplicatePage,
    response_description="A page, newest first",
    responses=READ,
)
async def get_predictions(
    request: Request,
    parts: Context,
    principal: CurrentTenant,
    query: Annotated[_PredictionsQuery, Query()],
) -> Response:
    """List predictions, newest first, a hundred per page; `next` is the URL of the next page."""
    after, before = query.created_after, query.created_before
    wanted = Filter(created_after=after, created_before=before)
    search = JobSearch(principal.tenant, wanted, _PAGE, before=query.cursor)
    return _page(request, parts, await parts.records.jobs(search))


def _page(request: Request, parts: AppContext, page: Page) -> Response:
    following = None
    if page.before:
        parameters = request.query_params.multi_items()
        bounds = [(name, value) for name, value in parameters if name != "cursor"]
        query = str(QueryParams([*bounds, ("cursor", encode_cursor(page.before))]))
        following = f"{parts.settings.public_url}{ROOT}/predictions?{query}"
    found = [prediction(parts.view, queued_job.job) for queued_job in page.jobs]
    return _response(ReplicatePage(previous=None, next=following, results=found))


async def _prediction(parts: AppContext, job: Job) -> Prediction:
    """Write a prediction whose output Replicate's client accepts as a file.

    The client accepts only `https:` and `data:` URLs: without TLS, the image itself is in the
    response. Raise StorageDown, ObjectMissing, ObjectDamaged.
    """
    found = prediction(parts.view, job)
    has_no_tls = not parts.view.image_url(job).startswith("https:")
    if found["output"] and job.image and has_no_tls:
        data = await parts.images.whole(job.image)
        written = base64.b64encode(data).decode()
        found["output"] = [f"data:{job.image.content_type};base64,{written}"]
    return found


def _response(body: Mapping[str, object], status: int = 200) -> Response:
    headers = {"Cache-Control": "private, no-cache"}
    return Response(orjson.dumps(body), status, headers, "application/json")
