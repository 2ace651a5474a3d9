"""The main job, over HTTP only: what goes in comes out, once, in every combination."""

import hashlib
import io
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import imagesize
import pytest
from minio import Minio
from PIL import Image

from sandbox.wait import wait_until
from shared.model_catalog import DEFAULT_MODEL
from tests.e2e.up import Up, up
from tests.support.models import KLEINS, RATIOS
from tests.support.tls import TLS
from tests.support.webhook_receiver import Received, WebhookReceiver, receiver

pytestmark = pytest.mark.xdist_group("main")

#: The provider's own example, as it stands in its document.
SPORTS_CAR = {
    "prompt": "A sleek electric sports car on an empty highway at night, cinematic lighting",
    "aspect_ratio": "16:9",
    "num_inference_steps": 4,
    "go_fast": True,
    "megapixels": "1",
    "output_format": "webp",
    "output_quality": 80,
}
EVENTS = ["job.succeeded", "job.failed", "job.canceled"]
#: What counts one job more.
COUNTED = (
    f'darkroom_jobs_accepted_total{{model="{DEFAULT_MODEL}",priority="normal"}}',
    f'darkroom_jobs_finished_total{{error_code="",model="{DEFAULT_MODEL}",status="succeeded"}}',
    'darkroom_provider_requests_total{outcome="ok"}',
    'darkroom_webhook_attempts_total{outcome="delivered"}',
    "darkroom_image_bytes_count",
)
PILLOW_NAMES = {"webp": "WEBP", "jpg": "JPEG", "png": "PNG"}
CONTENT_TYPES = {"webp": "image/webp", "jpg": "image/jpeg", "png": "image/png"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(
        tmp_path_factory.mktemp("main") / "data", "--no-demo", "--concurrency", "32"
    ) as running:
        yield running


@pytest.fixture
def client(stack: Up) -> Iterator[httpx.Client]:
    state = stack.state
    headers = {"Authorization": f"Bearer {state['api_key']}"}
    with httpx.Client(base_url=state["api"], headers=headers, timeout=90, verify=TLS) as client:
        yield client


@pytest.fixture
def webhook_server() -> Iterator[WebhookReceiver]:
    with receiver() as running:
        yield running


def provider_calls(stack: Up, kind: str) -> list[dict[str, Any]]:
    calls = httpx.get(f"{stack.state['provider_url']}/_sandbox/calls").json()["calls"]
    return [call for call in calls if call["kind"] == kind]


def storage(stack: Up) -> tuple[Minio, str]:
    s3 = stack.state["s3"]
    access = {"access_key": s3["access_key"], "secret_key": s3["secret_key"]}
    return Minio(s3["endpoint"], secure=False, region="us-east-1", **access), s3["bucket"]


def metrics(stack: Up) -> dict[str, float]:
    """Return the sum of each sample over all processes."""
    total: dict[str, float] = defaultdict(float)
    for url in stack.state["metrics"]:
        for line in httpx.get(url).text.splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                total[name] += float(value)
    return total


@dataclass(frozen=True)
class Example:
    """What came of the provider's own example, and the metrics before and after it."""

    job: dict[str, Any]
    calls: list[dict[str, Any]]
    before: dict[str, float]
    after: dict[str, float]
    webhook_server: WebhookReceiver


@pytest.fixture(scope="module")
def example(stack: Up) -> Iterator[Example]:
    state = stack.state
    before = metrics(stack)
    with receiver() as webhook_server:
        made = httpx.post(
            f"{state['api']}/v1/jobs",
            json={"input": SPORTS_CAR, "webhook": {"url": webhook_server.url, "events": EVENTS}},
            headers={"Authorization": f"Bearer {state['api_key']}", "Prefer": "wait=60"},
            timeout=70,
        )
        assert made.status_code == 200, made.text
        # read now: other tests make jobs too, and delete the log of calls
        wait_until(lambda: all(metrics(stack)[name] > before[name] for name in COUNTED), "counters")
        calls = provider_calls(stack, "generate")
        yield Example(made.json(), calls, before, metrics(stack), webhook_server)


def test_the_provider_s_own_example_goes_in_unchanged_with_a_seed_chosen(example: Example) -> None:
    job = example.job
    assert job["status"] == "succeeded"
    assert job["model"] == DEFAULT_MODEL
    assert SPORTS_CAR.items() <= job["input"].items()
    assert job["input"]["disable_safety_checker"] is False
    assert isinstance(job["input"]["seed"], int)


def test_the_example_is_asked_for_once_with_the_seed_that_the_job_shows(example: Example) -> None:
    [call] = [call for call in example.calls if call["prompt"] == SPORTS_CAR["prompt"]]
    assert (call["paid"], call["seed"]) == (True, example.job["input"]["seed"])


def test_the_example_is_stored_as_told(stack: Up, example: Example) -> None:
    image = example.job["image"]
    s3, bucket = storage(stack)
    stored = s3.get_object(bucket, image["key"]).read()
    assert hashlib.sha256(stored).hexdigest() == image["sha256"]
    assert image["warnings"] == []
    with Image.open(io.BytesIO(stored)) as opened:
        assert (opened.format, opened.size) == ("WEBP", (image["width"], image["height"]))


def test_the_example_is_polled_and_its_bytes_served_by_the_signed_address(
    client: httpx.Client, example: Example
) -> None:
    assert client.get(f"/v1/jobs/{example.job['id']}").json() == example.job
    served = httpx.get(example.job["image"]["url"])
    assert served.status_code == 200
    assert hashlib.sha256(served.content).hexdigest() == example.job["image"]["sha256"]


def test_the_example_is_told_once_by_a_webhook_that_the_public_package_verifies(
    stack: Up, example: Example
) -> None:
    webhook_server = example.webhook_server
    wait_until(lambda: len(webhook_server.received) == 1, "the webhook")
    told = webhook_server.received[0].verify(stack.state["webhook_secret"])
    assert told["type"] == "job.succeeded"
    assert told["data"]["id"] == example.job["id"]
    assert told["data"]["image"]["sha256"] == example.job["image"]["sha256"]


@pytest.mark.parametrize("name", COUNTED)
def test_the_example_is_counted(example: Example, name: str) -> None:
    assert example.after[name] == example.before[name] + 1


def mixed_inputs(jobs: int) -> list[dict[str, Any]]:
    """Return every ratio, format and size, with qualities and steps spread over them."""
    dice = random.Random(7)
    kinds = list(itertools.product(RATIOS, PILLOW_NAMES, ("0.25", "1")))
    return [
        {
            "prompt": f"Mixed image number {number}",
            "aspect_ratio": ratio,
            "output_format": extension,
            "megapixels": megapixels,
            "output_quality": dice.choice((0, 1, 25, 50, 79, 80, 99, 100)),
            "num_inference_steps": dice.randint(1, 4),
            "go_fast": dice.random() < 0.5,
            "seed": number,
        }
        for number, (ratio, extension, megapixels) in zip(
            range(jobs), itertools.cycle(kinds), strict=False
        )
    ]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("count", [150, pytest.param(500, marks=pytest.mark.slow)])
def test_mixed_jobs_give_one_right_image_one_call_and_one_webhook_each(
    stack: Up, client: httpx.Client, webhook_server: WebhookReceiver, count: int
) -> None:
    httpx.delete(f"{stack.state['provider_url']}/_sandbox/calls")
    inputs = mixed_inputs(count)

    with ThreadPoolExecutor(16) as pool:
        ids = list(
            pool.map(
                lambda model, asked: create(client, model, asked, webhook_server.url),
                itertools.cycle(KLEINS),
                inputs,
            )
        )
        jobs = list(pool.map(lambda job_id: final(client, job_id), ids))

    assert Counter(job["status"] for job in jobs) == {"succeeded": count}
    calls = provider_calls(stack, "generate")
    assert len(calls) == count
    assert all(call["paid"] for call in calls)
    assert len(provider_calls(stack, "download")) == count

    s3, bucket = storage(stack)
    day = "/".join(jobs[0]["image"]["key"].split("/")[:-1])
    keys = {job["image"]["key"] for job in jobs}
    assert len(keys) == count
    assert keys <= {entry.object_name for entry in s3.list_objects(bucket, f"{day}/")}

    with ThreadPoolExecutor(4) as pool:
        for fault in pool.map(
            lambda pair: fault_of(s3, bucket, *pair), zip(inputs, jobs, strict=True)
        ):
            assert fault is None

    wait_until(lambda: len(webhook_server.received) >= count, "the webhooks", seconds=60)
    check_webhooks(webhook_server.received, set(ids), stack.state["webhook_secret"])


def create(client: httpx.Client, model: str, asked: dict[str, Any], webhook_server: str) -> str:
    body = {"model": model, "input": asked, "webhook": {"url": webhook_server, "events": EVENTS}}
    made = client.post("/v1/jobs", json=body)
    assert made.status_code == 202, made.text
    return str(made.json()["id"])


def final(client: httpx.Client, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = {"status": "queued"}
    etag = ""
    while job["status"] in {"queued", "running"}:
        answer = client.get(f"/v1/jobs/{job_id}?wait=60", headers={"If-None-Match": etag})
        etag = answer.headers["etag"]
        if answer.status_code == 200:
            job = answer.json()
    return job


def fault_of(s3: Minio, bucket: str, asked: dict[str, Any], job: dict[str, Any]) -> str | None:
    """Say what is wrong with a stored image, if anything."""
    told = job["image"]
    data = s3.get_object(bucket, told["key"]).read()
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        width, height = image.size
        faults = {
            "format": image.format != PILLOW_NAMES[asked["output_format"]],
            "type": told["content_type"] != CONTENT_TYPES[asked["output_format"]],
            "size told": (told["width"], told["height"]) != (width, height),
            "ratio": abs(width / height / RATIOS[asked["aspect_ratio"]] - 1) > 0.025,
            "pixels": abs(width * height / 2**20 / float(asked["megapixels"]) - 1) > 0.15,
            "other reader": imagesize.get(io.BytesIO(data)) != (width, height),
            "sha256": hashlib.sha256(data).hexdigest() != told["sha256"],
            "bytes": len(data) != told["bytes"],
            "seed": job["input"]["seed"] != asked["seed"],
            "warnings": told["warnings"] != [],
        }
    wrong = [name for name, is_wrong in faults.items() if is_wrong]
    return f"{job['id']}: {wrong} {told} {asked}" if wrong else None


def check_webhooks(received: list[Received], ids: set[str], secret: str) -> None:
    assert len({one.id for one in received}) == len(received) == len(ids)
    told = [one.verify(secret) for one in received]
    assert {one["type"] for one in told} == {"job.succeeded"}
    assert {one["data"]["id"] for one in told} == ids
