"""`GET /v1/events`: what changed, from wherever one stopped, held until there is news."""

import threading
from typing import Any

from api.query import encode_cursor
from sandbox.wait import wait_until
from tests.support.api_server import ApiServer, pointers, problem, tenant_at


def read(api_server: ApiServer, **query: Any) -> dict[str, Any]:
    answer = api_server.client.get("/v1/events", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_the_feed_tells_each_change_of_status_once(api_server: ApiServer) -> None:
    job = api_server.create()
    first = read(api_server)
    api_server.succeed()
    second = read(api_server, after=first["next_cursor"])
    assert [one["type"] for one in first["data"]] == ["job.queued"]
    assert [(one["type"], one["status"], one["version"]) for one in second["data"]] == [
        ("job.started", "running", 2),
        ("job.succeeded", "succeeded", 5),
    ]
    assert {one["job_id"] for one in second["data"]} == {job["id"]}
    assert first["data"][0]["at"].endswith("Z")
    # each entry has a place of its own to go on from
    assert read(api_server, after=second["data"][0]["cursor"])["data"] == second["data"][1:]
    assert read(api_server, after=second["next_cursor"])["data"] == []
    assert len(read(api_server, limit=1)["data"]) == 1


def test_from_now_on_the_past_is_not_told(api_server: ApiServer) -> None:
    api_server.create()
    start = read(api_server, after="now")
    api_server.succeed()
    assert start["data"] == []
    told = read(api_server, after=start["next_cursor"])["data"]
    assert [one["type"] for one in told] == ["job.started", "job.succeeded"]


def test_nobody_reads_anothers_feed(api_server: ApiServer, url: str) -> None:
    api_server.create()
    with tenant_at(url, api_server.world.settings.redis_url) as other:
        assert read(other)["data"] == []


def test_a_cursor_that_is_too_old_or_none_is_refused(api_server: ApiServer) -> None:
    old = api_server.client.get("/v1/events", params={"after": encode_cursor("1000-0")})
    problem(old, 410, "cursor_expired")
    bad = api_server.client.get("/v1/events", params={"after": "x", "limit": 0, "wait": 61})
    assert pointers(bad) == {"/query/after", "/query/limit", "/query/wait"}


def test_an_empty_answer_is_held_until_there_is_news(api_server: ApiServer) -> None:
    api_server.create()
    after = read(api_server)["next_cursor"]
    told: list[dict[str, Any]] = []
    waiting = threading.Thread(target=lambda: told.append(read(api_server, after=after, wait=60)))
    waiting.start()
    connections = len(api_server.world.client.client_list())
    api_server.succeed()
    waiting.join(30)
    wait_until(lambda: bool(told), "the news", seconds=30)
    assert [one["type"] for one in told[0]["data"]][:1] == ["job.started"]
    # no connection is taken for who waits
    assert len(api_server.world.client.client_list()) <= connections + 2
