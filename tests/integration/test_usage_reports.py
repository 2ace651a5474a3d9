"""Usage reports over HTTP: rows that add up, whole days of Redis and of both databases, and CSV."""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from sandbox.servers import free_port
from shared.model_catalog import DEFAULT_MODEL
from shared.store import keys
from shared.store.maintenance import delete_expired
from tests.integration.conftest import Open
from tests.support.api_server import ApiServer, client_of, pointers, problem, served, tenant_at
from tests.support.api_server import settings as settings_of
from tests.support.history import HistoryWorld
from tests.support.run_counts import counted, let_days_pass

PRICE = {"credits_per_image": f"{DEFAULT_MODEL}=0.1"}


@contextmanager
def opened(redis_url: str, **settings: Any) -> Iterator[ApiServer]:
    chosen = settings_of(redis_url, **PRICE, **settings)
    with served(chosen) as url, tenant_at(url, redis_url) as api_server:
        yield api_server


@pytest.fixture
def api(empty_redis_url: str) -> Iterator[ApiServer]:
    with opened(empty_redis_url) as api_server:
        yield api_server


def today(days: int = 0) -> str:
    return (datetime.now(UTC).date() + timedelta(days=days)).isoformat()


def report(client: httpx.Client, path: str = "/v1/usage", **query: str) -> dict[str, Any]:
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    for name in ("jobs", "calls"):
        assert sum(row[name] for row in found["data"]) == found["total"][name]
    credits_ = sum(round(row["credits"] * 1e6) for row in found["data"])
    assert credits_ == round(found["total"]["credits"] * 1e6)
    return found


def sums(jobs: int, calls: int) -> dict[str, float]:
    return {"jobs": jobs, "calls": calls, "credits": calls / 10}


def finished(api: ApiServer, *tags: str) -> None:
    api.create(tags=tags)
    api.succeed()


def test_a_report_has_a_row_of_each_group_and_their_total(api: ApiServer) -> None:
    for tags in (("b", "a"), ("a", "b"), ("a",), ()):
        finished(api, *tags)
    api.client.post(f"/v1/jobs/{api.create()['id']}/cancel")
    by_tag = report(api.client, group_by="tag,status")
    assert by_tag == {
        "from": f"{today()[:7]}-01",
        "to": today(),
        "group_by": ["tag", "status"],
        "data": [
            {"tags": [], "status": "canceled", **sums(1, 0)},
            {"tags": [], "status": "succeeded", **sums(1, 1)},
            {"tags": ["a"], "status": "succeeded", **sums(1, 1)},
            {"tags": ["a", "b"], "status": "succeeded", **sums(2, 2)},
        ],
        "total": sums(5, 4),
        "estimated": True,
    }
    every = report(api.client, group_by="month,day,model,key")
    (row,) = every["data"]
    assert row["key"] in api.credentials.api_key
    assert row == {
        "month": today()[:7],
        "day": today(),
        "model": DEFAULT_MODEL,
        "key": row["key"],
        **sums(5, 4),
    }


def test_ten_tenths_are_one_credit(api: ApiServer) -> None:
    for _ in range(10):
        finished(api)
    assert report(api.client, **{"from": today()})["total"]["credits"] == 1


def test_batches_reproductions_and_the_other_apis_name_their_key(api: ApiServer) -> None:
    made = api.client.post("/v1/batches", json={"input": {"prompt": "p"}, "variations": 2})
    api.world.advance_batch(made.json()["id"])
    api.succeed()
    api.succeed()
    job_id = api.create()["id"]
    api.succeed()
    api.client.post(f"/v1/jobs/{job_id}/reproduce")
    api.succeed()
    body = {"input": {"prompt": "p"}}
    path = f"/replicate/v1/models/{DEFAULT_MODEL}/predictions"
    assert api.client.post(path, json=body).status_code == 201
    api.succeed()
    (row,) = report(api.client, group_by="key")["data"]
    assert row["key"] is not None
    assert (row["jobs"], row["calls"]) == (5, 5)


def test_a_job_of_an_older_version_has_no_key(api: ApiServer) -> None:
    job_id = api.create()["id"]
    api.world.client.hdel(keys.job(job_id), "api_key")
    api.succeed()
    assert report(api.client, group_by="key")["data"] == [{"key": None, **sums(1, 1)}]


def test_without_parameters_usage_has_the_limits_as_ever(api: ApiServer) -> None:
    finished(api)
    assert {*api.client.get("/v1/usage").json()} == {
        *("limits", "used", "left", "requests_reset_seconds", "credits_reset_at"),
        *("estimated", "days", "budgets"),
    }
    assert "limits" in api.client.get("/v1/usage?days=3", headers={"accept": "text/csv"}).json()


@pytest.mark.parametrize(
    ("query", "faults"),
    [
        ({"from": "2026-1-1"}, {"/query/from"}),
        ({"to": "2026-02-30"}, {"/query/to"}),
        ({"group_by": "day,day"}, {"/query/group_by"}),
        ({"group_by": "tenant"}, {"/query/group_by"}),
        ({"group_by": ""}, {"/query/group_by"}),
        ({"from": today(1), "to": today()}, {"/query/to"}),
        ({"from": today(), "to": today(400)}, {"/query/to"}),
        ({"from": today(), "days": "3"}, {"/query/days"}),
        ({"tenant": "x"}, {"/query/tenant"}),
    ],
)
def test_what_cannot_be_read_is_refused_at_its_place(
    api: ApiServer, query: dict[str, str], faults: set[str]
) -> None:
    assert pointers(api.client.get("/v1/usage", params=query)) == faults


def test_without_a_history_a_hundred_days_are_kept(api: ApiServer) -> None:
    assert report(api.client, **{"from": today(-99), "to": today(300)})["data"] == []
    answer = api.client.get("/v1/usage", params={"from": today(-100), "to": today()})
    (fault,) = problem(answer, 422, "invalid_request")["errors"]
    assert fault["pointer"] == "/query/from"
    assert "no history database" in fault["message"]


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("application/json, text/csv", "text/csv"),
        ("application/json;q=0.5, TEXT/CSV; header=present; q=0.9", "text/csv"),
        ("application/json, text/csv;q=0.1", "application/json"),
        ("text/csv;q=0", "application/json"),
        ("*/*", "application/json"),
    ],
)
def test_csv_is_sent_if_json_is_not_preferred(api: ApiServer, accept: str, form: str) -> None:
    answer = api.client.get("/v1/usage?group_by=day", headers={"accept": accept})
    assert answer.headers["content-type"].partition(";")[0] == form


def test_csv_has_a_header_rows_and_no_formulas(api: ApiServer) -> None:
    for tags in (('=1+1,"x"',), ("@b", "a"), ("plain",)):
        finished(api, *tags)
    answer = api.client.get("/v1/usage?group_by=tag,day", headers={"accept": "text/csv;q=0.9"})
    assert answer.headers["content-type"].startswith("text/csv")
    assert f"usage-{today()[:7]}-01-{today()}.csv" in answer.headers["content-disposition"]
    assert answer.text.startswith("tags,day,jobs,calls,credits\r\n")
    rows = [*csv.reader(io.StringIO(answer.text, newline=""))][1:]
    assert rows == [
        ['\'=1+1,"x"', today(), "1", "1", "0.100000"],
        ["'@b, a", today(), "1", "1", "0.100000"],
        ["plain", today(), "1", "1", "0.100000"],
    ]


def test_days_of_redis_and_of_the_history_are_counted_once(
    empty_redis_url: str, history_url: str
) -> None:
    history = HistoryWorld(empty_redis_url, history_url)
    with opened(empty_redis_url, history_url=history_url) as api:
        finished(api, "a")
        let_days_pass(api.world.client, 150)
        history.write_usage()
        expire_old_days(api)
        finished(api, "a")
        let_days_pass(api.world.client, 40)
        history.write_usage()
        finished(api, "b")
        span = {"from": today(-200), "to": today()}
        by_day = report(api.client, **span, group_by="day")
        assert by_day["data"] == [{"day": today(-days), **sums(1, 1)} for days in (150, 40, 0)]
        by_month = report(api.client, **span, group_by="month,tag")
        assert by_month["total"] == sums(3, 3)
        assert [row["month"] for row in by_month["data"]] == [
            today(-days)[:7] for days in (150, 40, 0)
        ]
        only = report(api.client, **{"from": today(-150), "to": today(-41)})
        assert only["total"] == sums(1, 1)
    history.close()


def expire_old_days(api: ApiServer) -> None:
    """Let the run counts expire that are older than 100 days."""
    for name in api.world.client.zrange(keys.counted_days(), 0, -1):
        day, _, tenant = str(name).partition(" ")
        api.world.client.delete(keys.run_counts(tenant, day))
    api.world.store.run(delete_expired(most=10))
    assert api.world.client.zcard(keys.counted_days()) == 0


def test_an_unreachable_history_is_named_only_where_it_is_needed(empty_redis_url: str) -> None:
    away = f"postgresql://postgres@127.0.0.1:{free_port()}/history"
    with opened(empty_redis_url, history_url=away) as api:
        finished(api)
        let_days_pass(api.world.client, 5)
        assert report(api.client, **{"from": today(-5), "to": today()})["total"] == sums(1, 1)
        answer = api.client.get("/v1/usage", params={"from": today(-6), "to": today()})
        problem(answer, 503, "history_unavailable")


def test_operators_read_the_usage_of_all_tenants(api: ApiServer) -> None:
    finished(api)
    with tenant_at(api.url, str(api.world.settings.redis_url)) as other:
        for _ in range(2):
            other.create()
            api.succeed()
        with client_of(api.url, api.credentials.ops_key) as operator:
            path = "/ops/v1/usage"
            found = report(operator, path, group_by="tenant")
            assert {row["tenant"]: row["jobs"] for row in found["data"]} == {
                api.tenant: 1,
                other.tenant: 2,
            }
            assert report(operator, path, tenant=other.tenant)["total"] == sums(2, 2)
            assert report(operator, path)["data"] == [{"day": today(), **sums(3, 3)}]
            text = operator.get(
                path, params={"group_by": "tenant"}, headers={"accept": "text/csv"}
            ).text
            assert text.startswith("tenant,jobs,calls,credits\r\n")
        problem(other.client.get("/ops/v1/usage"), 403, "forbidden")
        assert report(other.client, group_by="day")["total"] == sums(2, 2)


def test_the_calls_of_reports_are_those_that_the_provider_was_paid_for(
    open_harness: Open,
) -> None:
    harness = open_harness(**PRICE)
    faults: tuple[object, ...] = (
        *({"fault": "status", "status": 500}, "ok", {"fault": "made_but_522"}, "ok"),
        *({"fault": "status", "status": 400}, {"fault": "status", "status": 429}, "ok"),
        *({"fault": "truncated"}, "ok", "ok"),
    )
    harness.provider.behave(*faults)
    for _ in range(6):
        harness.finish(harness.accept(credits=0.1))
    found = [*counted(harness.world).values()]
    assert sum(one.jobs for one in found) == 6
    assert sum(one.calls for one in found) == harness.paid() > 0
    assert sum(one.credit_parts for one in found) == harness.paid() * 100_000
