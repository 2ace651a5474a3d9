"""The addresses of the dialects."""

from api.dialects.openai import images
from api.dialects.openai import models as openai_models
from api.dialects.reference import told
from api.dialects.replicate import models, predictions
from api.routing import Direct, Endpoint
from shared.prediction import ROOT

_OPENAI = "/openai/v1"
_MODEL = "/models/{owner}/{name}"
_ONE = "/predictions/{prediction_id}"


def _openai(method: str, path: str, endpoint: Endpoint, name: str) -> Direct:
    return Direct(method, f"{_OPENAI}{path}", endpoint, told=told(f"openai_{name}"))


def _replicate(method: str, path: str, endpoint: Endpoint, name: str) -> Direct:
    return Direct(method, f"{ROOT}{path}", endpoint, told=told(f"replicate_{name}"))


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
