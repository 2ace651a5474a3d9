"""Generate images through a service that runs in containers, and check what became of each.

`python -m deploy.compose_load JOBS` is a part of `deploy/compose-check.sh`. It submits the jobs
over `--spread` seconds, receives their webhooks on this machine, downloads every image, and
compares the calls that the sandbox was paid for with the jobs. It prints one line of JSON, and
exits with 1 if anything is missing, wrong or paid for without need.
"""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from uuid import uuid4

import cyclopts

import darkroom
from darkroom.images import Image
from darkroom.models import Job as JobOf
from darkroom.retries import RetryPolicy
from sandbox.wait import WaitTimeout, wait_until

#: The name of this machine in the containers.
_THIS_MACHINE = "host.docker.internal"
_SANDBOX = "http://127.0.0.1:8081/_sandbox"
#: Long enough for a container that is killed, started again and loading its data.
_RETRIES = RetryPolicy(retries=40, most_seconds=5.0)
_AT_ONCE = 16

Job = JobOf[Image]


@dataclass
class Endpoint:
    """A webhook endpoint on this machine: what it received, verified or not."""

    secret: str
    port: int = 0
    job_ids: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def take(self, body: bytes, headers: dict[str, str]) -> None:
        """Count a webhook under its job, or note that its signature is wrong."""
        try:
            self.job_ids[darkroom.webhooks.verify(body, headers, self.secret).job.id] += 1
        except darkroom.WebhookInvalid as error:
            self.faults.append(str(error))


@contextmanager
def receiving(secret: str) -> Iterator[Endpoint]:
    """Serve a webhook endpoint at every address of this machine."""
    endpoint = Endpoint(secret)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            endpoint.take(body, dict(self.headers.items()))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)  # noqa: S104  containers must reach it
    endpoint.port = server.server_port
    Thread(target=server.serve_forever, daemon=True).start()
    yield endpoint
    server.shutdown()


def run(
    jobs: int,
    *,
    url: str,
    key: str,
    secret: str,
    spread: float = 0.0,
    latency: float = 0.3,
    calls: bool = True,
) -> None:
    """Run the jobs; print what became of them, and exit with 1 if anything is wrong.

    `latency` is how long the sandbox takes for a call. Without `calls` its list of calls is not
    compared: a sandbox that is killed loses it.
    """
    _sandbox("PUT", "behavior", json.dumps({"latency_seconds": latency}))
    name = uuid4().hex[:8]
    with receiving(secret) as endpoint, darkroom.Client(url, key, retry_policy=_RETRIES) as client:
        started = time.monotonic()
        one = partial(_one_job, client, name, endpoint.port)
        work = [partial(one, started + spread * number / jobs, number) for number in range(jobs)]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            done = list(pool.map(_called, work))
        faults = [fault for _, fault in done if fault] + _webhook_faults(endpoint, done)
    unknown = sum(job.raw["provider"]["unknown_outcomes"] for job, _ in done)
    paid = _paid(name) if calls else Counter(job.input["prompt"] for job, _ in done)
    again = paid.total() - len(paid)
    if len(paid) != jobs or again > unknown:
        faults.append(f"{len(paid)} of {jobs} jobs were paid for, {again} of them again")
    summary = {"jobs": jobs, "seconds": round(time.monotonic() - started, 1), "paid_again": again}
    summary |= {"unknown_outcomes": unknown, "webhooks": endpoint.job_ids.total()}
    print(json.dumps({**summary, "faults": faults[:5]}))  # noqa: T201  for the script
    sys.exit(bool(faults))


def _called(work: Callable[[], tuple[Job, str]]) -> tuple[Job, str]:
    return work()


def _one_job(
    client: darkroom.Client, name: str, port: int, due: float, number: int
) -> tuple[Job, str]:
    """Run a job when it is due; return it, and what is wrong with it."""
    time.sleep(max(0.0, due - time.monotonic()))
    webhook = {
        "url": f"http://{_THIS_MACHINE}:{port}/",
        "events": ["job.succeeded", "job.failed"],
    }
    job = client.wait(
        client.submit(f"{name} number {number}", webhook=webhook, megapixels="0.25"),
        timeout_seconds=240,
    )
    if job.image is None:
        return job, f"{job.id} is {job.status}: {job.error}"
    job.image.bytes()  # raises ImageBroken
    return job, ""


def _webhook_faults(endpoint: Endpoint, done: Sequence[tuple[Job, str]]) -> list[str]:
    """Wait for the webhooks of all jobs; return what is wrong with them."""
    wanted = {job.id for job, _ in done}
    try:
        wait_until(lambda: wanted <= endpoint.job_ids.keys(), "all webhooks", seconds=120)
    except WaitTimeout:
        left = len(wanted - endpoint.job_ids.keys())
        return [*endpoint.faults, f"{left} of {len(wanted)} jobs sent no webhook"]
    return endpoint.faults


def _paid(name: str) -> Counter[str]:
    """Return how often the sandbox was paid for each prompt of this run."""
    listed: dict[str, Any] = json.loads(_sandbox("GET", "calls"))
    calls = (call for call in listed["calls"] if call["paid"])
    return Counter(call["prompt"] for call in calls if (call["prompt"] or "").startswith(name))


def _sandbox(method: str, path: str, body: str = "") -> str:
    """Send a request to the sandbox, which only containers reach."""
    code = (
        "import sys, urllib.request as u; method, url, body = sys.argv[1:];"
        "print(u.urlopen(u.Request(url, body.encode() or None, method=method)).read().decode())"
    )
    inside = ("docker", "compose", "exec", "-T", "provider", "python", "-c", code)
    ran = subprocess.run(  # noqa: S603  nothing of it comes from outside
        [*inside, method, f"{_SANDBOX}/{path}", body], capture_output=True, text=True, check=True
    )
    return ran.stdout


if __name__ == "__main__":
    cyclopts.run(run)
