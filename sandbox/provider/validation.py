"""Validation of `POST /api/features`, following the provider's document.

Members must have the documented types and ranges; unknown members of `promptObject` are accepted
and ignored, as by the real one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import orjson

from sandbox.provider.call_log import RequestedImage
from sandbox.provider.error_responses import Refusal, missing_fields
from shared.model_catalog import Catalog, Model


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """A valid request. `prompt_object` is as sent; `is_async` requests a record id."""

    definition: Model
    prompt_object: Mapping[str, Any]
    is_async: bool

    @property
    def model(self) -> str:
        """The id of the model."""
        return self.definition.id

    @property
    def seed(self) -> Any:  # noqa: ANN401  a number, as sent
        """The requested seed; None without one."""
        return self.definition.seed_of(self.prompt_object)

    @property
    def request(self) -> RequestedImage:
        """Its entry in the call log."""
        return RequestedImage(self.prompt_object["prompt"], self.seed, self.model)


#: What a field must be, in words, if its value is invalid; otherwise None.
Check = Callable[[object], str | None]


def check(body: bytes, content_type: str, models: Catalog) -> GenerateRequest | Refusal:
    """Validate a request for one of `models`; a refusal names every fault at once."""
    sent = _read(body, content_type)
    if sent is None:
        return Refusal(400, "UNKNOWN_ERROR", "The body is not a JSON object.")
    wanted, model = sent.get("type"), sent.get("model")
    definition = models.get(model) if isinstance(model, str) else None
    features = {one.feature for one in ([definition] if definition else models.values())}
    if isinstance(wanted, str) and wanted not in features:
        return Refusal(400, "UNKNOWN_ERROR", "Something went wrong. Please try again later.")
    if isinstance(model, str) and definition is None:
        return Refusal(400, "UNSUPPORTED_MODEL", f"Model {model} is not supported")
    faults = _faults(sent, TOP_LEVEL) + _prompt_faults(sent.get("promptObject"), definition)
    if faults or definition is None:
        return missing_fields(str(model), faults)
    return GenerateRequest(definition, sent["promptObject"], sent.get("async") is True)


def _read(body: bytes, content_type: str) -> dict[str, Any] | None:
    """Parse the body; without a JSON media type it counts as empty, as for the real parser."""
    if not content_type.lower().startswith("application/json"):
        return {}
    try:
        sent = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return sent if isinstance(sent, dict) else None


def _prompt_faults(prompt_object: object, definition: Model | None) -> list[tuple[str, str]]:
    """Check the documented members of Klein's, and those of other models by their schema."""
    if not isinstance(prompt_object, dict):
        return []
    if definition is None or _is_klein(definition):
        return _faults(prompt_object, PROMPT_OBJECT)
    known = {
        name: value
        for name, value in prompt_object.items()
        if name in definition.parameters.properties
    }
    return [
        (str(path[0]), f"Field '{path[0]}' {words}")
        for path, words in definition.parameters.faults(known)
    ]


def _is_klein(definition: Model) -> bool:
    return definition.parameters.properties.keys() == PROMPT_OBJECT.keys()


def _faults(sent: Mapping[str, Any], checks: Mapping[str, Check]) -> list[tuple[str, str]]:
    """Return (field, message) for each missing or invalid field."""
    found: list[tuple[str, str]] = []
    for name, verdict_on in checks.items():
        if name in sent:
            verdict = verdict_on(sent[name])
            if verdict is not None:
                found.append((name, f"Field '{name}' must be {verdict}"))
        elif name in REQUIRED:
            found.append((name, f"Field '{name}' is required"))
    return found


def _text(value: object) -> str | None:
    return None if isinstance(value, str) and value.strip() else "a string that is not empty"


def _flag(value: object) -> str | None:
    return None if isinstance(value, bool) else "a boolean"


def _integer(value: object) -> str | None:
    return None if isinstance(value, dict) else "an object"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _any_number(value: object) -> str | None:
    return None if _is_number(value) else "a number"


def _number(low: int, high: int) -> Check:
    def verdict(value: object) -> str | None:
        good = _is_number(value) and low <= value <= high  # type: ignore[operator]  # a number
        return None if good else f"a number from {low} to {high}"

    return verdict


def _one_of(*words: str) -> Check:
    def verdict(value: object) -> str | None:
        good = isinstance(value, str) and value in words
        return None if good else f"a string, one of {', '.join(words)}"

    return verdict


REQUIRED = frozenset({"type", "model", "promptObject", "prompt"})

TOP_LEVEL: Mapping[str, Check] = MappingProxyType(
    {"type": _text, "model": _text, "promptObject": _integer, "async": _flag}
)

PROMPT_OBJECT: Mapping[str, Check] = MappingProxyType(
    {
        "prompt": _text,
        "aspect_ratio": _one_of("1:1", "16:9", "9:16", "3:2", "2:3", "4:5", "5:4"),
        "output_format": _one_of("webp", "jpg", "png"),
        "output_quality": _number(0, 100),
        "num_inference_steps": _number(1, 4),
        "go_fast": _flag,
        "megapixels": _one_of("0.25", "1"),
        "disable_safety_checker": _flag,
        "seed": _any_number,
    }
)
