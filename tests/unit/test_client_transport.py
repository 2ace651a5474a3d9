"""What a folder asks for, against a service that is a function."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from darkroom import AsyncClient
from darkroom.bulk.journal import FILE, open_journal
from darkroom.bulk.plan import Entry, entries_of
from darkroom.bulk.prompt_files import Line, read_lines
from darkroom.bulk.runner import JOBS_MOST, Filling
from darkroom.errors import DarkroomError, NotFound, Unavailable, UsageError
from darkroom.models import ImageFacts
from darkroom.models import Job as AnyJob
from darkroom.retries import RetryPolicy

BATCH = {"id": "batch_1", "counts": {}, "metadata": {}, "created_at": "2026-11-23T12:00:00.000Z"}
Service = Callable[[httpx.Request], httpx.Response]


def entries(count: int) -> list[Entry]:
    bodies = ({"input": {"prompt": f"Boat {number}"}} for number in range(count))
    return list(entries_of([Line(n, body) for n, body in enumerate(bodies, 1)], 1))


def problem(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "detail": "No."})


def ask(folder: Path, wanted: list[Entry], service: Service) -> None:
    with_filling(folder, service, lambda filling: filling.record_requested(wanted))


def with_filling(folder: Path, service: Service, run: Callable[[Filling], Awaitable[None]]) -> None:
    async def go() -> None:
        transport, once = httpx.MockTransport(service), RetryPolicy(retries=0)
        async with AsyncClient(
            "http://darkroom", "dk", transport=transport, retry_policy=once
        ) as client:
            with open_journal(folder) as journal:
                await run(Filling(client, folder, journal))

    asyncio.run(go())


def test_more_than_a_request_takes_is_several_and_a_second_run_sends_none(tmp_path: Path) -> None:
    sent: list[tuple[str, int]] = []

    def service(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        sent.append((request.headers["idempotency-key"], len(body["jobs"])))
        assert body["metadata"] == {"run": request.headers["idempotency-key"]}
        return httpx.Response(202, json={**BATCH, "id": f"batch_{len(sent)}"})

    wanted = entries(JOBS_MOST + 1)
    ask(tmp_path, wanted, service)
    assert [count for _, count in sent] == [JOBS_MOST, 1]
    assert len(dict(sent)) == 2
    ask(tmp_path, wanted, service)
    assert len(sent) == 2


def test_a_run_that_was_cut_off_sends_the_same_words_under_the_same_key(tmp_path: Path) -> None:
    sent: list[tuple[str, bytes]] = []

    def service(request: httpx.Request) -> httpx.Response:
        sent.append((request.headers["idempotency-key"], request.content))
        if len(sent) == 1:
            raise SystemExit  # the process ends here
        return httpx.Response(202, json=BATCH)

    wanted = entries(2)
    with pytest.raises(SystemExit):
        ask(tmp_path, wanted, service)
    # also where the file of prompts is another by now
    ask(tmp_path, [*wanted, *entries(3)[2:]], service)
    assert len(sent) == 3
    assert sent[0] == sent[1]
    assert sent[2][0] != sent[0][0]
    assert b"Boat 2" in sent[2][1]


def never_sent(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def lost(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("timeout", request=request)


def sent_by_a_second_run(folder: Path, first: Service) -> list[int]:
    """Return the sizes of the requests of a run with a shorter file, after one that failed."""
    sent: list[int] = []

    def service(request: httpx.Request) -> httpx.Response:
        sent.append(len(json.loads(request.content)["jobs"]))
        return httpx.Response(202, json=BATCH)

    with pytest.raises(DarkroomError):
        ask(folder, entries(3), first)
    ask(folder, entries(4)[3:], service)
    return sent


@pytest.mark.parametrize(
    "first",
    [
        lambda _: problem(401, "unauthenticated"),
        lambda _: problem(403, "forbidden"),
        lambda _: problem(404, "not_found"),
        lambda _: problem(409, "tenant_deleting"),
        lambda _: problem(429, "tenant_queue_full"),
        lambda _: problem(503, "queue_full"),
        lambda _: httpx.Response(301, headers={"location": "https://darkroom/v1/batches"}),
        never_sent,
    ],
)
def test_a_request_that_was_certainly_refused_is_not_sent_by_the_next_run(
    tmp_path: Path, first: Service
) -> None:
    assert sent_by_a_second_run(tmp_path, first) == [1]


@pytest.mark.parametrize(
    "first",
    [
        lambda _: problem(500, "internal"),
        lambda _: problem(503, "accept_unknown"),
        lambda _: problem(503, "outcome_unknown"),
        lambda _: httpx.Response(502, text="Bad Gateway"),
        lambda _: httpx.Response(503, text="upstream connect error or disconnect/reset"),
        lambda _: httpx.Response(200, text="<html>"),
        lost,
    ],
)
def test_a_request_that_may_have_been_accepted_is_sent_by_the_next_run(
    tmp_path: Path, first: Service
) -> None:
    assert sent_by_a_second_run(tmp_path, first) == [3, 1]


def test_a_refusal_in_a_later_run_does_not_settle_a_lost_reply(tmp_path: Path) -> None:
    for service in (lost, lambda _: problem(429, "tenant_queue_full")):
        with pytest.raises(DarkroomError):
            ask(tmp_path, entries(3), service)
    with open_journal(tmp_path) as journal:
        assert [len(one.jobs) for one in journal.requested.values()] == [3]


def test_a_key_that_is_too_old_is_looked_for_and_not_sent(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        journal.record_requested(entries(1))
        [key] = journal.requested
    record = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps({**record, "at": 0}) + "\n")
    asked: list[str] = []

    def service(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        found: list[dict[str, Any]] = [BATCH, {**BATCH, "id": "old", "metadata": {"run": key}}]
        return httpx.Response(200, json={"data": found, "next_cursor": None})

    ask(tmp_path, entries(1), service)
    assert asked == ["GET"]
    with open_journal(tmp_path) as journal:
        assert journal.requested[key].batch == "old"


class Reports:
    """What a run says of each image."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.unsaved_jobs: list[str] = []
        self.refused_jobs: list[str] = []

    def saved(self, file: Path, _: AnyJob[ImageFacts]) -> None:
        self.names.append(file.name)

    def failed(self, job: AnyJob[ImageFacts]) -> None:
        self.unsaved_jobs.append(job.id)

    def unsaved(self, job: AnyJob[ImageFacts], _: DarkroomError) -> None:
        self.unsaved_jobs.append(job.id)

    def refused(self, job_id: str, _: DarkroomError) -> None:
        self.refused_jobs.append(job_id)


class ImageService:
    """A service of batches of single jobs; `answers` replace those of a path."""

    def __init__(self) -> None:
        self.batches: list[dict[str, Any]] = []
        self.answers: dict[str, httpx.Response] = {}
        self.failed: set[str] = set()
        self.retried: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path in self.answers:
            return self.answers[path]
        if path == "/v1/events":
            return httpx.Response(200, json={"data": [], "next_cursor": "c"})
        if (request.method, path) == ("POST", "/v1/batches"):
            [job] = json.loads(request.content)["jobs"]
            self.batches.append(job)
            return httpx.Response(202, json={**BATCH, "id": f"batch_{len(self.batches)}"})
        number, *rest = path.rpartition("_")[2].split("/")
        if rest == ["retry"]:
            self.retried.append(number)
        if rest == ["image"]:
            return httpx.Response(200, content=b"img")
        return httpx.Response(200, json=self.job(number))  # a manifest is a line of it

    def job(self, number: str) -> dict[str, Any]:
        image = {"url": "u", "content_type": "image/webp", "bytes": 3, "sha256": ""}
        has_failed = number in self.failed
        status, image_or_none = ("failed", None) if has_failed else ("succeeded", image)
        job = {"id": f"job_{number}", "status": status, "image": image_or_none}
        return {**self.batches[int(number) - 1], **job}


def fill(
    folder: Path, wanted: list[Entry], service: ImageService, *, retry: bool = False
) -> Reports:
    reports = Reports()

    async def go(filling: Filling) -> None:
        for entry in wanted:  # a batch each
            await filling.record_requested([entry])
        missing = filling.wanted(wanted)
        if retry:
            await filling.retry_failed(missing, reports)
        await filling.save(missing, reports)

    with_filling(folder, service, go)
    return reports


def test_a_batch_that_is_gone_does_not_keep_the_images_of_others(tmp_path: Path) -> None:
    service = ImageService()
    service.failed = {"1"}
    fill(tmp_path, entries(1), service)
    service.answers["/v1/batches/batch_1/manifest"] = problem(404, "not_found")
    with pytest.raises(NotFound, match="batch_1"):
        fill(tmp_path, entries(2), service, retry=True)
    assert [one.name for one in tmp_path.glob("*.webp")] == ["0002-boat-1.webp"]


@pytest.mark.parametrize(
    "reply",
    [problem(410, "image_deleted"), problem(404, "image_missing"), problem(502, "image_damaged")],
)
def test_an_image_that_cannot_be_read_does_not_keep_others(
    tmp_path: Path, reply: httpx.Response
) -> None:
    service = ImageService()
    service.answers["/v1/jobs/job_1/image"] = reply
    reports = fill(tmp_path, entries(2), service)
    assert (reports.names, reports.unsaved_jobs) == (["0002-boat-1.webp"], ["job_1"])


@pytest.mark.parametrize(
    "reply",
    [problem(422, "model_unavailable"), problem(409, "prompt_withheld"), problem(404, "not_found")],
)
def test_a_job_that_cannot_be_retried_does_not_keep_others(
    tmp_path: Path, reply: httpx.Response
) -> None:
    service = ImageService()
    service.failed = {"1", "2"}
    fill(tmp_path, entries(3), service)
    service.answers["/v1/jobs/job_1/retry"] = reply
    reports = fill(tmp_path, entries(4), service, retry=True)
    assert (service.retried, reports.refused_jobs) == (["2"], ["job_1"])
    assert reports.names == ["0004-boat-3.webp"]


def test_a_service_that_is_away_ends_a_run(tmp_path: Path) -> None:
    service = ImageService()
    service.answers["/v1/jobs/job_1/image"] = problem(503, "storage_down")
    with pytest.raises(Unavailable):
        fill(tmp_path, entries(2), service)


def test_a_batch_that_no_json_can_carry_is_dropped_from_the_journal(tmp_path: Path) -> None:
    record = {
        "key": "cli-1",
        "at": 0,
        "jobs": [{"input": {"prompt": "x", "seed": float("nan")}, "metadata": {"entry": "e"}}],
        "names": {"e": "0001-x"},
    }
    (tmp_path / FILE).write_text(json.dumps({**record, "at": 9e9}) + "\n")
    sent: list[int] = []

    def service(request: httpx.Request) -> httpx.Response:
        sent.append(len(json.loads(request.content)["jobs"]))
        return httpx.Response(202, json=BATCH)

    ask(tmp_path, entries(1), service)
    ask(tmp_path, entries(1), service)
    assert sent == [1]


def test_what_cannot_be_sent_is_named_before_it_is_in_the_journal(tmp_path: Path) -> None:
    lines = [
        Line(1, {"input": {"prompt": "x"}, "tags": ["caf\udce9"]}, frozenset({"tags"})),
        Line(2, {"input": {"prompt": "y", "seed": float("inf")}}),
    ]
    with pytest.raises(UsageError) as refused:
        ask(tmp_path, list(entries_of(lines, 1)), lambda _: httpx.Response(500))
    assert str(refused.value).split("\n") == [
        "--tag is not valid Unicode.",
        "line 2, seed: must be a finite number.",
        "Nothing was requested.",
    ]
    assert (tmp_path / FILE).read_bytes() == b""


def test_a_fault_of_an_option_is_named_once_and_those_of_lines_by_their_columns(
    tmp_path: Path,
) -> None:
    source = tmp_path / "p.csv"
    source.write_text("prompt,colour\na,red\nb,blue\n")
    lines = read_lines(source, {"aspect_ratio": "7:3"})
    faults = [
        {"pointer": f"/jobs/{job}/input/{name}", "message": "is wrong"}
        for job in (0, 1)
        for name in ("aspect_ratio", "colour")
    ]
    refused = httpx.Response(422, json={"code": "invalid_request", "errors": faults})
    with pytest.raises(UsageError) as raised:
        ask(tmp_path, list(entries_of(lines, 1)), lambda _: refused)
    assert str(raised.value).split("\n") == [
        "--aspect-ratio is wrong.",
        "p.csv, lines 2, 3, column `colour`: is wrong.",
        "Nothing was requested.",
    ]


def test_a_refusal_names_lines_and_leaves_nothing_asked_for(tmp_path: Path) -> None:
    faults = [{"pointer": "/jobs/1/input/prompt", "message": "is too long"}]

    def service(_: httpx.Request) -> httpx.Response:
        return httpx.Response(422, json={"code": "invalid_request", "errors": faults})

    with pytest.raises(UsageError, match="line 2, prompt: is too long"):
        ask(tmp_path, entries(2), service)
    with open_journal(tmp_path) as journal:
        assert journal.requested == {}


def test_a_refusal_of_a_later_request_says_how_many_images_are_requested(tmp_path: Path) -> None:
    faults = [{"pointer": "/jobs/0/input/prompt", "message": "is too long"}]

    def service(request: httpx.Request) -> httpx.Response:
        if len(json.loads(request.content)["jobs"]) == JOBS_MOST:
            return httpx.Response(202, json=BATCH)
        return httpx.Response(422, json={"code": "invalid_request", "errors": faults})

    with pytest.raises(UsageError) as raised:
        ask(tmp_path, entries(JOBS_MOST + 1), service)
    fault, end = str(raised.value).split("\n")
    assert fault == "line 10001, prompt: is too long."
    assert end.startswith("10,000 images of the lines before were requested. Correct the file")
