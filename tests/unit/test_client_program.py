"""The `darkroom` program without a service: its start, and what it says when requests fail."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from darkroom import AsyncClient, Client, DarkroomError, JobFailed, RetryPolicy, Unavailable
from darkroom.commands.connection import Where
from darkroom.commands.exits import AWAY, FAILED, REFUSED, exit_code
from darkroom.commands.generate import generate
from darkroom.commands.jobs import cancel, retry

_LOADED = """
import sys
from darkroom.cli import build
program = build(*sys.argv[1:])
packages = {name.partition(".")[0] for name in sys.modules}
print("tenants" in program, not packages.isdisjoint({"cli", "shared"}))
"""


@pytest.mark.parametrize(
    ("arguments", "is_loaded"),
    [(["generate"], False), (["tenants"], True), (["--help"], True), ([], True)],
)
def test_the_service_is_imported_only_for_its_commands_and_for_help(
    arguments: list[str], *, is_loaded: bool
) -> None:
    command = [sys.executable, "-c", _LOADED, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.split() == [str(is_loaded)] * 2


Service = Callable[[httpx.Request], httpx.Response]
ONCE = RetryPolicy(retries=0)
IMAGE = {"url": "u", "content_type": "image/webp", "bytes": 3, "sha256": ""}
QUEUED: dict[str, Any] = {"id": "job_1", "status": "queued", "input": {}, "image": None}
DONE = {**QUEUED, "status": "succeeded", "image": IMAGE}


def down(_: httpx.Request) -> httpx.Response:
    return httpx.Response(503, json={"code": "storage_down", "detail": "The storage is away."})


@dataclass(frozen=True)
class Played(Where):
    """A service that is a function."""

    service: Service = down

    @contextmanager
    def client(self, kind: str = "api") -> Iterator[Client]:
        transport = httpx.MockTransport(self.service)
        with Client("http://darkroom", kind, transport=transport, retry_policy=ONCE) as client:
            yield client

    def async_client(self) -> AsyncClient:
        transport = httpx.MockTransport(self.service)
        return AsyncClient("http://darkroom", "dk", transport=transport, retry_policy=ONCE)


def service_of(job: object) -> Service:
    """Return a service that creates jobs and batches, and is away for all but reading this job."""

    def service(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            is_batch = request.url.path == "/v1/batches"
            created = {"id": "batch_1", "counts": {}} if is_batch else QUEUED
            return httpx.Response(202, json=created)
        if job and request.url.path == "/v1/jobs/job_1":
            return httpx.Response(200, json=job)
        return down(request)

    return service


@pytest.mark.parametrize("service", [service_of(None), service_of(DONE)])
def test_an_error_after_the_job_was_created_names_it_and_does_not_invite_to_create_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], service: Service
) -> None:
    with pytest.raises(DarkroomError, match=r"The storage is away\.") as raised:
        generate("x", out=tmp_path, where=Played(service=service))
    assert exit_code(raised.value) == FAILED
    assert "darkroom jobs save job_1" in capsys.readouterr().err


def test_an_error_after_the_batch_was_created_names_it_and_does_not_invite_to_create_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DarkroomError) as raised:
        generate("x", variations=2, out=tmp_path, where=Played(service=service_of(None)))
    assert exit_code(raised.value) == FAILED
    assert "darkroom jobs list --batch batch_1" in capsys.readouterr().err


def test_an_error_before_the_job_was_created_names_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Unavailable) as raised:
        generate("x", out=tmp_path, where=Played())
    assert exit_code(raised.value) == AWAY
    assert capsys.readouterr().err == ""


def test_the_library_names_the_created_job_in_the_error_of_the_wait() -> None:
    named = r"The storage is away\. job_1 was created"
    service = service_of(None)
    with (
        Played(service=service).client() as client,
        pytest.raises(Unavailable, match=named) as raised,
    ):
        client.generate("x")
    assert raised.value.job
    assert raised.value.job.id == "job_1"


def test_a_failed_job_is_named_once() -> None:
    error = {"code": "content_rejected", "message": "No.", "retryable": False}
    failed = {**QUEUED, "status": "failed", "error": error}
    service = service_of(failed)
    with Played(service=service).client() as client, pytest.raises(JobFailed) as raised:
        client.generate("x")
    assert str(raised.value) == "job_1 failed: No."


@pytest.mark.parametrize("command", [cancel, retry])
@pytest.mark.parametrize("status", [404, 409, 422])
def test_every_job_that_was_named_is_tried(
    capsys: pytest.CaptureFixture[str], command: Callable[..., int], status: int
) -> None:
    def service(request: httpx.Request) -> httpx.Response:
        job_id = request.url.path.split("/")[3]
        if job_id == "job_1":
            return httpx.Response(status, json={"code": "why", "detail": "It is final."})
        return httpx.Response(200, json={**QUEUED, "id": job_id})

    assert command("job_1", "job_2", "job_3", where=Played(service=service)) == REFUSED
    shown = capsys.readouterr()
    assert shown.out.splitlines() == ["job_2 queued", "job_3 queued"]
    assert shown.err == "job_1: It is final.\n"


def test_a_service_that_is_away_ends_a_command_for_several_jobs() -> None:
    with pytest.raises(Unavailable):
        cancel("job_1", "job_2", where=Played())
