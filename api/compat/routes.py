"""The addresses of the dialects."""

from api.auth import BEARER
from api.compat.openai import images
from api.compat.openai import models as openai_models
from api.compat.reference import describe
from api.compat.replicate import models, predictions
from api.problems import Problem
from api.routing import Direct, Endpoint
from shared.replicate_schema import ROOT

_OPENAI = "/openai/v1"
#: Older clients and much of the documentation have `Token`.
_REPLICATE_SCHEMES = frozenset({*BEARER, "token"})
_MODEL = "/models/{owner}/{name}"
_ONE = "/predictions/{prediction_id}"


#: What is said where a dialect has an operation that Darkroom has not.
_OFFERED = {
    "/openai/": (
        "Darkroom generates images from prompts only: POST /openai/v1/images/generations, and "
        "GET /openai/v1/models. There are no edits, variations, chats, responses, files or batches."
    ),
    "/replicate/": (
        "Darkroom generates images from prompts only: predictions, models, account and "
        "webhooks/default/secret, all below /replicate/v1. There are no files, deployments, "
        "trainings, collections, hardware or streams."
    ),
}


def explained(problem: Problem, path: str) -> Problem:
    """Add to a problem of routing what a dialect offers, where the path is one of a dialect."""
    offered = next((offered for start, offered in _OFFERED.items() if path.startswith(start)), "")
    if offered:
        is_unknown = problem.code == "not_found"
        detail = "This operation is not offered." if is_unknown else problem.detail
        problem.detail = f"{detail} {offered}"
    return problem


def _openai(method: str, path: str, endpoint: Endpoint, name: str) -> Direct:
    return Direct(method, f"{_OPENAI}{path}", endpoint, docs=describe(f"openai_{name}"))


def _replicate(method: str, path: str, endpoint: Endpoint, name: str) -> Direct:
    offered = describe(f"replicate_{name}")
    return Direct(method, f"{ROOT}{path}", endpoint, docs=offered, schemes=_REPLICATE_SCHEMES)


DIALECT_ROUTES: tuple[Direct, ...] = (
    _openai("POST", "/images/generations", images.create_images, "create_images"),
    _openai("GET", "/models", openai_models.get_models, "get_models"),
    _openai("GET", "/models/{model_id:path}", openai_models.get_model, "get_model"),
    _replicate("POST", "/predictions", predictions.create_prediction, "create_prediction"),
    _replicate("GET", "/predictions", predictions.get_predictions, "get_predictions"),
    _replicate("GET", _ONE, predictions.get_prediction, "get_prediction"),
    _replicate("POST", f"{_ONE}/cancel", predictions.cancel_prediction, "cancel_prediction"),
    _replicate(
        "POST",
        f"{_MODEL}/predictions",
        predictions.create_model_prediction,
        "create_model_prediction",
    ),
    _replicate("GET", "/models", models.get_models, "get_models"),
    _replicate("GET", _MODEL, models.get_model, "get_model"),
    _replicate("GET", f"{_MODEL}/versions", models.get_versions, "get_versions"),
    _replicate("GET", f"{_MODEL}/versions/{{version}}", models.get_version, "get_version"),
    _replicate("GET", "/account", models.get_account, "get_account"),
    _replicate("GET", "/webhooks/default/secret", models.get_webhook_secret, "get_webhook_secret"),
)
