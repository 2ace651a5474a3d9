"""`GET /api/results/{uuid}` and `GET /models`: look-ups."""

import uuid

from starlette.requests import Request
from starlette.responses import Response

from sandbox.provider.error_responses import dead_key, json_response
from sandbox.provider.keys import carried
from sandbox.provider.responses import record_reply
from sandbox.provider.state import state_of
from shared.model_catalog import Model
from shared.model_catalog.model import OWNER


async def result(request: Request) -> Response:
    """Respond to the look-up of a record; an unknown id has a null record."""
    state = state_of(request)
    key = carried(request.headers)
    if not state.keys.admit(request.headers):
        state.call_log.note("result", "401", key=key)
        return dead_key().response()
    record_id = request.path_params["record_id"]
    record = state.records.find(record_id)
    if record is None:
        state.call_log.note("result", "unknown", key=key, record_id=record_id)
        return json_response({"aiRecord": None})
    status = record.status
    outcome = "ok" if status == "SUCCESS" else status.lower()
    state.call_log.note(
        "result", outcome, request=record.request, key=key, record_id=record.shown_id
    )
    return json_response(record_reply(record, status, state, request))


async def models(request: Request) -> Response:
    """List the models of a feature, without a key."""
    wanted = request.query_params.get("feature")
    offered = state_of(request).models
    listed = [model for model in offered.listed.values() if wanted in {None, model.feature}]
    shown = [
        _entry(model, is_active=model.id in offered.active, credits_each=offered.price_of(model))
        for model in listed
    ]
    return json_response({"models": shown, "total": len(shown)})


def _entry(model: Model, *, is_active: bool, credits_each: float) -> dict[str, object]:
    owner, slash, _ = model.id.partition("/")
    return {
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, model.id)),
        "modelId": model.id,
        "name": model.name,
        "group": model.name.rpartition(" ")[0] or model.name,
        "provider": owner if slash else OWNER,
        "status": "ACTIVE" if is_active else "DISABLED",
        "features": [model.feature],
        "creditEstimation": credits_each,
    }
