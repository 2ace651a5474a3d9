"""A job's changes as server-sent events: each once, in order, from wherever the client stopped."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sandbox.wait import wait_until
from shared.store import keys, maintenance
from tests.support.api_server import ApiServer, pointers


@pytest.mark.long
def test_a_stream_in_which_nothing_happens_says_that_it_is_still_there(
    api_server: ApiServer,
) -> None:
    job = api_server.create()
    with api_server.client.stream("GET", f"/v1/jobs/{job['id']}/events", timeout=20) as stream:
        assert ": still here" in stream.iter_lines()


def follow(
    api_server: ApiServer, job_id: str, after: int | None = None, most: int = 99
) -> list[Any]:
    """Read events until the stream ends, or `most` came: (id, name, data)."""
    headers = {} if after is None else {"last-event-id": str(after)}
    found: list[Any] = []
    with api_server.client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["x-accel-buffering"] == "no"
        event: dict[str, str] = {}
        for line in stream.iter_lines():
            name, _, value = line.partition(": ")
            if line and name:
                event[name] = value
            elif "id" in event:
                found.append((int(event["id"]), event["event"], json.loads(event["data"])))
                event = {}
                if len(found) == most:
                    break
    return found


def test_a_final_job_tells_its_whole_life_and_closes(api_server: ApiServer) -> None:
    job = api_server.create()
    api_server.succeed()
    events = follow(api_server, job["id"])
    assert [(number, name) for number, name, _ in events] == [
        (1, "queued"),
        (2, "running"),
        (3, "change"),
        (4, "change"),
        (5, "succeeded"),
    ]
    assert [data["step"] for _, _, data in events] == [
        None,
        "claimed",
        "calling",
        "fetching",
        None,
    ]
    assert events[0][2] == {
        "version": 1,
        "status": "queued",
        "step": None,
        "attempt": 0,
        "at": job["created_at"],
    }


def test_a_stream_that_was_cut_goes_on_where_it_was(api_server: ApiServer) -> None:
    job = api_server.create()
    api_server.succeed()
    whole = follow(api_server, job["id"])
    for cut in range(1, 5):
        assert (
            follow(api_server, job["id"], most=cut) + follow(api_server, job["id"], after=cut)
            == whole
        )


def test_events_come_as_they_happen(api_server: ApiServer) -> None:
    job = api_server.create()
    with ThreadPoolExecutor(1) as thread:
        followed = thread.submit(follow, api_server, job["id"])
        api_server.succeed()
        events = followed.result(10)
    assert [number for number, _, _ in events] == [1, 2, 3, 4, 5]


def test_a_hundred_followers_hear_the_end(api_server: ApiServer) -> None:
    job = api_server.create()
    begun = threading.Barrier(51)

    def listen(_: int) -> str:
        begun.wait(20)
        return str(follow(api_server, job["id"])[-1][1])

    with ThreadPoolExecutor(50) as threads:
        heard = [threads.submit(listen, number) for number in range(50)]
        begun.wait(20)
        api_server.succeed()
        assert [one.result(20) for one in heard] == ["succeeded"] * 50


def test_a_client_that_knows_the_end_is_told_to_stop(api_server: ApiServer) -> None:
    job = api_server.create()
    api_server.succeed()
    path = f"/v1/jobs/{job['id']}/events"
    assert api_server.client.get(path, headers={"last-event-id": "5"}).status_code == 204


def test_a_client_that_knows_the_end_is_told_to_stop_after_the_image_is_deleted(
    api_server: ApiServer,
) -> None:
    job = api_server.create(retention={"image_seconds": 60})
    api_server.succeed()
    api_server.world.client.zadd(keys.image_expiries(), {job["id"]: 1})
    assert api_server.world.store.run(maintenance.delete_expired(most=10)) == 1
    path = f"/v1/jobs/{job['id']}/events"
    assert api_server.client.get(path, headers={"last-event-id": "5"}).status_code == 204


@pytest.mark.parametrize("written", ["x", "-1", "1.5", "9" * 10])
def test_what_is_no_id_of_an_event_is_refused(api_server: ApiServer, written: str) -> None:
    job = api_server.create()
    answer = api_server.client.get(
        f"/v1/jobs/{job['id']}/events", headers={"last-event-id": written}
    )
    assert pointers(answer) == {"/header/Last-Event-ID"}


def test_a_stream_ends_when_its_job_is_canceled(api_server: ApiServer) -> None:
    job = api_server.create()
    with ThreadPoolExecutor(1) as thread:
        followed = thread.submit(follow, api_server, job["id"])
        api_server.client.post(f"/v1/jobs/{job['id']}/cancel")
        events = followed.result(10)
    assert [name for _, name, _ in events] == ["queued", "canceled"]


def test_nobody_reads_the_stream_of_wakes_when_nobody_waits(api_server: ApiServer) -> None:
    job = api_server.create()
    api_server.succeed()
    follow(api_server, job["id"])

    def blocked() -> int:
        return int(api_server.world.client.info("clients")["blocked_clients"])

    wait_until(lambda: blocked() == 0, "the reader of wakes to rest")
