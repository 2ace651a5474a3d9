import json
from typing import Any

import pytest

from sandbox.provider.error_responses import Refusal
from sandbox.provider.validation import GenerateRequest, check
from tests.support.models import CATALOG, KLEINS

GOOD: dict[str, Any] = {
    "type": "IMAGE_GENERATOR",
    "model": "black-forest-labs/flux-2-klein-9b",
    "promptObject": {
        "prompt": "A lighthouse at dawn",
        "aspect_ratio": "16:9",
        "num_inference_steps": 4,
        "go_fast": True,
        "megapixels": "1",
        "output_format": "webp",
        "output_quality": 80,
        "disable_safety_checker": False,
        "seed": 7,
    },
}


def checked(body: object, content_type: str = "application/json") -> GenerateRequest | Refusal:
    return check(json.dumps(body).encode(), content_type, CATALOG)


def with_prompt_object(**fields: object) -> dict[str, Any]:
    return GOOD | {"promptObject": GOOD["promptObject"] | fields}


def fields_of(refusal: GenerateRequest | Refusal) -> list[str]:
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.code) == (400, "MISSING_REQUIRED_FIELDS")
    assert isinstance(refusal.details, str)
    faults = json.loads(refusal.details)
    assert all(set(fault) == {"field", "message"} for fault in faults)
    return [fault["field"] for fault in faults]


@pytest.mark.parametrize("model", KLEINS)
def test_the_seeds_own_example_passes_for_both_models(model: str) -> None:
    order = checked(GOOD | {"model": model})

    assert order == GenerateRequest(CATALOG[model], GOOD["promptObject"], is_async=False)


def test_async_is_read_from_the_top_level() -> None:
    order = checked(GOOD | {"async": True})

    assert isinstance(order, GenerateRequest)
    assert order.is_async


def test_fields_that_the_model_does_not_know_are_accepted() -> None:
    assert isinstance(checked(with_prompt_object(style="noir")), GenerateRequest)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", ""),
        ("prompt", 7),
        ("aspect_ratio", "21:9"),
        ("aspect_ratio", 1),
        ("output_format", "gif"),
        ("output_quality", "80"),
        ("output_quality", 101),
        ("output_quality", -1),
        ("output_quality", True),
        ("num_inference_steps", 0),
        ("num_inference_steps", 5),
        ("num_inference_steps", "4"),
        ("go_fast", "true"),
        ("go_fast", 1),
        ("megapixels", 1),
        ("megapixels", "2"),
        ("disable_safety_checker", None),
        ("seed", "7"),
        ("seed", None),
        ("seed", False),
    ],
)
def test_a_wrong_value_is_refused_by_name(field: str, value: object) -> None:
    assert fields_of(checked(with_prompt_object(**{field: value}))) == [field]


def test_every_fault_is_named_at_once() -> None:
    body = {"model": GOOD["model"], "promptObject": {"seed": "x", "megapixels": 1}}

    assert fields_of(checked(body)) == ["type", "prompt", "megapixels", "seed"]


def test_a_body_that_is_not_declared_as_json_counts_as_empty() -> None:
    assert fields_of(checked(GOOD, "text/plain")) == ["type", "model", "promptObject"]


def test_an_unknown_model_is_unsupported() -> None:
    refusal = checked(GOOD | {"model": "gone"})

    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.code) == (400, "UNSUPPORTED_MODEL")


def test_another_feature_is_an_unknown_error() -> None:
    refusal = checked(GOOD | {"type": "CHAT"})

    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.code) == (400, "UNKNOWN_ERROR")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
def test_a_body_that_is_no_json_object_is_an_unknown_error(body: bytes) -> None:
    refusal = check(body, "application/json", CATALOG)

    assert isinstance(refusal, Refusal)
    assert refusal.code == "UNKNOWN_ERROR"
