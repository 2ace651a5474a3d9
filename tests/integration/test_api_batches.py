"""A batch over HTTP: asked for in three ways, whole or not at all, read, listed and canceled."""

import asyncio
import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from api.batches.staging import BatchStager
from api.jobs.parsing import JobRequestContext
from api.main import create_app
from sandbox.wait import wait_until
from shared.batches import JOBS_MAX
from shared.jobs import FOREVER, Retention
from shared.store import batches, keys
from shared.store.job_queries import service_stats
from shared.store.tenants import Principal
from tests.support.api_server import (
    PROMPT,
    ApiServer,
    pointers,
    problem,
    served,
    settings,
    tenant_at,
)
from tests.support.queue_invariants import assert_true
from tests.support.store import World

NDJSON = {"content-type": "application/x-ndjson"}
JSON = {"content-type": "application/json"}


def lines(*bodies: object) -> bytes:
    return b"".join(json.dumps(body).encode() + b"\n" for body in bodies)


def prompts(count: int) -> list[dict[str, Any]]:
    return [{"input": {"prompt": f"Lighthouse {n}"}} for n in range(count)]


def ask(api_server: ApiServer, body: object, **headers: str) -> httpx.Response:
    if isinstance(body, bytes):
        return api_server.client.post("/v1/batches", content=body, headers={**NDJSON, **headers})
    return api_server.client.post("/v1/batches", json=body, headers=headers)


def accepted(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    batch = dict(answer.json())
    assert answer.headers["location"] == f"/v1/batches/{batch['id']}"
    return batch


def jobs_of(api_server: ApiServer, batch_id: str) -> list[dict[str, Any]]:
    """Return the jobs in the order asked for."""
    page = api_server.client.get("/v1/jobs", params={"batch_id": batch_id, "limit": 200}).json()
    return list(reversed(page["data"]))


def wait_until_laid_out(api_server: ApiServer) -> None:
    redis = api_server.world.client
    wait_until(lambda: not redis.exists(keys.batch_work()), "the batches to be laid out")


def assert_nothing_is_left(api_server: ApiServer) -> None:
    """Nothing of any batch is in Redis, be it seen or staged."""
    redis = api_server.world.client
    wait_until(lambda: not redis.exists(keys.batch_work()), "the stage to be taken away")
    for pattern in ("job:*", "staged:*", "batch:*", "jobs:*", "batches:*", "idem:*"):
        assert redis.keys(f"[{{]dr}}:{pattern}") == []
    assert_true(api_server.world)


def staged(api_server: ApiServer) -> int:
    return len(api_server.world.client.keys("[{]dr}:staged:*"))


def test_the_retention_of_a_batch_is_that_of_each_job_that_does_not_say(
    api_server: ApiServer,
) -> None:
    first, second = prompts(2)
    second["retention"] = {"record_seconds": None}
    asked = {"retention": {"image_seconds": 60, "record_seconds": 90}, "jobs": [first, second]}

    batch = accepted(ask(api_server, asked))

    ids = [job["id"] for job in jobs_of(api_server, batch["id"])]
    found = [api_server.world.read(job_id, api_server.tenant).job.spec.retention for job_id in ids]
    assert found == [Retention(60, 90), Retention(60, FOREVER)]


def test_a_job_and_its_batch_together_keep_no_image_longer_than_its_job(
    api_server: ApiServer,
) -> None:
    bad = {"input": {"prompt": "p"}, "retention": {"image_seconds": 91}}
    asked = {"retention": {"record_seconds": 90}, "jobs": [*prompts(1), bad]}
    assert pointers(ask(api_server, asked)) == {"/jobs/1/retention"}


@pytest.mark.parametrize("as_lines", [True, False])
def test_every_job_is_accepted_in_the_order_asked_for(
    api_server: ApiServer,
    as_lines: bool,  # noqa: FBT001
) -> None:
    bodies = prompts(5)
    batch = accepted(ask(api_server, lines(*bodies) if as_lines else {"jobs": bodies}))

    assert batch["status"] == "queued"
    assert (batch["total"], batch["progress"], batch["eta_seconds"]) == (5, 0.0, None)
    assert batch["counts"]["queued"] == 5
    assert batch["priority"] == "low"
    wait_until_laid_out(api_server)
    jobs = jobs_of(api_server, batch["id"])
    assert [job["input"]["prompt"] for job in jobs] == [one["input"]["prompt"] for one in bodies]
    assert {job["batch_id"] for job in jobs} == {batch["id"]}
    assert {job["priority"] for job in jobs} == {"low"}
    assert [job["id"] for job in jobs] == [api_server.world.claim().job.id for _ in jobs]
    assert_true(api_server.world)


OPTIONS = {
    "priority": "normal",
    "deadline_seconds": 600,
    "tags": ["spring"],
    "metadata": {"campaign": "7"},
    "webhook": {"url": "https://example.com/hook", "headers": {"X-Secret": "s"}},
}


@pytest.mark.parametrize("form", ["lines", "jobs", "variations"])
def test_what_holds_for_the_batch_holds_for_each_job_that_says_nothing_else(
    api_server: ApiServer, form: str
) -> None:
    own = {**PROMPT, "priority": "high", "deadline_seconds": 60, "tags": ["spring", "own"]}
    forms: dict[str, object] = {
        "lines": lines({"batch": OPTIONS}, PROMPT, own),
        "jobs": {**OPTIONS, "jobs": [PROMPT, own]},
        "variations": {**OPTIONS, **PROMPT, "variations": 2},
    }
    batch = accepted(ask(api_server, forms[form]))

    assert batch["metadata"] == {"campaign": "7"}
    assert batch["tags"] == ["spring"]
    hook = {"url": "https://example.com/hook", "events": ["batch.completed"]}
    assert batch["webhook"] == hook
    first, second = jobs_of(api_server, batch["id"])
    assert (first["priority"], first["tags"], first["metadata"]) == ("normal", ["spring"], {})
    assert first["webhook"] is None
    if form != "variations":
        assert (second["priority"], second["tags"]) == ("high", ["spring", "own"])
    # a job that is read before it is laid out is the one that is read after
    wait_until_laid_out(api_server)
    assert jobs_of(api_server, batch["id"]) == [
        {**job, "position": later["position"]}
        for job, later in zip([first, second], jobs_of(api_server, batch["id"]), strict=True)
    ]


@pytest.mark.parametrize(("seed", "wanted"), [(7, [7, 8, 9]), (None, None)])
def test_variations_have_pinned_and_different_seeds(
    api_server: ApiServer, seed: int | None, wanted: list[int] | None
) -> None:
    body = {"input": {"prompt": "p", **({"seed": seed} if seed else {})}, "variations": 3}
    batch = accepted(ask(api_server, body))
    seeds = [job["input"]["seed"] for job in jobs_of(api_server, batch["id"])]
    assert len(set(seeds)) == 3
    assert wanted in (None, seeds)


BAD: Sequence[tuple[object, set[str]]] = [
    (
        lines(PROMPT, {"input": {}}, PROMPT, {"prompt": "p"}),
        {
            "/line/2/input/prompt",
            "/line/4/input",
            "/line/4/prompt",
        },
    ),
    (b'\n\n{"input":{"prompt":"p"}}\n{"input":\n', {"/line/4"}),
    (
        lines({"batch": {"priority": "soon"}}, {"input": {"prompt": 7}}),
        {
            "/line/1/batch/priority",
            "/line/2/input/prompt",
        },
    ),
    (lines(PROMPT, {"batch": {}}), {"/line/2/batch", "/line/2/input"}),
    (b"", {""}),
    (b"\n \n", {""}),
    (lines({"batch": {}}), {""}),
    (
        {"jobs": [PROMPT, {"input": {"prompt": "p", "seed": "7"}}, 5]},
        {
            "/jobs/1/input/seed",
            "/jobs/2",
        },
    ),
    ({"jobs": []}, {""}),
    ({"jobs": {}}, {"/jobs"}),
    ({"jobs": [PROMPT], "priorty": "low"}, {"/priorty"}),
    ({"jobs": [PROMPT], "input": {"prompt": "p"}}, {"/input"}),
    (
        {"jobs": [PROMPT], "webhook": {"url": "http://127.0.0.1/", "events": ["job.failed"]}},
        {
            "/webhook/url",
            "/webhook/events/0",
        },
    ),
    ({}, {"/jobs"}),
    ([], {""}),
    ({"input": {"prompt": "p"}}, {"/variations"}),
    ({"input": {"prompt": "p"}, "variations": 0}, {"/variations"}),
    ({"input": {"prompt": "p"}, "variations": True}, {"/variations"}),
    ({"input": {"prompt": "p"}, "variations": 1.5}, {"/variations"}),
    ({"input": {"prompt": "p", "seed": True}, "variations": 2}, {"/input/seed"}),
    ({"input": {"prompt": "p", "seed": False}, "variations": 2}, {"/input/seed"}),
    ({"input": {"prompt": "p", "seed": 2**64}, "variations": 2}, {"/input/seed"}),
    ({**PROMPT, "model": "flux", "variations": 2}, {"/model"}),
    ({**PROMPT, "on_unknown": "ignore", "variations": 2}, {"/on_unknown"}),
    ({"jobs": [PROMPT, {"input": {"prompt": "p", "seed": 2**64}}]}, {"/jobs/1/input/seed"}),
    ({"input": {"prompt": "p", "seed": 2**53 - 2}, "variations": 3}, {"/variations"}),
    ({"input": {"prompt": "", "seed": "1"}, "variations": 3}, {"/input/prompt", "/input/seed"}),
    ({"input": {"prompt": "p"}, "variations": JOBS_MAX + 1}, {"/variations"}),
    ({"jobs": [{**PROMPT, "tags": [str(n) for n in range(10)]}], "tags": ["x"]}, {"/jobs/0/tags"}),
]


def test_a_bad_batch_is_refused_whole_and_every_fault_named(api_server: ApiServer) -> None:
    for body, wanted in BAD:
        assert pointers(ask(api_server, body)) == wanted, body
    assert_nothing_is_left(api_server)


#: Values that parsers stop at or make something else of: half characters, bytes, huge integers.
UNREADABLE = (rb'"cat \ud83d"', rb'"cat \ude00"', b'"\xed\xa0\x80"', b'"\xff"', b"9" * 5000, b"NaN")


@pytest.mark.parametrize("value", UNREADABLE)
@pytest.mark.parametrize(
    ("media", "body", "pointer"),
    [
        (JSON, b'{"jobs":[{"input":{"prompt":%b}}]}', "/jobs/0/input/prompt"),
        (JSON, b'{"jobs":[],"tags":["a",%b]}', "/tags/1"),
        (JSON, b'{"metadata":{"k":%b},"jobs":[]}', "/metadata/k"),
        (JSON, b'{"input":{"prompt":%b},"variations":2}', "/input/prompt"),
        (NDJSON, b'{"input":{"prompt":"p"}}\n{"input":{"prompt":%b}}', "/line/2/input/prompt"),
        (NDJSON, b'{"batch":{"tags":[%b]}}', "/line/1/batch/tags/0"),
    ],
)
def test_a_value_that_cannot_be_read_is_named(
    api_server: ApiServer, media: dict[str, str], body: bytes, pointer: str, value: bytes
) -> None:
    answer = api_server.client.post("/v1/batches", content=body % value, headers=media)
    assert pointer in pointers(answer)
    assert_nothing_is_left(api_server)


WRITTEN = b'{"input":{"prompt":"\xc3\xa9 \\ud83d\\ude00","seed":7.0}}'


@pytest.mark.parametrize(
    ("media", "body"),
    [
        ("application/json", b'\xef\xbb\xbf{"jobs":[%b],"deadline_seconds":60.0}' % WRITTEN),
        ("Application/JSON; charset=UTF-8", WRITTEN[:-1] + b',"variations":1.0}'),
        ("application/x-ndjson", b"\xef\xbb\xbf%b" % WRITTEN),
        ('application/ndjson; charset="utf-8"', b'\xef\xbb\xbf{"batch":{}}\r\n%b\r\n' % WRITTEN),
        ("application/jsonl", WRITTEN),
        ("application/x-jsonl", WRITTEN),
        ("application/jsonlines", WRITTEN),
        ("APPLICATION/X-JSONLINES", WRITTEN),
    ],
)
def test_a_batch_is_read_however_programs_write_it(
    api_server: ApiServer, media: str, body: bytes
) -> None:
    answer = api_server.client.post("/v1/batches", content=body, headers={"content-type": media})
    (job,) = jobs_of(api_server, accepted(answer)["id"])
    assert (job["input"]["prompt"], job["input"]["seed"]) == ("\u00e9 \U0001f600", 7)


def test_json_that_breaks_off_is_no_batch(api_server: ApiServer) -> None:
    for raw in (
        b'{"jobs":[{"input":{"prompt":"p"}}',
        b'{"jobs":[]} {}',
        b"x",
        b'{"jobs":1,"jobs":2}',
    ):
        answer = api_server.client.post("/v1/batches", content=raw, headers=JSON)
        assert pointers(answer) <= {"", "/jobs"}, raw


def test_a_bad_last_line_takes_back_all_that_was_staged(api_server: ApiServer) -> None:
    count = 2 * batches.CHUNK_JOBS + 10
    answer = ask(api_server, lines(*prompts(count), {"input": {"prompt": "p", "seed": -1}}))
    assert pointers(answer) == {f"/line/{count + 1}/input/seed"}
    assert_nothing_is_left(api_server)


def test_so_many_faults_are_told_and_the_rest_counted(api_server: ApiServer) -> None:
    body = problem(ask(api_server, lines(*[{"input": {}}] * 130)), 422, "invalid_request")
    assert len(body["errors"]) == 100
    assert body["errors_left_out"] == 30
    assert body["errors"][99]["pointer"] == "/line/100/input/prompt"


@pytest.mark.long
def test_one_job_too_many_is_refused_without_the_rest_being_read(api_server: ApiServer) -> None:
    answer = ask(api_server, lines(PROMPT) * (JOBS_MAX + 1))
    assert pointers(answer) == {"/line"}
    assert answer.headers["connection"] == "close"
    assert_nothing_is_left(api_server)


def test_a_line_that_is_too_long_is_refused(api_server: ApiServer) -> None:
    long = {"input": {"prompt": "p" * 1_000_001}}
    assert pointers(ask(api_server, lines(PROMPT, long, PROMPT))) == {"/line/2"}
    assert_nothing_is_left(api_server)


@pytest.mark.parametrize(
    "headers",
    [{"content-type": "text/plain"}, {"content-type": ""}, {**NDJSON, "content-encoding": "gzip"}],
)
def test_another_kind_of_body_is_refused(api_server: ApiServer, headers: dict[str, str]) -> None:
    answer = api_server.client.post("/v1/batches", content=lines(PROMPT), headers=headers)
    problem(answer, 415, "unsupported_media_type")


def test_the_limit_of_a_batch_s_body_is_its_own(redis_url: str) -> None:
    chosen = settings(redis_url, max_body_bytes=1000, max_batch_bytes=5000)
    with served(chosen) as url, tenant_at(url, redis_url) as api_server:
        body = lines(*prompts(30))
        assert 1000 < len(body) < 5000
        accepted(ask(api_server, body))
        problem(ask(api_server, body * 6), 413, "body_too_large")
        for path in ("/v1/jobs", "/v1/batches/", "/v1/batches/x/cancel"):
            answer = api_server.client.post(path, content=body, headers=JSON)
            problem(answer, 413, "body_too_large")

        def parts() -> Iterator[bytes]:
            for _ in range(10):
                yield body

        problem(
            api_server.client.post("/v1/batches", content=parts(), headers=NDJSON),
            413,
            "body_too_large",
        )


def test_a_client_that_goes_away_in_the_middle_leaves_nothing(api_server: ApiServer) -> None:
    address = urlsplit(api_server.url)
    body = lines(*prompts(batches.CHUNK_JOBS + 1))
    head = (
        f"POST /v1/batches HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
        f"Authorization: Bearer {api_server.credentials.api_key}\r\nContent-Length: 9000000\r\n\r\n"
    )
    with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
        connection.sendall(head.encode() + body)
        wait_until(lambda: staged(api_server) == batches.CHUNK_JOBS, "the first chunk to be staged")
        assert api_server.client.get("/v1/jobs").json()["data"] == []
    wait_until(lambda: staged(api_server) == 0, "the stage to be taken away")
    assert_nothing_is_left(api_server)


@pytest.mark.parametrize("form", ["lines", "jobs", "variations"])
def test_the_same_key_and_body_is_one_batch(api_server: ApiServer, form: str) -> None:
    forms: dict[str, object] = {
        "lines": lines({"batch": {"tags": ["a"]}}, *prompts(3)),
        "jobs": {"jobs": prompts(3), "tags": ["a"]},
        "variations": {**PROMPT, "variations": 3},
    }
    others: dict[str, object] = {
        "lines": lines({"batch": {"tags": ["b"]}}, *prompts(3)),
        "jobs": {"jobs": prompts(3), "tags": ["b"]},
        "variations": {**PROMPT, "variations": 4},
    }
    key = {"idempotency-key": "only-once"}
    first = ask(api_server, forms[form], **key)
    again = ask(api_server, forms[form], **key)

    assert accepted(again)["id"] == accepted(first)["id"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    told = problem(ask(api_server, others[form], **key), 422, "idempotency_key_reused")
    assert told["batch_id"] == first.json()["id"]
    wait_until_laid_out(api_server)
    assert len(jobs_of(api_server, first.json()["id"])) == 3
    assert staged(api_server) == 0
    assert_true(api_server.world)


def test_a_key_whose_batch_is_forgotten_is_gone(api_server: ApiServer) -> None:
    key = {"idempotency-key": "k"}
    batch = accepted(ask(api_server, {"jobs": [PROMPT]}, **key))
    (job,) = jobs_of(api_server, batch["id"])
    api_server.client.post(f"/v1/jobs/{job['id']}/cancel")
    assert api_server.client.delete(f"/v1/jobs/{job['id']}").status_code == 204

    told = problem(ask(api_server, {"jobs": [PROMPT]}, **key), 410, "job_deleted")
    assert told["batch_id"] == batch["id"]
    problem(api_server.client.get(f"/v1/batches/{batch['id']}"), 404, "not_found")


def test_a_bad_idempotency_key_is_named_with_the_rest(api_server: ApiServer) -> None:
    answer = ask(api_server, {"jobs": [{}]}, **{"idempotency-key": "x" * 256})
    assert pointers(answer) == {"/header/Idempotency-Key", "/jobs/0/input"}


def test_a_batch_for_which_there_is_no_room_leaves_nothing(api_server: ApiServer) -> None:
    api_server.world.limit(api_server.tenant, max_queued=batches.CHUNK_JOBS + 3)
    api_server.create()
    body = lines(*prompts(batches.CHUNK_JOBS + 3))
    problem(ask(api_server, body), 429, "tenant_queue_full")
    wait_until(lambda: not staged(api_server), "the stage to be deleted")
    assert not api_server.world.client.keys("[{]dr}:batch:*")
    assert_true(api_server.world)


def test_a_batch_shows_what_became_of_its_jobs(api_server: ApiServer) -> None:
    batch = accepted(ask(api_server, lines(*prompts(4))))
    wait_until_laid_out(api_server)
    api_server.succeed()
    api_server.world.fail(api_server.world.claim())

    now = api_server.client.get(f"/v1/batches/{batch['id']}").json()
    assert now["status"] == "running"
    assert now["counts"] == {"queued": 2, "running": 0, "succeeded": 1, "failed": 1, "canceled": 0}
    assert now["progress"] == 0.5
    assert now["eta_seconds"] >= 0
    page = api_server.client.get("/v1/batches").json()
    assert [{**one, "eta_seconds": now["eta_seconds"]} for one in page["data"]] == [now]


def test_a_canceled_batch_is_completed_and_cannot_be_canceled_again(api_server: ApiServer) -> None:
    count = batches.CHUNK_ENDS + 5
    batch = accepted(ask(api_server, lines(*prompts(count))))
    answer = api_server.client.post(f"/v1/batches/{batch['id']}/cancel").json()
    assert answer["status"] in {"canceling", "completed"}
    address = f"/v1/batches/{batch['id']}"
    wait_until(lambda: api_server.client.get(address).json()["status"] == "completed", "the cancel")
    assert api_server.client.get(address).json()["counts"]["canceled"] == count
    problem(api_server.client.post(f"{address}/cancel"), 409, "batch_final")
    assert api_server.world.try_claim() is None


def test_batches_are_listed_newest_first_page_by_page(api_server: ApiServer) -> None:
    made = [accepted(ask(api_server, {"jobs": [PROMPT]}))["id"] for _ in range(3)]
    first = api_server.client.get("/v1/batches", params={"limit": 2}).json()
    rest = api_server.client.get("/v1/batches", params={"cursor": first["next_cursor"]}).json()
    assert [one["id"] for one in [*first["data"], *rest["data"]]] == made[::-1]
    assert rest["next_cursor"] is None
    assert pointers(api_server.client.get("/v1/batches", params={"cursor": "eA"})) == {
        "/query/cursor"
    }


@pytest.mark.parametrize("path", ["", "/cancel", "/manifest"])
def test_another_tenant_s_batch_is_not_found(api_server: ApiServer, path: str) -> None:
    batch = accepted(ask(api_server, {"jobs": [PROMPT]}))
    with tenant_at(api_server.url, str(api_server.world.settings.redis_url)) as other:
        for name in (batch["id"], "batch_x", f"batch_{'0' * 26}"):
            method = "POST" if path == "/cancel" else "GET"
            answer = other.client.request(method, f"/v1/batches/{name}{path}")
            problem(answer, 404, "not_found")
        assert other.client.get("/v1/batches").json()["data"] == []


def test_redis_processes_a_chunk_while_the_next_is_validated(empty_redis_url: str) -> None:
    app = create_app(settings(empty_redis_url))
    body = json.dumps(prompts(1)[0]).encode()

    async def stage(tenant: str) -> None:
        async with app.router.lifespan_context(app):
            parts = app.state.parts
            caller = Principal("", "", frozenset(), tenant, may_disable_safety=False)
            stager = BatchStager(parts, JobRequestContext(caller, parts.settings))
            await parts.committer.run(service_stats())  # connects, and loads the functions
            for number in range(batches.CHUNK_JOBS):
                await stager.add_body(body, ("jobs", number))
            # the event loop stands still here: what has not been written is not written now
            wait_until(
                lambda: world.client.hget(keys.staged_counts(), tenant) is not None, "the chunk"
            )

    with closing(World(empty_redis_url)) as world:
        asyncio.run(stage("acme"))
