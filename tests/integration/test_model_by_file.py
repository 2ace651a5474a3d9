"""A model that a file adds, without seed and ratio and with other formats, through every door."""

import asyncio
import base64
import io
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml
from mcp import Client as McpClient
from PIL import Image
from replicate.client import Client as Replicate

from darkroom.async_client import AsyncClient
from darkroom.mcp_server import build_server
from sandbox.wait import wait_until
from shared.jobs import JobSpec
from shared.settings import Settings
from tests.integration.conftest import Open, Program
from tests.integration.sandbox_client import Client
from tests.support.api_server import (
    ApiServer,
    client_of,
    pointers,
    served,
    settings,
    tenant_at,
)
from tests.support.models import OTHER_MODEL, OTHER_MODEL_FILE
from tests.support.servers import S3Server
from tests.support.worker_harness import WorkerHarness
from worker.generate import do_next_jobs

MODEL = "acme/tile-painter"
INPUT = {"prompt": "A tile", "strokes": 5}
#: Adds the model to those of the sandbox: its body has the form of a catalog file.
ADDED = yaml.safe_load(OTHER_MODEL_FILE.read_text())


@dataclass(frozen=True)
class Service:
    """An API with the model, a worker, and a provider that learned of the model just now."""

    api_server: ApiServer
    harness: WorkerHarness
    provider: Client

    def create(self, path: str = "/v1/jobs", **body: Any) -> httpx.Response:
        wait = {"prefer": "wait=30"}
        return self.api_server.client.post(path, json={"model": MODEL, **body}, headers=wait)

    def public(self) -> tuple[str, str]:
        """Return the start of an image URL, and where it is served here."""
        return Settings().public_url, self.api_server.url

    def sent(self) -> list[dict[str, Any]]:
        """Return the bodies that the provider has received."""
        return [call for call in self.provider.calls() if call["kind"] == "generate"]


@pytest.fixture(scope="module")
def url_with_model(redis_url: str, s3: S3Server) -> Iterator[str]:
    chosen = settings(redis_url, s3_endpoint=s3.endpoint, models_file=str(OTHER_MODEL_FILE))
    with served(chosen) as url:
        yield url


@pytest.fixture
def service(
    url_with_model: str, empty_redis_url: str, open_harness: Open, provider: Client
) -> Iterator[Service]:
    harness = open_harness(models_file=str(OTHER_MODEL_FILE))
    provider.http.put("/_sandbox/models", json=ADDED).raise_for_status()
    with (
        tenant_at(url_with_model, empty_redis_url) as api_server,
        working(harness),
    ):
        yield Service(api_server, harness, provider)
    provider.http.put("/_sandbox/models", json={}).raise_for_status()


class working:  # noqa: N801  used like a function
    """Let a worker's thread do what there is."""

    def __init__(self, harness: WorkerHarness) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(harness,))

    def _work(self, harness: WorkerHarness) -> None:
        while not self._over.wait(0.02):
            do_next_jobs(harness.context)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def opened(data: bytes) -> tuple[str | None, tuple[int, int]]:
    with Image.open(io.BytesIO(data)) as image:
        return image.format, image.size


def test_a_job_of_a_model_that_left_the_file_is_not_reproduced(service: Service) -> None:
    job = service.create(input=INPUT).json()
    redis_url = service.harness.world.settings.redis_url
    key = service.api_server.credentials.api_key
    with served(settings(redis_url)) as url, client_of(url, key) as client:
        answer = client.post(f"/v1/jobs/{job['id']}/reproduce")
    assert pointers(answer) == {"/model"}


def test_a_job_has_the_model_s_own_parameters_and_no_others(service: Service) -> None:
    assert pointers(service.create(input={"prompt": "A tile", "seed": 7, "strokes": 10})) == {
        "/input/seed",
        "/input/strokes",
    }
    assert pointers(service.create(input={"prompt": "A tile"})) == {"/input/strokes"}
    assert pointers(service.create(input=INPUT, reuse=True)) == {"/reuse"}

    job = service.create(input={**INPUT, "strokes": 5.0}).json()

    assert job["status"] == "succeeded", job
    assert job["input"] == {**INPUT, "canvas": "256x256", "file": "photo"}
    image = job["image"]
    assert (image["content_type"], image["width"], image["height"]) == ("image/jpeg", 256, 256)
    assert image["warnings"] == []
    assert opened(httpx.get(image["url"].replace(*service.public())).content)[0] == "JPEG"
    (call,) = service.sent()
    assert (call["model"], call["paid"]) == (MODEL, True)
    again = service.api_server.client.post(f"/v1/jobs/{job['id']}/reproduce").json()
    assert again["input"] == job["input"]


def test_an_image_that_differs_from_the_model_s_rules_gets_warnings(service: Service) -> None:
    service.provider.behave({"fault": "wrong_format"})
    image = service.create(input={**INPUT, "file": "lossless"}).json()["image"]
    assert image["warnings"] == ["format"]


def test_variations_without_a_seed_are_jobs_with_the_same_input(service: Service) -> None:
    client = service.api_server.client
    body = {"model": MODEL, "input": INPUT, "variations": 3}
    batch = client.post("/v1/batches", json=body).json()
    jobs = client.get("/v1/jobs", params={"batch_id": batch["id"]}).json()["data"]
    assert [job["input"] for job in jobs] == [{**INPUT, "canvas": "256x256", "file": "photo"}] * 3
    lines = b'{"model":"acme/tile-painter","input":{"prompt":"A tile","seed":1}}'
    ndjson = {"content-type": "application/x-ndjson"}
    refused = client.post("/v1/batches", content=lines, headers=ndjson)
    assert pointers(refused) == {"/line/1/input/seed", "/line/1/input/strokes"}


def test_openai_s_members_become_the_model_s_parameters(service: Service) -> None:
    key = service.api_server.credentials.api_key
    with openai.OpenAI(base_url=f"{service.api_server.url}/openai/v1", api_key=key) as client:
        assert MODEL in {model.id for model in client.models.list()}
        found = client.images.generate(
            model=MODEL, prompt="A tile", size="512x256", output_format="png", n=2
        )
        assert len(found.data or ()) == 2
        for one in found.data or ():
            assert opened(base64.b64decode(one.b64_json or "")) == ("PNG", (512, 256))
        jobs = service.api_server.client.get("/v1/jobs").json()["data"]
        assert {job["input"]["strokes"] for job in jobs} == {4}
        body = {"model": MODEL, "prompt": "A tile", "size": "1024x1024", "quality": "hd"}
        refused = service.api_server.client.post(
            "/openai/v1/images/generations",
            json=body | {"output_format": "webp", "output_compression": 3, "background": "auto"},
        )
    message = refused.json()["error"]["message"]
    for words in (
        "size must be one of: auto, 256x256, 512x256",
        "quality must be one of: low, high, auto",
        "output_format must be one of: jpeg, png",
        "output_compression is not supported by this model: omit it",
        "background is not supported by this model: omit it",
    ):
        assert words in message
    assert "required" not in message


def test_replicate_s_names_and_defaults_are_those_of_the_model(service: Service) -> None:
    url, key = service.api_server.url, service.api_server.credentials.api_key
    client = Replicate(api_token=key, base_url=f"{url}/replicate")
    version = client.models.get(MODEL).latest_version
    assert version
    properties = version.openapi_schema["components"]["schemas"]["Input"]["properties"]
    assert properties["strokes"]["default"] == 3

    found = [
        client.predictions.create(version=f"{MODEL}:{version.id}", input={"prompt": "A tile"}),
        client.predictions.create(model=MODEL, input={"prompt": "A tile", "num_strokes": 4}),
    ]
    for prediction in found:
        prediction.wait()

    assert [one.status for one in found] == ["succeeded"] * 2
    assert [(one.input or {})["strokes"] for one in found] == [3, 4]
    assert {one.logs for one in found} == {""}


def test_the_form_of_the_playground_gets_the_model(service: Service) -> None:
    page = httpx.get(f"{service.api_server.url}/").text
    address = re.search(r'"(/pages/[^/]+/)', page)
    assert address
    listed = httpx.get(f"{service.api_server.url}{address[1]}models.json").json()["data"]
    (model,) = [one for one in listed if one["id"] == MODEL]
    assert [*model["input_schema"]["properties"]] == ["prompt", "strokes", "canvas", "file"]
    assert model["defaults"] == {"canvas": "256x256", "file": "photo"}


def test_the_model_is_listed_with_its_price_and_counted_from_the_start(service: Service) -> None:
    shown = service.api_server.client.get(f"/v1/models/{MODEL}").json()
    assert (shown["source"], shown["price"]["credits"]) == ("documented", 2.5)
    document = service.api_server.client.get("/openapi.json").json()
    shapes = document["components"]["schemas"]
    assert {"$ref": "#/components/schemas/TilePainterInput"} in (
        shapes["JobBody"]["properties"]["input"]["anyOf"]
    )
    counted = httpx.get(f"{service.api_server.url}/metrics").text
    assert f'darkroom_jobs_accepted_total{{model="{MODEL}",priority="high"}}' in counted


def test_a_model_without_an_owner_can_be_read_paused_and_used(service: Service) -> None:
    client, name = service.api_server.client, "gemini-2.5-flash-image"
    assert client.get(f"/v1/models/{name}").json()["id"] == name
    theirs = client.get(f"/replicate/v1/models/google/{name}").json()
    assert (theirs["owner"], theirs["name"]) == ("google", name)
    assert client.get(f"/replicate/v1/models/1min-ai/{name}").json() == theirs
    ops = {"authorization": f"Bearer {service.api_server.credentials.ops_key}"}
    assert client.post(f"/ops/v1/models/{name}/pause", headers=ops).json()["paused"] is True
    assert client.post(f"/ops/v1/models/{name}/resume", headers=ops).json()["paused"] is False
    job = service.create(model=name, input={"prompt": "A tile"}).json()
    assert (job["status"], job["input"]) == ("succeeded", {"prompt": "A tile"})


def test_language_models_can_list_and_use_the_model(service: Service) -> None:
    url, key = service.api_server.url, service.api_server.credentials.api_key

    async def call() -> tuple[Any, Any]:
        async with AsyncClient(url, key) as client, McpClient(build_server(client)) as mcp:
            listed = await mcp.call_tool("list_models", {})
            asked = {"prompt": "A tile", "model": MODEL, "parameters": {"strokes": 4}}
            return listed.structured_content, await mcp.call_tool("generate_image", asked)

    listed, made = asyncio.run(call())
    schemas = {one["id"]: one["input_schema"] for one in listed["models"]}
    assert "strokes" in schemas[MODEL]["properties"]
    assert (made.structured_content["status"], made.structured_content["seed"]) == (
        "succeeded",
        None,
    )


def test_the_program_sends_the_parameters_of_any_model(
    service: Service, program: Program, tmp_path: Path
) -> None:
    url, key = service.api_server.url, service.api_server.credentials.api_key
    words = ("generate", "A tile", "--model", MODEL, "--input", "strokes=4", "--input")
    to = ("--out", str(tmp_path), "--url", url, "--key", key)
    code, _, wrong = program.run(*words, "file=lossless", *to)
    assert code == 0, wrong
    assert program.run(*words, "file=photo", "--variations", "2", *to)[0] == 0

    found = sorted(file.suffix for file in tmp_path.iterdir())
    assert found == [".jpg", ".jpg", ".png"]


def test_a_worker_that_does_not_know_the_model_makes_its_image_without_checks(
    open_harness: Open, provider: Client
) -> None:
    provider.http.put("/_sandbox/models", json=ADDED).raise_for_status()
    job = open_harness().run(spec=JobSpec(MODEL, {**INPUT, "canvas": "512x256"}))
    assert job.image
    assert (job.image.width, job.image.warnings) == (512, ())
    provider.http.put("/_sandbox/models", json={}).raise_for_status()


def test_a_model_that_the_provider_disables_fails_its_jobs_alone(service: Service) -> None:
    changes = {**ADDED, "disabled": [MODEL], "removed": [OTHER_MODEL], "credits": {MODEL: 9}}
    service.provider.http.put("/_sandbox/models", json=changes).raise_for_status()
    listed = httpx.get(f"{service.provider.url}/models?feature=IMAGE_GENERATOR").json()["models"]
    shown = {one["modelId"]: (one["status"], one["creditEstimation"]) for one in listed}
    assert shown[MODEL] == ("DISABLED", 9)
    assert OTHER_MODEL not in shown

    client = service.api_server.client
    job_id = client.post("/v1/jobs", json={"model": MODEL, "input": INPUT}).json()["id"]

    def error() -> Any:
        service.harness.world.sweep()
        return client.get(f"/v1/jobs/{job_id}").json()["error"]

    wait_until(error, "the end of the job")
    assert error()["code"] == "model_unavailable"


def test_a_wrong_file_of_models_stops_every_start(
    program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("models: [{id: acme/x}]")
    monkeypatch.setenv("DARKROOM_MODELS_FILE", str(file))
    for command in ("doctor", "sandbox"):
        code, _, said = program.run(command)
        assert code == 2
        assert f"{file}: model acme/x: `input` is required." in said


def test_a_definition_that_the_sandbox_cannot_take_is_named_and_changes_nothing(
    provider: Client,
) -> None:
    wrong = {"models": [{**ADDED["models"][0], "seed": "seed", "credits": -1}]}
    refused = provider.http.put("/_sandbox/models", json=wrong)
    assert refused.status_code == 422
    assert [fault["pointer"] for fault in refused.json()["errors"]] == ["/models/0/credits"]
    assert provider.http.get("/_sandbox/models").json()["models"] == []
