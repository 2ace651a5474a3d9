"""Two API processes and four workers behind a plain nginx, with one of each lost on the way."""

import itertools
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.servers import free_port
from sandbox.wait import wait_for_http, wait_until
from tests.e2e.test_main_job import EVENTS, fault_of, mixed_inputs
from tests.support import nginx
from tests.support.cluster import Api, Cluster, WorkerProcess, fleet
from tests.support.models import KLEINS
from tests.support.tls import TLS
from tests.support.webhook_receiver import WebhookReceiver, receiver

pytestmark = pytest.mark.xdist_group("nginx")

CLIENTS = 16
#: What a client may try again with its key: the process was lost, or there was none just now.
AGAIN = {502, 503, 504}


@dataclass
class Front:
    """The service as its clients see it, and the processes behind."""

    here: Cluster
    url: str
    apis: list[Api]
    generate: list[WorkerProcess]
    deliver: WorkerProcess
    logs: Path

    def client(self, **options: Any) -> httpx.Client:
        return self.here.client(self.url, **options)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    nginx.find()  # skips before anything is started
    where = tmp_path_factory.mktemp("nginx")
    port = free_port()
    with fleet(where / "fleet") as here:
        here.changes["public_url"] = f"http://127.0.0.1:{port}"
        apis = [here.api(), here.api()]
        generate = [here.worker("generate") for _ in range(3)]
        deliver = here.worker("deliver")
        upstream = [httpx.URL(api.url).netloc.decode() for api in apis]
        with nginx.nginx(where / "nginx", port, upstream) as logs:
            yield Front(here, f"http://127.0.0.1:{port}", apis, generate, deliver, logs)


def test_events_pass_as_they_come(front: Front) -> None:
    front.here.provider.behave(latency_seconds=1)
    with front.client() as http:
        job = http.post(
            "/v1/jobs", json={"input": {"prompt": "Events", "megapixels": "0.25"}}
        ).json()
        seen: list[tuple[str, str]] = []
        with http.stream("GET", f"/v1/jobs/{job['id']}/events") as stream:
            named = (line for line in stream.iter_lines() if line.startswith("event: "))
            seen.extend(
                (line.removeprefix("event: "), status_of(front, job["id"])) for line in named
            )

    # told while the provider is still at work, not all at the end
    assert ("queued", "succeeded") not in seen
    assert seen[-1] == ("succeeded", "succeeded")


def status_of(front: Front, job_id: str) -> str:
    with front.client() as http:
        return str(http.get(f"/v1/jobs/{job_id}").json()["status"])


def test_an_image_is_served_by_its_address_which_no_log_has(front: Front) -> None:
    front.here.provider.behave()
    body = {"input": {"prompt": "Addresses", "megapixels": "0.25"}}
    with front.client() as http:
        job = http.post("/v1/jobs", json=body, headers={"Prefer": "wait=30"}).json()

    image = httpx.get(job["image"]["url"])

    assert job["image"]["url"].startswith(front.url)
    assert image.headers["content-type"] == "image/webp"
    log = front.logs / "access.log"
    # nginx writes the line after the response
    line = f"GET /v1/jobs/{job['id']}/image"
    wait_until(lambda: line in log.read_text(), "the line of the image")
    assert "?" not in log.read_text()


def test_a_large_batch_passes_and_what_is_too_large_is_refused_as_the_api_does(
    front: Front,
) -> None:
    entry = '{"input": {"prompt": "' + "x" * 10_001 + '"}}\n'
    with front.client() as http:
        batch = http.post(
            "/v1/batches", content=entry * 300, headers={"content-type": "application/x-ndjson"}
        )
        one = http.post("/v1/jobs", content=b"x" * 1_500_000)

    assert (batch.status_code, one.status_code) == (422, 413)
    assert one.json()["code"] == "body_too_large"
    assert {answer.headers["content-type"] for answer in (batch, one)} == {
        "application/problem+json"
    }


def test_wrong_keys_are_counted_by_the_client_s_own_address(front: Front) -> None:
    wrong = {"Authorization": "Bearer dk_none", "X-Forwarded-For": "203.0.113.7"}
    transport = httpx.HTTPTransport(local_address="127.0.0.2")
    with httpx.Client(base_url=front.url, headers=wrong, transport=transport) as guessing:
        answers = Counter(guessing.get("/v1/usage").status_code for _ in range(60))

    with httpx.Client(base_url=front.url, headers=wrong, verify=TLS) as other:
        assert other.get("/v1/usage").status_code == 401
    assert set(answers) == {401, 429}


def test_metrics_are_for_whoever_asks_the_processes(front: Front) -> None:
    whole(front)
    assert httpx.get(f"{front.url}/metrics").status_code == 404
    assert "darkroom_jobs" in front.apis[0].says("/metrics")


def whole(front: Front) -> None:
    """Start again what an earlier test has killed."""
    for api in front.apis:
        if not api.child.alive:
            api.child.start()
            wait_for_http(f"{api.url}/readyz", status=200)
    for worker in front.generate:
        if not worker.child.alive:
            worker.child.start()


def run_until_acknowledged(
    http: httpx.Client, method: str, path: str, **options: Any
) -> httpx.Response:
    """Ask until somebody answers, as clients do: a job always with its key."""
    answers: list[httpx.Response] = []

    def is_answered() -> bool:
        try:
            answer = http.request(method, path, **options)
        except httpx.TransportError:
            return False
        if answer.status_code not in AGAIN:
            answers.append(answer)
        return bool(answers)

    wait_until(is_answered, "an answer", seconds=60)
    return answers[0]


def image(
    http: httpx.Client, hook: WebhookReceiver, model: str, asked: dict[str, Any]
) -> dict[str, Any]:
    """Ask for an image and wait for it; return the job."""
    body = {"model": model, "input": asked, "webhook": {"url": hook.url, "events": EVENTS}}
    key = {"Idempotency-Key": f"{hook.url} {asked['seed']}".replace(" ", "#")}
    made = run_until_acknowledged(http, "POST", "/v1/jobs", json=body, headers=key)
    assert made.status_code in {200, 202}, made.text
    job: dict[str, Any] = made.json()
    while job["status"] in {"queued", "running"}:
        told = {"If-None-Match": f'W/"{job["version"]}"'}
        answer = run_until_acknowledged(http, "GET", f"/v1/jobs/{job['id']}?wait=20", headers=told)
        assert answer.status_code in {200, 304}, answer.text
        job = answer.json() if answer.status_code == 200 else job
    return job


@pytest.mark.parametrize("count", [84, pytest.param(500, marks=pytest.mark.long)])
@pytest.mark.timeout(600)
def test_mixed_jobs_are_all_made_while_an_api_and_a_worker_are_lost_for_good(
    front: Front, count: int
) -> None:
    # given
    whole(front)
    front.here.provider.behave(latency_seconds=0.2)
    # prompts of this run alone: by them the provider's calls are told apart
    inputs = [{**one, "prompt": f"{one['prompt']} of {count}"} for one in mixed_inputs(count)]
    with receiver() as hook, front.client() as http, ThreadPoolExecutor(CLIENTS) as pool:
        # when
        asking = [
            pool.submit(image, http, hook, model, asked)
            for model, asked in zip(itertools.cycle(KLEINS), inputs, strict=False)
        ]
        wait_until(
            lambda: sum(one.done() for one in asking) >= count // 2, "half of them", seconds=300
        )
        front.apis[0].child.kill()
        front.generate[0].child.kill()
        jobs = [one.result() for one in asking]
        # then
        alive: list[Api | WorkerProcess] = [front.apis[1], *front.generate[1:], front.deliver]
        lines = front.here.settled([job["id"] for job in jobs], hook.received, *alive)
        ids = [one.id for one in hook.received]
    figures: dict[str, dict[str, Any]] = {line.name[:2]: dict(line.figures) for line in lines}
    assert figures["I1"] == {"succeeded": count}
    assert figures["I2"]["calls"] == count + figures["I2"]["extra"]
    assert figures["I2"]["extra"] <= figures["I2"]["unknown"]
    assert figures["I3"]["objects"] == count
    assert len(ids) == len(set(ids)) == count
    s3 = front.here.s3
    with ThreadPoolExecutor(4) as pool:
        pairs = zip(inputs, jobs, strict=True)
        faults = pool.map(lambda pair: fault_of(s3.client(), s3.bucket, *pair), pairs)
        assert [fault for fault in faults if fault] == []
