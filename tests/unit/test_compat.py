"""What the dialects make of sizes, bodies, problems and jobs."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from api.compat.openai.errors import answer as openai_problem
from api.compat.openai.parsing import parse_request
from api.compat.replicate.parsing import new_prediction
from api.compat.size import size_parameters
from api.jobs.parsing import JobRequestContext
from api.problems import KINDS, Problem
from shared.api_keys import TENANT_SCOPES
from shared.errors import ErrorCode, InvalidSettings
from shared.jobs import EventType, State
from shared.model_catalog import DEFAULT_MODEL, SEED_MAX
from shared.replicate_schema import prediction
from shared.serializers import View
from shared.settings import Settings, load_settings
from shared.signing import ImageUrlSigner
from shared.store.tenants import Principal
from tests.support.jobs import job
from tests.support.models import CATALOG, KLEIN

VIEW = View("https://darkroom.test", ImageUrlSigner(keys=(b"k" * 32,)))
PRINCIPAL = Principal("id", "hash", frozenset(TENANT_SCOPES), "acme", may_disable_safety=False)
ASKING = JobRequestContext(PRINCIPAL, Settings())


def klein_size(size: str) -> Mapping[str, str]:
    assert KLEIN.size
    return size_parameters(KLEIN, KLEIN.size, size)


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ("auto", None),
        ("1024x1024", ("1:1", "1")),
        ("512x512", ("1:1", "0.25")),
        ("256x256", ("1:1", "0.25")),
        ("1792x1024", ("16:9", "1")),
        ("1024x1792", ("9:16", "1")),
        ("1536x1024", ("3:2", "1")),
        ("1024x1536", ("2:3", "1")),
        ("1920x1080", ("16:9", "1")),
        ("640x360", ("16:9", "0.25")),
        ("1024x768", ("5:4", "1")),
        ("2048x1024", ("16:9", "1")),
    ],
)
def test_a_size_becomes_the_nearest_shape(size: str, shape: tuple[str, str] | None) -> None:
    expected = dict(zip(("aspect_ratio", "megapixels"), shape, strict=True)) if shape else {}
    assert klein_size(size) == expected


@pytest.mark.parametrize(
    "size",
    ["", "1024", "1024X1024", "0x1024", "-1x5", "1024x1024 ", "2048x2048", "128x128", "2100x900"],
)
def test_a_size_far_from_all_is_refused(size: str) -> None:
    with pytest.raises(ValueError, match=r"must|ratio"):
        klein_size(size)


def images(**body: Any) -> list[dict[str, Any]]:
    raw = orjson.dumps({"prompt": "x", **body})
    asked = parse_request(raw, ASKING, is_retry=False)
    return [dict(one.spec.input) for one in asked.together.jobs]


def test_seeds_of_one_request_differ() -> None:
    assert len({one["seed"] for one in images(n=10)}) == 10
    assert [one["seed"] for one in images(n=3, seed=SEED_MAX - 2)] == list(
        range(SEED_MAX - 2, SEED_MAX + 1)
    )


@pytest.mark.parametrize(
    ("written", "pointer"),
    [
        (b'{"prompt":"p","n":2,"seed":9007199254740991}', "/n"),
        (b'{"prompt":"p","n":true}', "/n"),
        (b'{"prompt":"p","n":1.5}', "/n"),
        (b'{"prompt":"p","n":' + b"9" * 5000 + b"}", "/n"),
        (b'{"prompt":"p","seed":18446744073709551616}', "/seed"),
        (b'{"prompt":"p","seed":NaN}', "/seed"),
        (b'{"prompt":"p","seed":true}', "/seed"),
        (b'{"prompt":"cat \\ud83d"}', "/prompt"),
        (b'{"prompt":"cat \xff"}', "/prompt"),
        (b'{"prompt":"p","user":"\\ude00"}', "/user"),
        ('{"prompt":"p"}'.encode("utf-16"), ""),
        (b'{"prompt":"p","size":7}', "/size"),
    ],
)
def test_a_value_that_openai_s_dialect_cannot_take_is_named(written: bytes, pointer: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_request(written, ASKING, is_retry=False)
    assert [fault.pointer for fault in caught.value.errors] == [pointer]


def test_faults_of_members_and_of_parameters_are_named_together() -> None:
    with pytest.raises(Problem) as caught:
        images(n=11, size="100x5000", output_format="gif", sede=7)
    assert {fault.pointer for fault in caught.value.errors} == {
        "/n",
        "/size",
        "/output_format",
        "/sede",
    }


def test_only_a_model_that_can_make_it_has_a_transparent_background() -> None:
    with pytest.raises(Problem) as caught:
        images(background="transparent")
    assert [(one.pointer, one.message) for one in caught.value.errors] == [
        ("/background", "must be one of: auto, opaque")
    ]
    (made,) = images(model="gpt-image-1-mini", background="transparent", size="1536x1024")
    assert (made["background"], made["size"]) == ("transparent", "1536x1024")


@pytest.mark.parametrize(
    ("model", "body", "found"),
    [
        ("gemini-2.5-flash-image", {"size": "auto"}, {"prompt": "x"}),
        ("black-forest-labs/flux-2-flex", {"size": "1920x1080"}, {"aspect_ratio": "16:9"}),
        ("black-forest-labs/flux-2-flex", {"output_format": "jpeg"}, {"output_format": "jpg"}),
        ("gpt-image-1-mini", {"quality": "hd"}, {"quality": "high", "output_format": "png"}),
        ("gpt-image-1-mini", {"output_compression": 70}, {"output_compression": 70}),
    ],
)
def test_openai_s_members_mean_what_the_model_s_definition_says(
    model: str, body: dict[str, Any], found: dict[str, Any]
) -> None:
    (made,) = images(model=model, **body)
    assert {name: made[name] for name in found} == found


def test_a_parameter_that_another_model_lacks_reaches_the_model_that_has_it() -> None:
    raw = orjson.dumps({"input": {"prompt": "p", "prompt_upsampling": True, "steps": 20}})
    flex = CATALOG["black-forest-labs/flux-2-flex"]
    made = new_prediction(raw, ASKING, model=flex, cancel_after=None)
    assert (made.spec.input["prompt_upsampling"], made.spec.input["steps"]) == (True, 20)


def test_a_name_that_replicate_refuses_is_accepted_for_a_model_that_has_it(tmp_path: Path) -> None:
    definition = copy.deepcopy(KLEIN.model_dump(mode="json"))
    definition["input"]["properties"]["num_outputs"] = {"type": "integer"}
    file = tmp_path / "models.yaml"
    file.write_text(yaml.safe_dump({"models": [definition]}))
    context = JobRequestContext(PRINCIPAL, Settings(models_file=str(file)))
    raw = orjson.dumps({"input": {"prompt": "p", "num_outputs": 2}})
    model = context.models[KLEIN.id]
    made = new_prediction(raw, context, model=model, cancel_after=None)
    assert made.spec.input["num_outputs"] == 2


def test_openai_s_numbers_may_be_written_as_whole_floats() -> None:
    raw = b'\xef\xbb\xbf{"prompt":"p","n":2.0,"seed":7.0,"partial_images":0.0,"size":null}'
    found = parse_request(raw, ASKING, is_retry=False).together.jobs
    assert [one.spec.input["seed"] for one in found] == [7, 8]


def test_an_unknown_model_is_told_with_what_to_use_and_the_setting() -> None:
    with pytest.raises(Problem) as caught:
        images(model="dall-e-3")
    (fault,) = caught.value.errors
    assert fault.pointer == "/model"
    assert DEFAULT_MODEL in fault.message
    assert f"DARKROOM_OPENAI_MODELS=dall-e-3={DEFAULT_MODEL}" in fault.message


def predicted(given: dict[str, Any]) -> dict[str, Any]:
    raw = b"\xef\xbb\xbf" + orjson.dumps({"input": {"prompt": "p", **given}})
    made = new_prediction(raw, ASKING, model=KLEIN, cancel_after=None)
    return dict(made.spec.input)


@pytest.mark.parametrize(
    "given",
    [
        {"num_outputs": 1},
        {"num_outputs": 1.0, "seed": 7.0},
        {"num_images": 1, "number_of_images": 1},
        {"images": [], "input_images": [], "image": None, "mask": None},
        {"negative_prompt": "", "prompt_upsampling": False, "guidance_scale": None},
        {"aspect_ratio": None, "size": None, "seed": None, "output_format": None},
    ],
)
def test_what_asks_replicate_for_nothing_unusual_is_taken(given: dict[str, Any]) -> None:
    found = predicted(given)
    assert (found["aspect_ratio"], found["output_format"]) == ("1:1", "jpg")
    assert found["seed"] == given.get("seed") or given.get("seed") is None


def test_a_size_in_pixels_is_the_nearest_shape_for_replicate_too() -> None:
    found = predicted({"size": "1024x576"})
    assert (found["aspect_ratio"], found["megapixels"]) == ("16:9", "1")


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"num_outputs": 2}, "/input/num_outputs"),
        ({"num_outputs": True}, "/input/num_outputs"),
        ({"num_outputs": "1"}, "/input/num_outputs"),
        ({"images": ["https://x.test/y.png"]}, "/input/images"),
        ({"input_image": "https://x.test/y.png"}, "/input/input_image"),
        ({"mask": "data:"}, "/input/mask"),
        ({"negative_prompt": "rain"}, "/input/negative_prompt"),
        ({"prompt_upsampling": True}, "/input/prompt_upsampling"),
        ({"prompt_upsampling": 0}, "/input/prompt_upsampling"),
        ({"size": "huge"}, "/input/size"),
        ({"size": 7}, "/input/size"),
        ({"size": "512x512", "aspect_ratio": "1:1"}, "/input/aspect_ratio"),
        ({"seed": True}, "/input/seed"),
        ({"seed": 2**63}, "/input/seed"),
        ({"prompt": None}, "/input/prompt"),
    ],
)
def test_what_replicate_s_dialect_cannot_make_is_named(given: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Problem) as caught:
        predicted(given)
    assert [fault.pointer for fault in caught.value.errors] == [pointer]


@pytest.mark.parametrize(
    ("written", "pointer"),
    [
        (b'{"input":{"prompt":"cat \\ud83d"}}', "/input/prompt"),
        (b'{"input":{"prompt":"\xff"}}', "/input/prompt"),
        (b'{"input":{"prompt":"p","seed":' + b"9" * 5000 + b"}}", "/input/seed"),
        ('{"input":{"prompt":"p"}}'.encode("utf-16"), ""),
    ],
)
def test_a_value_that_a_prediction_cannot_have_is_named(written: bytes, pointer: str) -> None:
    with pytest.raises(Problem) as caught:
        new_prediction(written, ASKING, model=KLEIN, cancel_after=None)
    assert [fault.pointer for fault in caught.value.errors] == [pointer]


def test_one_body_has_one_name_however_it_is_written() -> None:
    written = (b'{"prompt": "x", "n": 1}', b'{"n":1,"prompt":"x"}', b'{"n":2,"prompt":"x"}')
    names = [parse_request(one, ASKING, is_retry=False).together.body for one in written]
    assert names[0] == names[1] != names[2]


def test_openai_has_its_own_defaults_and_ours_by_name() -> None:
    (usual,) = images()
    assert (usual["output_format"], usual["output_quality"]) == ("png", 100)
    (chosen,) = images(output_format="jpeg", aspect_ratio="9:16", output_quality=70)
    found = (chosen["output_format"], chosen["aspect_ratio"], chosen["output_quality"])
    assert found == ("jpg", "9:16", 70)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'"x"', b"\xff"])
def test_what_is_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(Problem) as caught:
        parse_request(raw, ASKING, is_retry=False)
    assert caught.value.code == "invalid_request"


@pytest.mark.parametrize("code", sorted(KINDS))
def test_only_what_may_be_tried_again_invites_a_retry(code: str) -> None:
    answer = openai_problem(Problem(code, "It is so."), "id")
    is_permanent = answer.headers.get("x-should-retry") == "false"
    has_time = KINDS[code].retry_after is not None
    assert ("retry-after" in answer.headers) is has_time
    # a day's credits come back, but not while a client tries by itself
    assert is_permanent is (not has_time or code == "credits_spent")


@pytest.mark.parametrize(
    ("code", "theirs", "kind"),
    [
        ("unauthenticated", "invalid_api_key", "authentication_error"),
        ("forbidden", "forbidden", "permission_error"),
        ("rate_limited", "rate_limit_exceeded", "rate_limit_error"),
        ("tenant_queue_full", "rate_limit_exceeded", "rate_limit_error"),
        ("auth_rate_limited", "rate_limit_exceeded", "rate_limit_error"),
        ("credits_spent", "insufficient_quota", "insufficient_quota"),
        ("deadline_unreachable", "deadline_unreachable", "server_error"),
    ],
)
def test_openai_has_words_of_its_own_for_some_refusals(code: str, theirs: str, kind: str) -> None:
    answer = openai_problem(Problem(code, "It is so.", headers={"Retry-After": "7"}), "id")
    error = orjson.loads(answer.body)["error"]
    assert (error["code"], error["type"]) == (theirs, kind)
    assert answer.headers["retry-after"] == "7"


def test_an_alias_must_name_a_model_on_offer() -> None:
    with pytest.raises(InvalidSettings, match="DARKROOM_OPENAI_MODELS is not usable"):
        load_settings(openai_models=("dall-e-3=nobody/nothing",))
    chosen = load_settings(openai_models=f"dall-e-3={DEFAULT_MODEL}, x={DEFAULT_MODEL}")
    assert chosen.openai_aliases == {"dall-e-3": DEFAULT_MODEL, "x": DEFAULT_MODEL}


@pytest.mark.parametrize(
    ("events", "ours"),
    [
        (["start"], {EventType.JOB_STARTED}),
        (["output"], {EventType.JOB_SUCCEEDED}),
        (["logs"], {EventType.JOB_SUCCEEDED, EventType.JOB_FAILED}),
        (
            ["completed"],
            {EventType.JOB_SUCCEEDED, EventType.JOB_FAILED, EventType.JOB_CANCELED},
        ),
        (None, set(EventType)),
    ],
)
def test_a_filter_names_our_events(events: list[str] | None, ours: set[EventType]) -> None:
    body = {"input": {"prompt": "x"}, "webhook": "https://x.test/hook"}
    body |= {"webhook_events_filter": events} if events else {}
    made = new_prediction(orjson.dumps(body), ASKING, model=KLEIN, cancel_after=None)
    webhook = made.spec.webhook
    assert webhook
    assert set(webhook["events"]) == ours
    assert (webhook["form"], made.webhook_host) == ("replicate", "x.test")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"state": State.QUEUED}, "starting"),
        ({"state": State.CALLING}, "processing"),
        ({"state": State.SUCCEEDED}, "succeeded"),
        ({"state": State.CANCELED}, "canceled"),
        ({"state": State.FAILED, "error_code": ErrorCode.PROVIDER_DOWN}, "failed"),
        ({"state": State.FAILED, "error_code": ErrorCode.DEADLINE_EXCEEDED}, "canceled"),
    ],
)
def test_a_prediction_has_the_five_states_that_its_client_knows(
    changes: dict[str, Any], status: str
) -> None:
    told = prediction(VIEW, job(**changes))
    assert told["status"] == status
    assert told["model"]
    assert told["version"]
