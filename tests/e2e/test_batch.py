"""A batch over HTTP only: what goes in together comes out together, and is told once."""

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from sandbox.wait import wait_until
from tests.e2e.up import Up, up
from tests.support.tls import TLS
from tests.support.webhook_receiver import WebhookReceiver, receiver

JOBS = 20


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    data = tmp_path_factory.mktemp("batch") / "data"
    with up(data, "--no-demo", "--workers", "1", "--concurrency", "8") as running:
        yield running


@pytest.fixture
def client(stack: Up) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {stack.state['api_key']}"}
    with httpx.Client(
        base_url=stack.state["api"], headers=headers, timeout=60, verify=TLS
    ) as client:
        yield client


@pytest.fixture
def webhook_server() -> Iterator[WebhookReceiver]:
    with receiver() as running:
        yield running


@pytest.fixture
def body(webhook_server: WebhookReceiver) -> bytes:
    options = {"batch": {"tags": ["spring"], "webhook": {"url": webhook_server.url}}}
    jobs = [
        {"input": {"prompt": f"Lighthouse {n}", "megapixels": "0.25", "seed": n}}
        for n in range(JOBS)
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in [options, *jobs])


def test_a_batch_runs_is_told_once_and_comes_back_as_a_zip(
    stack: Up, client: httpx.Client, webhook_server: WebhookReceiver, body: bytes
) -> None:
    # when
    headers = {"content-type": "application/x-ndjson", "idempotency-key": "spring"}
    made = client.post("/v1/batches", content=body, headers=headers)
    assert made.status_code == 202, made.text
    address = made.headers["location"]
    # then: it is told once, by all that it was
    wait_until(lambda: bool(webhook_server.received), "batch.completed", seconds=60)
    told = webhook_server.received[0].verify(stack.state["webhook_secret"])
    assert told["type"] == "batch.completed"
    batch: dict[str, Any] = client.get(address).json()
    assert told["data"] == batch
    assert batch["counts"] == {**dict.fromkeys(batch["counts"], 0), "succeeded": JOBS}
    assert (batch["status"], batch["progress"], batch["eta_seconds"]) == ("completed", 1.0, 0.0)
    check_images(client, address)
    # and asking again asks for nothing new, so that nothing more is told
    again = client.post("/v1/batches", content=body, headers=headers)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == batch
    assert len(webhook_server.received) == 1


def check_images(client: httpx.Client, address: str) -> None:
    """See that every image is in the ZIP, and every line in the order asked for."""
    lines = [json.loads(line) for line in client.get(f"{address}/manifest").text.splitlines()]
    assert [line["input"]["seed"] for line in lines] == list(range(JOBS))
    answer = client.get(f"{address}/manifest", params={"format": "zip"})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        in_zip = [json.loads(line) for line in archive.read("manifest.ndjson").splitlines()]
        for line, same in zip(lines, in_zip, strict=True):
            assert (same["id"], same["missing"]) == (line["id"], None)
            data = archive.read(same["file"])
            assert len(data) == line["image"]["bytes"]
            with Image.open(io.BytesIO(data)) as image:
                assert image.size == (line["image"]["width"], line["image"]["height"])
