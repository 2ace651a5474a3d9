"""The sandbox provider as its clients meet it: a real server on a free port."""

import io
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from sandbox.provider.server import running
from tests.integration.sandbox_client import PROMPT_OBJECT, Client, steered
from tests.support.models import CATALOG


@pytest.fixture(scope="module")
def provider_url() -> Iterator[str]:
    with running() as url:
        yield url


@pytest.fixture
def client(provider_url: str) -> Iterator[Client]:
    with steered(provider_url) as client:
        yield client


def test_a_call_is_answered_in_the_seeds_shape(client: Client) -> None:
    record = client.record(style="ignored")

    assert list(record) == [
        "uuid",
        "model",
        "type",
        "status",
        "createdAt",
        "aiRecordDetail",
        "temporaryUrl",
    ]
    assert record["model"] == "black-forest-labs/flux-2-klein-9b"
    assert (record["type"], record["status"]) == ("IMAGE_GENERATOR", "SUCCESS")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["createdAt"])
    assert record["aiRecordDetail"]["promptObject"] == PROMPT_OBJECT | {"style": "ignored"}
    (path,) = record["aiRecordDetail"]["resultObject"]
    assert re.fullmatch(r"development/images/[\w]+\.webp", path)
    assert record["temporaryUrl"].startswith(f"{client.url}/assets/{path}?X-Expires=")


def test_the_image_is_what_was_asked_for(client: Client) -> None:
    answer = client.fetch(output_format="jpg", megapixels="1", aspect_ratio="4:5")

    assert answer.headers["content-type"] == "image/jpeg"
    image = Image.open(io.BytesIO(answer.content))
    assert (image.format, image.size) == ("JPEG", (896, 1120))


def test_the_same_input_gives_the_same_image_again(client: Client) -> None:
    first, again, other = client.fetch(), client.fetch(), client.fetch(seed=8)

    assert first.content == again.content != other.content


def test_a_missing_seed_is_chosen_anew_each_time(client: Client) -> None:
    asked = {name: value for name, value in PROMPT_OBJECT.items() if name != "seed"}
    body = {
        "type": "IMAGE_GENERATOR",
        "model": "black-forest-labs/flux-2-klein-4b",
        "promptObject": asked,
    }
    for _ in range(2):
        client.http.post("/api/features", json=body).raise_for_status()

    seeds = [call["seed"] for call in client.calls()]
    assert None not in seeds
    assert seeds[0] != seeds[1]


def test_a_bearer_token_is_a_key_too(client: Client) -> None:
    headers = {"API-KEY": "", "Authorization": "Bearer k"}

    answer = client.http.get("/api/results/unknown", headers=headers)

    assert (answer.status_code, answer.json()) == (200, {"aiRecord": None})


def test_calls_take_the_latency(client: Client) -> None:
    client.behave(latency_seconds=0.2)
    began = time.monotonic()

    client.record()

    assert time.monotonic() - began >= 0.2


def test_many_calls_at_once_share_the_latency(client: Client) -> None:
    client.behave(latency_seconds=1)
    began = time.monotonic()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda seed: client.generate(seed=seed), range(8)))

    assert {answer.status_code for answer in answers} == {200}
    assert time.monotonic() - began < 8


def test_an_asynchronous_call_is_looked_up_until_it_is_done(client: Client) -> None:
    client.behave(latency_seconds=0.3)
    record = client.record(is_async=True)

    assert record["status"] == "PROCESSING"
    assert "temporaryUrl" not in record
    deadline = time.monotonic() + 5
    while (found := client.look_up(record["uuid"]))["status"] == "PROCESSING":
        assert time.monotonic() < deadline
    assert client.http.get(found["temporaryUrl"]).status_code == 200
    kinds = {call["kind"]: call["outcome"] for call in client.calls()}
    assert kinds == {"generate": "ok", "result": "ok", "download": "ok"}


def test_the_record_of_a_synchronous_call_can_be_looked_up(client: Client) -> None:
    record = client.record()

    found = client.look_up(record["uuid"])

    assert found["temporaryUrl"] != record["temporaryUrl"]
    assert found | {"temporaryUrl": ""} == record | {"temporaryUrl": ""}


def test_the_models_are_listed_without_a_key(client: Client) -> None:
    answer = httpx.get(f"{client.url}/models", params={"feature": "IMAGE_GENERATOR"}).json()

    assert answer["total"] == len(CATALOG)
    assert {model["modelId"] for model in answer["models"]} == set(CATALOG)
    assert {"name", "status", "creditEstimation"} <= set(answer["models"][0])


def test_the_call_log_shows_everything_in_order(client: Client) -> None:
    url = client.record()["temporaryUrl"]
    client.http.get(url)
    calls = client.calls()

    assert [list(call) for call in calls] == [
        ["kind", "at", "prompt", "seed", "model", "key", "outcome", "paid", "record_id"]
    ] * 2
    assert client.outcomes() == [("generate", "ok", True), ("download", "ok", False)]
    assert {(call["prompt"], call["seed"]) for call in calls} == {("A lighthouse at dawn", 7)}
    assert calls[0]["record_id"] == calls[1]["record_id"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", calls[0]["at"])


def test_the_provider_says_that_it_lives(client: Client) -> None:
    assert client.http.get("/healthz").status_code == 200


def test_a_wrong_input_is_refused_and_takes_no_step(client: Client) -> None:
    client.behave({"fault": "status", "status": 500})

    answer = client.generate(megapixels=1)

    assert answer.status_code == 400
    assert answer.json()["errorCode"] == "MISSING_REQUIRED_FIELDS"
    assert json.loads(answer.json()["details"])[0]["field"] == "megapixels"
    assert client.outcomes() == [("generate", "400", False)]
    assert client.generate().status_code == 500


def test_keys_can_be_killed_and_revived(client: Client) -> None:
    client.http.put("/_sandbox/keys", json={"good": ["other"]}).raise_for_status()
    refused = [client.generate(), client.http.get("/api/results/unknown")]
    client.http.put("/_sandbox/keys", json={"good": ["other", "k"]}).raise_for_status()

    assert [answer.status_code for answer in refused] == [401, 401]
    assert "api key is not active" in refused[0].json()["message"].lower()
    assert client.generate().status_code == 200


def test_a_tampered_address_is_refused(client: Client) -> None:
    url = client.record()["temporaryUrl"]

    assert client.http.get(url[:-1]).status_code == 403
    assert client.http.get(urlsplit(url).path).status_code == 403
    assert client.outcomes()[1:] == [("download", "403", False)] * 2


def test_a_wrong_behaviour_is_answered_with_each_fault(client: Client) -> None:
    answer = client.http.put(
        "/_sandbox/behavior", json={"script": [{"fault": "nope"}], "default": {"fault": "status"}}
    )

    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [
        "/script/0",
        "/default/status",
    ]
