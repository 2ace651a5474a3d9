"""`GET /api/results/{uuid}` and `GET /models`: look-ups."""

import uuid

from starlette.requests import Request
from starlette.responses import Response

from sandbox.provider.error_responses import dead_key, json_response
from sandbox.provider.keys import carried
from sandbox.provider.responses import record_reply
from sandbox.provider.state import state_of
from sandbox.provider.validation import FEATURE
from shared.model_catalog import MODELS

#: The approximate cost of one image, in the provider's credits.
CREDITS_PER_IMAGE = 105


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
    wanted = request.query_params.get("feature", FEATURE)
    listed = [_entry(name, model.name) for name, model in MODELS.items()]
    shown = listed if wanted == FEATURE else []
    return json_response({"models": shown, "total": len(shown)})


def _entry(model_id: str, name: str) -> dict[str, object]:
    return {
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, model_id)),
        "modelId": model_id,
        "name": name,
        "group": "FLUX.2",
        "provider": "black-forest-labs",
        "status": "ACTIVE",
        "features": [FEATURE],
        "creditEstimation": CREDITS_PER_IMAGE,
    }
