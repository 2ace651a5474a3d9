"""What a record says was made, against what was asked for."""

from typing import Any

import pytest

from tests.support.models import KLEIN
from worker.provider.echo import Request, differences

PROMPT = "A café by the sea"
REQUEST = Request("black-forest-labs/flux-2-klein-9b", {"prompt": PROMPT, "seed": 7})


def record(**changes: Any) -> dict[str, Any]:
    echo = {"prompt": PROMPT, "seed": 7} | changes.pop("echo", {})
    detail = {"promptObject": echo, "resultObject": ["a.webp"]} | changes.pop("detail", {})
    known = {"uuid": "b2c3", "model": REQUEST.model, "type": "IMAGE_GENERATOR"}
    return known | {"aiRecordDetail": detail} | changes


@pytest.mark.parametrize(
    "said",
    [
        {},
        record(),
        record(echo={"prompt": "  A cafe\u0301\tby the\n sea "}),
        record(echo={"seed": "7"}),
        record(echo={"seed": 7.0}),
        record(echo={"seed": "7.0"}),
        record(echo={"prompt": None, "seed": None}),
        record(model="flux-2-klein-9b"),
        record(model="Black-Forest-Labs/FLUX-2-Klein-9B"),
        record(detail={"promptObject": '{"prompt": "A café by the sea"}'}),
        record(detail={"promptObject": None, "resultObject": None}),
        record(aiRecordDetail="no object"),
        record(uuid=None, model=None, type=None),
    ],
)
def test_the_same_said_otherwise_and_what_is_not_said_are_no_difference(
    said: dict[str, Any],
) -> None:
    assert differences(REQUEST, said) == ()


@pytest.mark.parametrize(
    ("said", "warnings"),
    [
        (record(echo={"prompt": "A dog"}), ("prompt",)),
        (record(echo={"prompt": ["A dog"]}), ("prompt",)),
        (record(echo={"prompt": ""}), ("prompt",)),
        (record(echo={"seed": 8}), ("seed",)),
        (record(echo={"seed": "eight"}), ("seed",)),
        (record(echo={"seed": 7.5}), ("seed",)),
        (record(echo={"seed": True}), ("seed",)),
        (record(model="black-forest-labs/flux-2-klein-4b"), ("model",)),
        (record(model=9), ("model",)),
        (record(detail={"promptObject": '{"prompt": "A dog"}'}), ("prompt",)),
        (record(detail={"resultObject": ["a.webp", "b.webp"]}), ("record",)),
        (record(uuid="b2\x1bc3"), ("record",)),
        (record(type="IMAGE_EDITOR"), ("record",)),
        (record(echo={"prompt": "A dog", "seed": 8}, model="m"), ("prompt", "seed", "model")),
    ],
)
def test_each_difference_is_a_warning(said: dict[str, Any], warnings: tuple[str, ...]) -> None:
    assert differences(REQUEST, said) == warnings


def test_what_was_not_asked_for_is_not_compared() -> None:
    assert differences(Request(REQUEST.model, {"prompt": PROMPT}), record()) == ()


def test_a_request_has_the_feature_and_the_seed_of_its_model() -> None:
    model = KLEIN.model_copy(update={"feature": "IMAGE_MAKER", "seed": "dice"})
    given = {"prompt": PROMPT, "dice": 7}
    request = Request.of(model.id, given, {model.id: model})

    assert request.feature == "IMAGE_MAKER"
    assert differences(request, record(type="IMAGE_MAKER", echo={"dice": 8})) == ("seed",)
    assert differences(request, record(echo={"dice": 7})) == ("record",)
    unknown = Request.of(model.id, given, {})
    assert (unknown.feature, unknown.prompt_object) == ("IMAGE_GENERATOR", given)
