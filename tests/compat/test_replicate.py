"""The `replicate` package as it is, against the whole service: its documented calls."""

import asyncio
import io
from datetime import datetime
from typing import Any

import httpx
import pytest
from PIL import Image
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError
from replicate.helpers import FileOutput
from replicate.webhook import Webhooks

from sandbox.wait import wait_until
from shared.model_catalog import DEFAULT_MODEL
from tests.compat.conftest import Place
from tests.support.webhook_receiver import Received, WebhookReceiver

pytestmark = pytest.mark.xdist_group("dialects")

INPUT = {"prompt": "An astronaut riding a unicorn", "output_megapixels": "0.25"}


@pytest.fixture
def client(place: Place) -> Client:
    return Client(api_token=place.key, base_url=f"{place.api}/replicate")


def opened(output: FileOutput) -> Image.Image:
    return Image.open(io.BytesIO(output.read()))


def test_run_gives_files(client: Client) -> None:
    output: Any = client.run(DEFAULT_MODEL, input=INPUT)

    assert [type(one) for one in output] == [FileOutput]
    assert opened(output[0]).format == "JPEG"


def test_run_of_a_version_gives_files(client: Client) -> None:
    version = client.models.get(DEFAULT_MODEL).latest_version
    assert version
    output: Any = client.run(
        f"{DEFAULT_MODEL}:{version.id}",
        input={**INPUT, "output_format": "png", "seed": 7, "images": []},
    )
    assert opened(output[0]).format == "PNG"


def test_async_run_gives_files(client: Client) -> None:
    async def run() -> bytes:
        output: Any = await client.async_run(DEFAULT_MODEL, input=INPUT)
        found = bytes(await output[0].aread())
        await client._async_client.aclose()
        return found

    assert asyncio.run(run()).startswith(b"\xff\xd8")


def test_run_that_takes_longer_than_its_wait_is_polled_to_the_end(
    client: Client, place: Place
) -> None:
    place.provider.behave(latency_seconds=2)
    output: Any = client.run(DEFAULT_MODEL, input=INPUT, wait=1)
    assert opened(output[0]).format == "JPEG"
    assert place.paid() == 1


def test_run_without_waiting_is_polled_too(client: Client) -> None:
    output: Any = client.run(DEFAULT_MODEL, input=INPUT, wait=False)
    assert opened(output[0]).format == "JPEG"


def test_a_prediction_is_made_read_again_and_listed(client: Client) -> None:
    version = client.models.get(DEFAULT_MODEL).versions.list()[0]
    made = client.predictions.create(version=version, input=INPUT)
    assert str(made.status) == "starting"
    assert made.output is None

    made.wait()
    made.reload()

    assert str(made.status) == "succeeded"
    assert made.metrics
    assert made.metrics["total_time"] >= made.metrics["predict_time"] > 0
    assert made.logs
    assert made.logs.startswith("Using seed: ")
    assert made.input
    assert made.input["go_fast"] is False
    again = client.predictions.get(made.id)
    assert (again.id, again.model, again.version) == (made.id, DEFAULT_MODEL, version.id)
    assert made.id in [one.id for one in client.predictions.list()]


def test_an_official_model_is_named_without_a_version(client: Client) -> None:
    by_version = client.predictions.create(version=DEFAULT_MODEL, input=INPUT, wait=30)
    by_model = client.models.predictions.create(model=DEFAULT_MODEL, input=INPUT, wait=30)
    assert [one.status for one in (by_version, by_model)] == ["succeeded"] * 2


def test_a_prediction_is_canceled(client: Client, place: Place) -> None:
    place.provider.behave(latency_seconds=5)
    made = client.models.predictions.create(model=DEFAULT_MODEL, input=INPUT)
    made.cancel()
    assert made.status == "canceled"
    assert client.predictions.get(made.id).status == "canceled"
    assert client.predictions.cancel(made.id).status == "canceled"


def test_a_failed_prediction_is_a_model_error(client: Client, place: Place) -> None:
    place.provider.behave({"fault": "failure_record"})
    with pytest.raises(ModelError) as caught:
        client.run(DEFAULT_MODEL, input=INPUT)
    assert caught.value.prediction.status == "failed"
    assert caught.value.prediction.error


@pytest.mark.parametrize(
    ("written", "seconds"), [("5", 5), ("90s", 90), ("5m", 300), ("1h30m45s", 5445)]
)
def test_cancel_after_is_the_deadline_of_the_job(place: Place, written: str, seconds: int) -> None:
    headers = {"Authorization": f"Bearer {place.key}", "Cancel-After": written}
    url = f"{place.api}/replicate/v1/models/{DEFAULT_MODEL}/predictions"
    made = httpx.post(url, json={"input": INPUT}, headers=headers).json()
    job = httpx.get(f"{place.api}/v1/jobs/{made['id']}", headers=headers).json()
    created, deadline = (
        datetime.fromisoformat(job[name]) for name in ("created_at", "deadline_at")
    )
    assert (deadline - created).total_seconds() == seconds


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"output_megapixels": "4"}, "input.output_megapixels must be one of: 0.25, 1"),
        ({"images": ["https://x/y.png"]}, "input.images is not supported"),
        ({"guidance": 4}, "input.guidance is unknown"),
        ({"megapixels": "1"}, "is given twice"),
        ({"prompt": ""}, "input.prompt"),
    ],
)
def test_input_that_cannot_be_is_refused(client: Client, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ReplicateError) as caught:
        client.run(DEFAULT_MODEL, input={**INPUT, **given})
    assert caught.value.status == 422
    assert caught.value.title == "Input validation failed"
    assert words in str(caught.value.detail)
    assert caught.value.type == "/problems/invalid_request"


@pytest.mark.parametrize(
    ("path", "body", "headers", "field"),
    [
        ("predictions", {"input": INPUT}, {}, "version"),
        ("predictions", {"input": INPUT, "version": "0" * 64}, {}, "version"),
        ("predictions", {"input": INPUT, "version": f"{DEFAULT_MODEL}:1"}, {}, "version"),
        ("predictions", {"input": INPUT, "model": DEFAULT_MODEL}, {}, "model"),
        ("predictions", {"version": DEFAULT_MODEL}, {}, "input"),
        ("models", {"input": INPUT, "version": DEFAULT_MODEL}, {}, "version"),
        ("models", {"input": INPUT, "webhook": "ftp://x"}, {}, "webhook"),
        (
            "models",
            {"input": INPUT, "webhook_events_filter": ["end"]},
            {},
            "webhook_events_filter.0",
        ),
        ("models", {"input": INPUT}, {"Cancel-After": "4s"}, "header.Cancel-After"),
        ("models", {"input": INPUT}, {"Cancel-After": "soon"}, "header.Cancel-After"),
        ("models", {"input": INPUT}, {"Cancel-After": ""}, "header.Cancel-After"),
    ],
)
def test_what_is_wrong_with_a_request_is_named(
    place: Place, path: str, body: dict[str, Any], headers: dict[str, str], field: str
) -> None:
    path = f"models/{DEFAULT_MODEL}/predictions" if path == "models" else path
    told = {"Authorization": f"Bearer {place.key}", **headers}
    answer = httpx.post(f"{place.api}/replicate/v1/{path}", json=body, headers=told)
    assert answer.status_code == 422
    assert field in [one["field"] for one in answer.json()["invalid_fields"]], answer.text


def test_a_wrong_key_and_an_unknown_model_are_told(place: Place, client: Client) -> None:
    wrong = Client(api_token="r8_wrong", base_url=f"{place.api}/replicate")
    with pytest.raises(ReplicateError) as caught:
        wrong.run(DEFAULT_MODEL, input=INPUT)
    assert caught.value.status == 401
    for call in (client.models.get, client.predictions.get):
        with pytest.raises(ReplicateError) as caught:
            call("nobody/nothing")
        assert caught.value.status == 404


def test_the_account_and_the_models_are_told(client: Client) -> None:
    assert client.accounts.current().type == "organization"
    assert DEFAULT_MODEL in [one.id for one in client.models.list()]
    version = client.models.get(DEFAULT_MODEL).latest_version
    assert version
    parameters = version.openapi_schema["components"]["schemas"]["Input"]["properties"]
    assert parameters["output_format"]["default"] == "jpg"


def events_of(webhook_server: WebhookReceiver, prediction_id: str) -> list[Received]:
    return [one for one in list(webhook_server.received) if one.json["id"] == prediction_id]


def test_webhooks_tell_the_prediction_and_are_verified_by_the_package(
    client: Client, webhook_server: WebhookReceiver
) -> None:
    made = client.models.predictions.create(
        model=DEFAULT_MODEL,
        input=INPUT,
        webhook=f"{webhook_server.url}?for=me",
        webhook_events_filter=["start", "completed"],
    )
    wait_until(lambda: len(events_of(webhook_server, made.id)) == 2, "both webhooks")

    secret = client.webhooks.default.secret()
    received = events_of(webhook_server, made.id)
    for one in received:
        Webhooks.validate(headers=one.headers, body=one.body.decode(), secret=secret, tolerance=300)
    assert {one.path for one in received} == {"/hook?for=me"}
    by_status = {one.json["status"]: one.json for one in received}
    assert set(by_status) == {"processing", "succeeded"}
    assert by_status["processing"]["output"] is None
    told = by_status["succeeded"]
    assert (told["model"], told["version"]) == (made.model, made.version)
    assert httpx.get(told["output"][0]).headers["content-type"] == "image/jpeg"


def test_a_webhook_that_wants_the_output_only_comes_once(
    client: Client, webhook_server: WebhookReceiver
) -> None:
    made = client.models.predictions.create(
        model=DEFAULT_MODEL,
        input=INPUT,
        webhook=webhook_server.url,
        webhook_events_filter=["output"],
        wait=30,
    )
    other = client.models.predictions.create(
        model=DEFAULT_MODEL, input=INPUT, webhook=webhook_server.url
    )
    wait_until(lambda: len(events_of(webhook_server, other.id)) == 2, "the webhooks of the other")
    wait_until(lambda: events_of(webhook_server, made.id) != [], "the webhook")
    assert [one.json["status"] for one in events_of(webhook_server, made.id)] == ["succeeded"]
