"""Lists over live and archived jobs with one cursor: none is missing or listed twice."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shared.model_catalog import DEFAULT_MODEL
from shared.store import keys
from shared.store.audit import archivable_audit, remove_archived_audit
from tests.integration.test_api_history import REPLICATE, ended_batch
from tests.support.api_server import problem, tenant_at
from tests.support.history_service import TENANT, HistoryService, history_service, listed
from tests.support.models import OTHER_MODEL
from tests.support.servers import S3Server

LIMITS = (1, 2, 50)


@pytest.fixture
def service(empty_redis_url: str, history_url: str, s3: S3Server) -> Iterator[HistoryService]:
    with history_service(empty_redis_url, history_url, s3) as service:
        yield service


def end_many(service: HistoryService) -> list[dict[str, Any]]:
    """Create jobs of every kind; return them, newest first."""
    for number in range(3):
        service.end(
            "succeeded",
            tags=["blue"] if number else [],
            metadata={"order": f"A-{number % 2}", "null": "\x00é"},
            input={"prompt": f"Die STRASSE, number {number}; 灯塔", "seed": number},
        )
        service.end("failed", tags=["blue", "red"], model=OTHER_MODEL if number else DEFAULT_MODEL)
        service.end("canceled")
    ended_batch(service, "succeeded", "failed", "canceled")
    for _ in range(2):
        service.api.create(tags=["red"])
    jobs = list(service.client.get("/v1/jobs", params={"limit": 200}).json()["data"])
    assert len(jobs) == 14
    return jobs


def ids(jobs: Sequence[dict[str, Any]]) -> list[str]:
    return [job["id"] for job in jobs]


def final(jobs: Sequence[dict[str, Any]]) -> list[str]:
    return [job["id"] for job in jobs if job["status"] != "queued"]


def test_every_filter_finds_the_same_in_every_page_size(service: HistoryService) -> None:
    jobs = end_many(service)
    batch_id = next(job["batch_id"] for job in jobs if job["batch_id"])
    middle = jobs[7]["created_at"]
    filters: list[tuple[dict[str, Any], Callable[[dict[str, Any]], bool]]] = [
        ({}, lambda _: True),
        *(
            ({"status": status}, lambda job, status=status: job["status"] == status)
            for status in ("queued", "running", "succeeded", "failed", "canceled")
        ),
        ({"batch_id": batch_id}, lambda job: job["batch_id"] == batch_id),
        ({"tag": "blue"}, lambda job: "blue" in job["tags"]),
        ({"tag": "red", "status": "failed"}, lambda job: job["tags"] == ["blue", "red"]),
        ({"tag": "none"}, lambda _: False),
        ({"model": OTHER_MODEL}, lambda job: job["model"] == OTHER_MODEL),
        ({"served_model": DEFAULT_MODEL}, lambda job: job["served_model"] == DEFAULT_MODEL),
        ({"error_code": "provider_rejected"}, lambda job: job["status"] == "failed"),
        ({"error_code": "canceled"}, lambda job: (job["error"] or {}).get("code") == "canceled"),
        ({"metadata.order": "A-0"}, lambda job: job["metadata"].get("order") == "A-0"),
        (
            {"metadata.order": "A-0", "metadata.null": "\x00é"},
            lambda job: job["metadata"].get("order") == "A-0",
        ),
        ({"metadata.order": "A-0", "metadata.null": ""}, lambda _: False),
        ({"seed": 1}, lambda job: job["input"]["seed"] == 1),
        ({"q": "straße NUMBER"}, lambda job: "STRASSE" in job["input"]["prompt"]),
        ({"q": "塔 number 2"}, lambda job: "number 2" in job["input"]["prompt"]),
        ({"q": "number strass"}, lambda _: False),
        ({"q": "straße", "tag": "blue", "seed": 2}, lambda job: job["input"]["seed"] == 2),
        ({"created_after": middle}, lambda job: job["created_at"] > middle),
        ({"created_before": middle}, lambda job: job["created_at"] < middle),
        (
            {"created_before": middle, "status": "succeeded"},
            lambda job: job["created_at"] < middle and job["status"] == "succeeded",
        ),
    ]
    for archived in ((), final(jobs)[::2], final(jobs)):
        if archived:
            service.archive(*archived)
            assert all(service.is_only_archived(job_id) for job_id in archived)
        for query, fits in filters:
            expected = [job["id"] for job in jobs if fits(job)]
            for limit in LIMITS:
                assert listed(service.client, limit=limit, **query) == expected, (query, limit)


def test_a_page_is_the_same_job_by_job(service: HistoryService) -> None:
    jobs = end_many(service)
    # the estimates of queued jobs change with time
    service.archive(*final(jobs)[1::2])
    page = service.client.get("/v1/jobs", params={"limit": 200}).json()
    assert [job for job in page["data"] if job["status"] != "queued"] == [
        job for job in jobs if job["status"] != "queued"
    ]
    assert page["next_cursor"] is None


@pytest.mark.parametrize("newest_archived", [True, False])
def test_a_page_that_ends_at_the_border_is_continued_beyond_it(
    service: HistoryService,
    newest_archived: bool,  # noqa: FBT001
) -> None:
    newest_first = [service.end("canceled") for _ in range(6)][::-1]
    service.archive(*(newest_first[:3] if newest_archived else newest_first[3:]))
    for limit in (1, 2, 3, 4, 5, 6, 7):
        assert listed(service.client, limit=limit) == newest_first


def test_jobs_that_move_between_two_pages_are_listed_once(service: HistoryService) -> None:
    jobs = end_many(service)
    movable = final(jobs)
    subsets = st.sets(st.sampled_from(movable))

    @given(limit=st.sampled_from([1, 2, 3, 50]), moves=st.lists(subsets, max_size=8))
    @hypothesis_settings(max_examples=20)
    def check(limit: int, moves: list[set[str]]) -> None:
        todo = iter(moves)

        def between() -> None:
            for job_id in sorted(next(todo, set())):
                toggle(service, job_id)

        assert listed(service.client, between=between, limit=limit) == ids(jobs)

    check()


def toggle(service: HistoryService, job_id: str) -> None:
    """Move a job to the history, or back."""
    if service.is_only_archived(job_id):
        service.restore(job_id)
    else:
        service.archive(job_id)


@contextmanager
def beside(work: Callable[[str], None], job_ids: Sequence[str]) -> Iterator[threading.Thread]:
    """Do the work for one job after the other in a thread."""

    def work_on_all() -> None:
        for job_id in job_ids:
            work(job_id)

    thread = threading.Thread(target=work_on_all)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(60)
        assert not thread.is_alive()


def test_a_list_read_while_jobs_move_is_whole(service: HistoryService) -> None:
    jobs = [service.end("canceled") for _ in range(40)][::-1]
    lists = 0
    for work in (service.archive, service.restore) * 2:
        with beside(work, jobs) as thread:
            while thread.is_alive():
                for limit in (7, 50):
                    assert listed(service.client, limit=limit) == jobs
                    lists += 1
        assert all(service.is_only_archived(job_id) for job_id in jobs) == (work == service.archive)
    assert lists >= 8


def test_operators_search_the_jobs_of_all_tenants(service: HistoryService) -> None:
    mine = [service.end("failed"), service.end(), service.end("failed")]
    world = service.history.world.settings
    with tenant_at(service.api.url, world.redis_url, history_url=world.history_url) as other:
        theirs = str(other.create()["id"])
        assert other.client.post(f"/v1/jobs/{theirs}/cancel").status_code == 200
        everything = [theirs, *mine[::-1]]
        searches: list[tuple[dict[str, Any], list[str]]] = [
            ({}, everything),
            ({"tenant": other.tenant}, [theirs]),
            ({"tenant": "acme"}, mine[::-1]),
            ({"status": "failed"}, [mine[2], mine[0]]),
            ({"status": "failed", "tenant": "acme"}, [mine[2], mine[0]]),
            ({"status": "failed", "tenant": other.tenant}, []),
            ({"id": mine[1]}, [mine[1]]),
            ({"id": mine[1][:-1]}, [mine[1]]),
            ({"id": "job_"}, everything),
            ({"id": "job_0"}, everything),
            ({"id": "job_z"}, []),
        ]
        for archived in ((), (mine[1], theirs), everything):
            if archived:
                service.archive(*archived)
                assert all(service.is_only_archived(job_id) for job_id in archived)
            for query, expected in searches:
                for limit in LIMITS:
                    found = listed(service.operator, "/ops/v1/jobs", limit=limit, **query)
                    assert found == expected, (query, limit)


def test_operators_find_the_jobs_of_an_archived_batch(service: HistoryService) -> None:
    batch_id, jobs = ended_batch(service, "failed", "canceled")
    service.archive()
    assert listed(service.operator, "/ops/v1/jobs", batch_id=batch_id) == jobs[::-1]


def test_predictions_are_listed_over_both(service: HistoryService) -> None:
    job_ids = [service.end("canceled") for _ in range(103)][::-1]
    live = predictions(service)
    assert [one["id"] for one in live] == job_ids
    service.archive(*job_ids[::2])
    assert predictions(service) == live
    service.archive()
    assert predictions(service) == live


def predictions(service: HistoryService) -> list[dict[str, Any]]:
    """Read all pages of the list."""
    found: list[dict[str, Any]] = []
    path: str | None = REPLICATE
    while path:
        page = service.client.get(path).json()
        found += page["results"]
        path = page["next"] and page["next"][page["next"].index("/replicate") :]
    return found


def retry_all(service: HistoryService, **body: Any) -> dict[str, Any]:
    answer = service.operator.post("/ops/v1/jobs/retry", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_archived_failed_jobs_are_counted_and_retried_in_bulk(service: HistoryService) -> None:
    failed = [service.end("failed", tags=["a"]) for _ in range(30)]
    others = [service.end("failed"), service.end("canceled", tags=["a"]), service.end(tags=["a"])]
    deleted = service.end("failed", tags=["a"])
    service.archive(*failed[::2], *others, deleted)
    assert service.client.delete(f"/v1/jobs/{deleted}").status_code == 204
    tagged = {"filter": {"tenant": "acme", "tag": "a"}}
    counted = {"count": 30, "more": False, "moved": 0, "refused": {}}
    assert retry_all(service, **tagged, dry_run=True) == counted
    # counting brings nothing back
    assert all(service.is_only_archived(job_id) for job_id in failed[::2])
    fewer = service.operator.post("/ops/v1/jobs/retry", json={**tagged, "expected_count": 29})
    assert problem(fewer, 409, "count_changed")["count"] == 30
    assert all(service.is_only_archived(job_id) for job_id in failed[::2])

    assert retry_all(service, **tagged, expected_count=30) == {**counted, "moved": 30}

    assert listed(service.client, status="queued") == failed[::-1]
    assert listed(service.client, tag="a", limit=7) == [*others[:0:-1], *failed[::-1]]
    assert all(service.is_only_archived(job_id) for job_id in others)
    for _ in failed:
        service.history.world.fail(service.history.world.claim())
    service.archive()
    assert all(service.is_only_archived(job_id) for job_id in failed)
    assert {service.job(job_id)["run"] for job_id in failed} == {2}
    assert listed(service.client, status="failed") == [others[0], *failed[::-1]]


def test_an_archived_job_named_by_its_id_is_retried_in_either_status(
    service: HistoryService,
) -> None:
    canceled, succeeded = service.end("canceled"), service.end()
    service.archive()
    for job_id, count in ((canceled, 1), (succeeded, 0)):
        named = {"filter": {"id": job_id}}
        assert retry_all(service, **named, dry_run=True)["count"] == count
        assert retry_all(service, **named, expected_count=1)["moved"] == count
    assert service.job(canceled)["status"] == "queued"
    assert service.is_only_archived(succeeded)


# the audit log --------------------------------------------------------------------------------


def act(service: HistoryService, number: int) -> None:
    """Make a change as an operator."""
    queue, action = ("deliver", "generate")[number % 2], ("pause", "resume")[number // 2 % 2]
    service.operator.post(f"/ops/v1/queues/{queue}/{action}").raise_for_status()


def archive_audit(service: HistoryService, most: int) -> None:
    """Move the oldest audit entries to the history, however new they are."""
    world, writer = service.history.world, service.history.archiver.writer
    found = world.store.run(archivable_audit(most=most, settle_ms=-1000))
    if not writer.has_begun:
        writer.begin()
    writer.write_audit(found)
    world.store.run(remove_archived_audit(found))


def test_audit_entries_are_listed_once_while_they_move(service: HistoryService) -> None:
    for number in range(8):
        act(service, number)
    entries = service.operator.get("/ops/v1/audit", params={"limit": 200}).json()["data"]
    assert len(entries) >= 8
    key, middle = entries[0]["by"], entries[4]["at"]
    filters: list[tuple[dict[str, Any], Callable[[dict[str, Any]], bool]]] = [
        ({}, lambda _: True),
        ({"action": "queue.resume"}, lambda entry: entry["action"] == "queue.resume"),
        ({"target": "deliver"}, lambda entry: entry["target"] == "deliver"),
        ({"by": key}, lambda entry: entry["by"] == key),
        ({"by": key, "target": TENANT}, lambda _: False),
        ({"by": "cli:nobody"}, lambda _: False),
        ({"after": middle}, lambda entry: entry["at"] > middle),
        ({"before": middle}, lambda entry: entry["at"] < middle),
    ]
    for most in (0, 3, 100):
        if most:
            archive_audit(service, most)
        for query, fits in filters:
            expected = ids([entry for entry in entries if fits(entry)])
            for limit in LIMITS:
                assert listed(service.operator, "/ops/v1/audit", limit=limit, **query) == expected
    assert service.history.world.client.xlen(keys.audit()) == 0


def test_an_audit_entry_that_moves_between_two_pages_is_not_missing(
    service: HistoryService,
) -> None:
    for number in range(6):
        act(service, number)
    entries = ids(service.operator.get("/ops/v1/audit").json()["data"])
    found = listed(
        service.operator, "/ops/v1/audit", between=lambda: archive_audit(service, 2), limit=2
    )
    assert found == entries


def test_a_filter_of_the_audit_names_every_fault(service: HistoryService) -> None:
    query: dict[str, Any] = {
        "after": "yesterday",
        "action": "",
        "by": "a\0",
        "limit": 0,
        "cursor": "x",
        "who": "y",
    }
    found = problem(service.operator.get("/ops/v1/audit", params=query), 422, "invalid_request")
    assert {fault["pointer"] for fault in found["errors"]} == {f"/query/{name}" for name in query}
