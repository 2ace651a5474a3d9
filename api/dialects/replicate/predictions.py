"""`/replicate/v1/predictions`: asks for jobs and shows them as predictions."""

import base64
from typing import Any

import orjson
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from api.dialects.replicate.ask import new_prediction
from api.dialects.replicate.models import unknown_model
from api.headers import preferred_wait
from api.jobs.create import asking_of, queued, until_final
from api.jobs.read import CLOCKS_APART_MS, LOOK, id_bound, read_job
from api.json_body import require_json
from api.parts import Parts, parts_of, tenant_of
from api.problems import not_found
from api.query import Query, cursor_of, hide, milliseconds
from api.waiting import is_final
from shared.errors import DarkroomError
from shared.ids import is_job_id
from shared.jobs import Job
from shared.models import MODELS
from shared.prediction import ROOT, prediction
from shared.store.asking import cancel
from shared.store.reading import Filter, Page, Standing, list_jobs

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
    parts, holder = parts_of(request), await tenant_of(request)
    Query(request).done()
    require_json(request)
    if model is not None and model not in MODELS:
        raise unknown_model()
    asking = asking_of(request, parts, holder)
    cancel_after = request.headers.get("cancel-after")
    raw = await request.body()
    job = new_prediction(raw, asking, model=model, cancel_after=cancel_after)
    standing, headers = await queued(request, parts, job)
    response = await _made(request, parts, standing)
    response.headers.update(headers)
    return response


async def _made(request: Request, parts: Parts, standing: Standing) -> Response:
    """Answer with what was made: at once, or when it is final if the client prefers to wait."""
    seconds = preferred_wait(request.headers)
    if seconds is None:
        return _response(_begun(parts, standing.job), _CREATED)
    standing = await until_final(parts, standing, seconds)
    if is_final(standing):
        try:
            return _response(await _whole(parts, standing.job), _CREATED)
        except DarkroomError:
            pass  # the storage is away: the client asks again, and its GET is tried again
    return _response(_begun(parts, standing.job), _ACCEPTED)


def _begun(parts: Parts, job: Job) -> dict[str, Any]:
    """Write a prediction whose client must ask again: it takes all but `starting` for finished."""
    found = prediction(parts.view, job)
    return {**found, "status": "starting", "output": None, "completed_at": None, "metrics": {}}


async def get_prediction(request: Request, prediction_id: str) -> Response:
    """Read a prediction: any job of the tenant, however it was asked for."""
    parts, holder = parts_of(request), await tenant_of(request)
    Query(request).done()
    standing = await read_job(parts, prediction_id, holder.tenant)
    return _response(await _whole(parts, standing.job))


async def cancel_prediction(request: Request, prediction_id: str) -> Response:
    """Cancel a prediction; one that is final is given as it is."""
    parts, holder = parts_of(request), await tenant_of(request)
    Query(request).done()
    if not is_job_id(prediction_id):
        raise not_found("prediction")
    found = await parts.committer.run(cancel(prediction_id, tenant=holder.tenant))
    if isinstance(found, Job):
        return _response(prediction(parts.view, found))
    standing = await read_job(parts, prediction_id, holder.tenant)
    return _response(await _whole(parts, standing.job))


async def get_predictions(request: Request) -> Response:
    """List predictions, newest first, a hundred a page; `next` is the address of the next."""
    parts, holder = parts_of(request), await tenant_of(request)
    query = Query(request)
    after = query.take("created_after", milliseconds)
    before = query.take("created_before", milliseconds)
    cursor = query.take("cursor", cursor_of(is_job_id))
    query.done()
    call = list_jobs(
        holder.tenant,
        Filter(created_after=after, created_before=before),
        before=cursor,
        oldest=id_bound(after, -CLOCKS_APART_MS),
        newest=id_bound(before, CLOCKS_APART_MS),
        limit=_PAGE,
        look=LOOK,
    )
    return _page(request, parts, await parts.committer.run(call))


def _page(request: Request, parts: Parts, page: Page) -> Response:
    following = None
    if page.before:
        kept = request.query_params.multi_items()
        bounds = [(name, value) for name, value in kept if name != "cursor"]
        query = str(QueryParams([*bounds, ("cursor", hide(page.before))]))
        following = f"{parts.settings.public_url}{ROOT}/predictions?{query}"
    found = [prediction(parts.view, standing.job) for standing in page.jobs]
    return _response({"previous": None, "next": following, "results": found})


async def _whole(parts: Parts, job: Job) -> dict[str, Any]:
    """Write a prediction whose output its client takes for a file.

    It takes `https:` and `data:` addresses only: where the service is reached without TLS the
    picture itself is in the answer. Raises StorageDown, ObjectMissing, ObjectDamaged.
    """
    found = prediction(parts.view, job)
    if job.image and not parts.view.public_url.startswith("https:"):
        picture = await parts.pictures.whole(job.image)
        written = base64.b64encode(picture).decode()
        found["output"] = [f"data:{job.image.content_type};base64,{written}"]
    return found


def _response(body: dict[str, Any], status: int = 200) -> Response:
    headers = {"Cache-Control": "private, no-cache"}
    return Response(orjson.dumps(body), status, headers, "application/json")
