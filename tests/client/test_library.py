"""The client against a running service, as its README tells."""

import re
import subprocess
import sys
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
from PIL import Image

import darkroom
from sandbox.wait import wait_until
from tests.client.conftest import Sandbox
from tests.e2e.up import Up
from tests.support.webhook_receiver import receiver

pytestmark = pytest.mark.xdist_group("client")

README = Path(darkroom.__file__).parents[2] / "README.md"


def test_the_examples_of_the_readme_run(at_home: Path, sandbox: Sandbox) -> None:
    examples = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    assert len(examples) >= 7
    known: dict[str, Any] = {"__name__": "readme"}
    for example in examples:
        exec(compile(example, str(README), "exec"), known)  # noqa: S102  the very text of the page
    # its host does not answer: the next jobs would make it a failing one
    with darkroom.Client() as client:
        for endpoint in list(client.webhooks.endpoints.list()):
            client.webhooks.endpoints.delete(endpoint.id)
    saved = {path.name for path in at_home.iterdir()}
    assert {"lighthouse.webp", "pier.png", "harbour.webp", "gull.webp", "crab.webp"} <= saved
    for image in at_home.iterdir():
        with Image.open(image) as opened:
            opened.verify()
            extension = "jpg" if opened.format == "JPEG" else str(opened.format).lower()
            assert image.suffix == f".{extension}"


_FORK = """
import os, sys, darkroom
client = darkroom.Client(sys.argv[1], "dk")
client.jobs.get("before")
child = os.fork()
client.jobs.get("after")
if child:
    sys.exit(os.waitpid(child, 0)[1])
"""


class _Remembering(BaseHTTPRequestHandler):
    """Count the requests of each connection."""

    protocol_version = "HTTP/1.1"
    requests: ClassVar[Counter[object]] = Counter()

    def do_GET(self) -> None:
        """Return a job."""
        self.requests[self.client_address] += 1
        body = b'{"id": "job_1", "status": "queued", "input": {"prompt": "x"}, "image": null}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_a_process_and_its_fork_share_no_connection() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Remembering) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        subprocess.run([sys.executable, "-c", _FORK, url], check=True, timeout=60)
        server.shutdown()
    assert sorted(_Remembering.requests.values()) == [1, 2]


def test_the_same_key_and_words_ask_for_one_job(client: darkroom.Client) -> None:
    asked = client.submit("Twice", idempotency_key="order-1", metadata={"order": "1"})
    again = client.submit("Twice", idempotency_key="order-1", metadata={"order": "1"})
    assert asked.id == again.id
    with pytest.raises(darkroom.InvalidInput) as refused:
        client.submit("Thrice", idempotency_key="order-1")
    assert refused.value.code == "idempotency_key_reused"


def test_jobs_are_listed_canceled_tried_again_and_forgotten(
    client: darkroom.Client, sandbox: Sandbox
) -> None:
    sandbox.behave(default={"fault": "status", "status": 400})
    with pytest.raises(darkroom.JobFailed) as failed:
        client.generate("Nobody makes this", tags=["hard"], metadata={"a.b": "c&d"})
    job = failed.value.job
    assert (failed.value.code, job.is_final) == (job.error and job.error.code, True)
    sandbox.behave(latency_seconds=0.02)
    assert [one.id for one in client.jobs.list(tag="hard")] == [job.id]
    wanted: darkroom.JobFilter = {"metadata": {"a.b": "c&d"}, "q": "MAKES nobody"}
    assert [one.id for one in client.jobs.list(**wanted)] == [job.id]
    wanted["seed"] = 10**15
    assert list(client.jobs.list(**wanted)) == []
    client.jobs.retry(job.id)
    done = client.wait(job.id)
    assert (done.status, done.run) == ("succeeded", 2)
    made = client.wait(client.jobs.reproduce(job.id).id)
    assert done.image
    assert made.image
    assert (made.image.sha256, made.image.seed) == (done.image.sha256, done.image.seed)
    with pytest.raises(darkroom.Conflict):
        client.jobs.cancel(job.id)
    client.jobs.delete(job.id)
    with pytest.raises(darkroom.NotFound):
        client.jobs.get(job.id)


def test_a_time_that_is_over_is_told_and_the_job_goes_on(
    client: darkroom.Client, sandbox: Sandbox
) -> None:
    sandbox.behave(default={"fault": "hang", "seconds": 5})
    with pytest.raises(darkroom.StillRunning) as running:
        client.generate("Slow", timeout_seconds=1)
    job = client.jobs.cancel(running.value.job.id)
    assert (job.status, client.wait(job).status) == ("canceled", "canceled")


def test_what_there_is_and_what_is_used(client: darkroom.Client) -> None:
    model = client.models()[0]
    assert "prompt" in model.input_schema["properties"]
    assert client.usage().limits["weight"] > 0
    client.generate("Counted", tags=["report"])
    report = client.usage_report(group_by=["tag", "status"])
    (row,) = [row for row in report.data if row["tags"] == ["report"]]
    assert (row["status"], row["jobs"], row["calls"]) == ("succeeded", 1, 1)
    assert sum(row["jobs"] for row in report.data) == report.total["jobs"]
    assert report.first <= report.last
    text = client.usage_csv(report.first, report.last.isoformat(), group_by=["tag"])
    assert text.startswith("tags,jobs,calls,credits\r\n")


def test_the_feed_tells_what_came_after_a_cursor(client: darkroom.Client) -> None:
    client.generate("Before")
    before = list(client.events())[-1].cursor
    image = client.generate("News")
    told = [event for event in client.events(before) if event.job_id == image.job_id]
    assert [event.status for event in told] == ["queued", "running", "succeeded"]


def test_a_webhook_is_verified_and_a_forged_one_is_not(client: darkroom.Client, stack: Up) -> None:
    secret = stack.state["webhook_secret"]
    with receiver() as hook:
        image = client.generate("Told", webhook={"url": hook.url})
        wait_until(lambda: bool(hook.received), "the webhook", seconds=30)
        got = hook.received[0]
    told = darkroom.webhooks.verify(got.body, dict(got.headers), secret)
    assert (told.type, told.job.id) == ("job.succeeded", image.job_id)
    with pytest.raises(darkroom.WebhookInvalid):
        darkroom.webhooks.verify(got.body + b" ", dict(got.headers), secret)
    deliveries = list(client.webhooks.list(job_id=image.job_id))
    assert [one.type for one in deliveries] == ["job.succeeded"]


def test_a_wrong_key_is_refused_and_said_once(stack: Up) -> None:
    with (
        darkroom.Client(stack.state["api"], "dk_none") as client,
        pytest.raises(darkroom.Unauthorized),
    ):
        client.generate("No")
