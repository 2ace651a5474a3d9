"""The demonstration asks as a client does, and tells each step or why there is none."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sandbox.devstack.demo import Demo, DemoFailed
from sandbox.servers import free_port
from tests.support.background import in_service

JOB = {
    "id": "job_1",
    "status": "succeeded",
    "step": None,
    "waiting_on": None,
    "input": {"seed": 7},
    "image": {"width": 1344, "height": 768},
    "error": None,
}
FAILED = {**JOB, "status": "failed", "error": {"message": "The key is dead."}}


def answers(job: Mapping[str, object]) -> dict[str, tuple[int, str, bytes]]:
    life = [
        {**JOB, "status": "queued", "waiting_on": "queue"},
        {**JOB, "status": "running", "step": "calling"},
        job,
    ]
    events = "".join(f"id: {n}\ndata: {json.dumps(one)}\n\n" for n, one in enumerate(life))
    return {
        "POST /v1/jobs": (202, "application/json", json.dumps(JOB).encode()),
        "GET /v1/jobs/job_1": (200, "application/json", json.dumps(job).encode()),
        "GET /v1/jobs/job_1/events": (200, "text/event-stream", f": hello\n\n{events}".encode()),
        "GET /v1/jobs/job_1/image": (200, "image/webp", b"RIFF"),
    }


@contextmanager
def api(known: dict[str, tuple[int, str, bytes]]) -> Iterator[str]:
    """Serve fixed answers by method and path."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            gone = (503, "application/problem+json", b'{"code": "store_down"}')
            status, kind, body = known.get(f"{self.command} {self.path}", gone)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815  the names are the library's

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, in_service(server):
        yield f"http://127.0.0.1:{server.server_port}"


def test_an_image_is_saved_and_each_step_told(tmp_path: Path) -> None:
    said: list[str] = []
    with api(answers(JOB)) as url:
        path = Demo(url, "dk_key", tmp_path, said.append).run()
    assert path == tmp_path / "job_1.webp"
    assert path.read_bytes() == b"RIFF"
    steps = [line.partition(" s  ")[2] for line in said]
    assert steps[1:5] == ["accepted as job_1", "queued: queue", "running: calling", "succeeded"]
    assert "image/webp, 1344 × 768, seed 7, 4 bytes" in steps[5]  # noqa: RUF001  a size
    assert "dk_key" not in "".join(said)


def test_a_job_that_failed_says_why(tmp_path: Path) -> None:
    with (
        api(answers(FAILED)) as url,
        pytest.raises(DemoFailed, match="job_1 is failed: The key is dead"),
    ):
        Demo(url, "dk_key", tmp_path, lambda _: None).run()


def test_a_refusal_is_told_as_it_came(tmp_path: Path) -> None:
    with api({}) as url, pytest.raises(DemoFailed, match=r"answered with 503: .*store_down"):
        Demo(url, "dk_key", tmp_path, lambda _: None).run()


def test_an_api_that_is_away_is_named(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(DemoFailed, match=f"The connection to {url} broke"):
        Demo(url, "dk_key", tmp_path, lambda _: None).run()


def test_an_answer_that_is_no_job_is_told(tmp_path: Path) -> None:
    strange = {**answers(JOB), "POST /v1/jobs": (202, "application/json", b"{}")}
    with api(strange) as url, pytest.raises(DemoFailed, match="has an unexpected form: KeyError"):
        Demo(url, "dk_key", tmp_path, lambda _: None).run()
