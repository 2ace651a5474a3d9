"""The `openai` package as it is, against the whole service: its documented calls and its errors."""

import asyncio
import base64
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest
from PIL import Image

from shared.model_catalog import DEFAULT_MODEL
from tests.compat.conftest import Place

pytestmark = pytest.mark.xdist_group("dialects")

PROMPT = "A cute baby sea otter"
#: Many tests ask for small images, which are made sooner.
SMALL = "512x512"


@pytest.fixture
def client(place: Place) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=place.key, base_url=f"{place.api}/openai/v1") as client:
        yield client


def image_of(encoded: str | None) -> Image.Image:
    assert encoded
    return Image.open(io.BytesIO(base64.b64decode(encoded)))


def jobs(place: Place) -> list[dict[str, Any]]:
    """Return the tenant's jobs, newest first, as Darkroom itself shows them."""
    headers = {"Authorization": f"Bearer {place.key}"}
    page = httpx.get(f"{place.api}/v1/jobs", headers=headers, params={"limit": 200}).json()
    return list(page["data"])


def raw(place: Place, body: dict[str, Any], **headers: str) -> httpx.Response:
    """Ask as a program does that was written without the package."""
    told = {"Authorization": f"Bearer {place.key}", **headers}
    url = f"{place.api}/openai/v1/images/generations"
    return httpx.post(url, json=body, headers=told, timeout=60)


def test_an_image_comes_in_base64_as_png_unless_it_is_asked_otherwise(
    client: openai.OpenAI,
) -> None:
    answer = client.images.generate(model=DEFAULT_MODEL, prompt=PROMPT, size="1024x1024")

    assert answer.data
    assert answer.data[0].url is None
    found = image_of(answer.data[0].b64_json)
    assert (found.format, found.width) == ("PNG", found.height)
    assert answer.output_format == "png"
    assert answer.size == f"{found.width}x{found.height}"
    assert answer.created > 1_700_000_000


def test_an_image_comes_by_its_address(client: openai.OpenAI, place: Place) -> None:
    answer = client.images.generate(
        model=DEFAULT_MODEL,
        prompt=PROMPT,
        size="1792x1024",
        response_format="url",
        output_format="jpeg",
        output_compression=50,
        user="somebody",
    )

    assert answer.data
    assert answer.data[0].b64_json is None
    assert answer.data[0].url
    fetched = httpx.get(answer.data[0].url, headers={"Authorization": "Bearer another's"})
    found = Image.open(io.BytesIO(fetched.content))
    assert found.format == "JPEG"
    newest = jobs(place)[0]
    assert newest["metadata"] == {"user": "somebody"}
    assert newest["input"]["aspect_ratio"] == "16:9"
    assert newest["input"]["output_quality"] == 50


def test_three_images_have_different_seeds(client: openai.OpenAI, place: Place) -> None:
    answer = client.images.generate(
        model="dall-e-3", prompt=PROMPT, n=3, extra_body={"seed": 5, "megapixels": "0.25"}
    )

    assert answer.data
    assert len({one.b64_json for one in answer.data}) == 3
    made = jobs(place)[:3]
    assert sorted(job["input"]["seed"] for job in made) == [5, 6, 7]
    assert {job["model"] for job in made} == {"black-forest-labs/flux-2-klein-4b"}
    assert place.paid() == 3


def test_the_async_client_has_many_at_once(place: Place) -> None:
    async def ask() -> list[Any]:
        base = f"{place.api}/openai/v1"
        async with openai.AsyncOpenAI(api_key=place.key, base_url=base) as client:
            asked = (client.images.generate(prompt=f"{PROMPT} {i}", size=SMALL) for i in range(5))
            return list(await asyncio.gather(*asked))

    answers = asyncio.run(ask())
    assert len({one.data[0].b64_json for one in answers}) == 5


def test_the_models_are_listed_and_read(client: openai.OpenAI) -> None:
    named = {model.id for model in client.models.list()}
    assert {DEFAULT_MODEL, "dall-e-3"} <= named
    assert client.models.retrieve(DEFAULT_MODEL).id == DEFAULT_MODEL
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody/nothing")


def test_faults_are_named_at_once_and_never_tried_again(
    client: openai.OpenAI, place: Place
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(
            model=DEFAULT_MODEL,
            prompt=PROMPT,
            size="100x5000",
            n=11,
            extra_body={"sede": 7},
        )

    error = caught.value
    for word in ("size", "n must be at most 10", "did you mean seed?"):
        assert word in error.message
    assert error.param in {"size", "n"}
    assert error.code == "invalid_request"
    assert error.type == "invalid_request_error"
    assert error.response.headers["x-should-retry"] == "false"
    assert place.asked() == []


@pytest.mark.parametrize(
    "body",
    [
        {"size": "big"},
        {"size": "4096x4096"},
        {"size": "16x16"},
        {"stream": True},
        {"partial_images": 2},
        {"background": "transparent"},
        {"output_format": "svg"},
        {"n": 0},
        {"n": "2"},
        {"size": "512x512", "aspect_ratio": "1:1"},
        {"model": "dall-e-2"},
        {"prompt": ""},
        {"seed": None, "num_inference_steps": None},
    ],
)
def test_what_cannot_be_made_is_refused(place: Place, body: dict[str, Any]) -> None:
    answer = raw(place, {"prompt": PROMPT, **body})

    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] in body
    assert error["message"]


def test_a_wrong_key_is_an_authentication_error(place: Place) -> None:
    wrong = openai.OpenAI(api_key="sk-wrong", base_url=f"{place.api}/openai/v1")
    with wrong, pytest.raises(openai.AuthenticationError) as caught:
        wrong.images.generate(prompt=PROMPT)
    assert caught.value.code == "invalid_api_key"


def test_an_address_that_is_not_there_is_told_in_their_words(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
    assert caught.value.code == "not_found"


def test_a_refused_prompt_is_told_as_moderation(client: openai.OpenAI, place: Place) -> None:
    place.provider.behave({"fault": "misleading_busy", "message": "NSFW content detected"})

    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(prompt=PROMPT, size=SMALL)

    assert caught.value.code == "moderation_blocked"
    assert caught.value.type == "image_generation_user_error"


def test_one_of_three_that_fails_fails_the_request_and_the_others_are_kept(
    client: openai.OpenAI, place: Place
) -> None:
    place.provider.behave({"fault": "failure_record"})

    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(prompt=PROMPT, n=3, size=SMALL)

    assert "1 of 3 images were not made" in caught.value.message
    assert isinstance(caught.value.body, dict)
    ids = caught.value.body["job_ids"]
    found = {job["id"]: job["status"] for job in jobs(place)}
    assert sorted(found[one] for one in ids) == ["failed", "succeeded", "succeeded"]


def test_a_client_that_times_out_buys_once(place: Place) -> None:
    """Its retries join the job that its first try made, which goes on without it."""
    place.provider.behave(latency_seconds=2.5)
    base = f"{place.api}/openai/v1"

    with openai.OpenAI(api_key=place.key, base_url=base, timeout=1, max_retries=8) as hasty:
        answer = hasty.images.generate(prompt=f"{PROMPT} in a hurry", size=SMALL)

    assert answer.data
    assert place.paid() == 1


def test_two_that_ask_the_same_have_an_image_each(client: openai.OpenAI, place: Place) -> None:
    with ThreadPoolExecutor(4) as threads:
        asked = [
            threads.submit(client.images.generate, prompt=PROMPT, size="512x512") for _ in range(4)
        ]
        answers = [one.result(60).data for one in asked]

    assert len({found[0].b64_json for found in answers if found}) == 4
    assert place.paid() == 4


def test_an_idempotency_key_gives_the_same_images_again(place: Place) -> None:
    body = {"prompt": PROMPT, "n": 2, "size": "512x512"}
    key = {"Idempotency-Key": "otters"}

    first, second = raw(place, body, **key), raw(place, body, **key)
    other = raw(place, {**body, "n": 1}, **key)

    assert first.json() == second.json()
    assert place.paid() == 2
    assert other.status_code == 400
    assert other.json()["error"]["code"] == "idempotency_key_reused"


def test_librechat_asks_as_it_does_and_reads_base64(client: openai.OpenAI) -> None:
    answer = client.images.generate(
        model=DEFAULT_MODEL,
        prompt=PROMPT,
        n=1,
        background="auto",
        output_format="png",
        quality="auto",
        size="auto",
    )
    assert answer.data
    assert image_of(answer.data[0].b64_json).format == "PNG"


@pytest.mark.parametrize(
    ("asked", "query"),
    [
        ({"size": "512x512", "response_format": "b64_json"}, ""),
        ({}, "?api-version=2026-04-01"),
        ({"size": "1024x1024"}, ""),
    ],
)
def test_open_webui_asks_as_it_does_and_prefers_an_address(
    place: Place, asked: dict[str, Any], query: str
) -> None:
    answer = httpx.post(
        f"{place.api}/openai/v1/images/generations{query}",
        json={"model": DEFAULT_MODEL, "prompt": PROMPT, "n": 1, **asked},
        headers={"Authorization": f"Bearer {place.key}", "Content-Type": "application/json"},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    one = answer.json()["data"][0]
    assert "url" not in one
    assert image_of(one["b64_json"]).format == "PNG"


def test_what_is_not_offered_is_told_by_every_call(client: openai.OpenAI) -> None:
    image_of = ("pier.png", b"\x89PNG" + bytes(2_000), "image/png")
    calls: list[Callable[[], object]] = [
        lambda: client.images.edit(image=image_of, prompt=PROMPT),
        lambda: client.chat.completions.create(
            model=DEFAULT_MODEL, messages=[{"role": "user", "content": PROMPT}]
        ),
        lambda: client.responses.create(model=DEFAULT_MODEL, input=PROMPT),
        lambda: client.embeddings.create(model=DEFAULT_MODEL, input=PROMPT),
        lambda: client.moderations.create(input=PROMPT),
        lambda: list(client.files.list()),
    ]
    for call in calls:
        with pytest.raises(openai.NotFoundError, match="generates images from prompts only"):
            call()


@pytest.mark.parametrize("model", ["gpt-image-1", "dall-e-2"])
def test_a_model_of_openai_is_told_with_what_to_use(client: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(model=model, prompt=PROMPT)
    assert caught.value.param == "model"
    assert DEFAULT_MODEL in caught.value.message
    assert f"DARKROOM_OPENAI_MODELS={model}=" in caught.value.message


def test_seeds_that_do_not_fit_are_refused(client: openai.OpenAI, place: Place) -> None:
    with pytest.raises(openai.BadRequestError, match="seeds above"):
        client.images.generate(prompt=PROMPT, n=2, extra_body={"seed": 2**53 - 1})
    assert place.paid() == 0
