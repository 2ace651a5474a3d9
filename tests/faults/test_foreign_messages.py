"""Row 8: permits doubled and lost, and what no permit is, in the workers' queue."""

import base64
import json
import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from sandbox.devstack.process import LONGEST_WAIT_SECONDS
from sandbox.wait import wait_until
from shared.celery_app import QueueName, build_celery, permit
from shared.jobs import State
from shared.store import keys
from tests.conftest import InTime
from tests.faults.conftest import Audit, Tell
from tests.faults.service import Service, service

pytestmark = pytest.mark.xdist_group("faults-2")

LIST = "{dr}:celery:generate"
BACK_SECONDS = 5.0
#: So that both workers meet one.
COPIES = {"no JSON": 2}
PAUSED = (keys.gate(), "paused:generate")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("foreign"), workers=2, concurrency=4) as running:
        running.provider.behave(latency_seconds=0.05)
        yield running


def message(here: Service) -> dict[str, Any]:
    """Return a permit as the scripts push it."""
    kept = permit(build_celery(here.world.settings), QueueName.GENERATE)
    made: dict[str, Any] = json.loads(kept.template.replace(kept.slot, "0" * 36))
    return made


def with_changes(here: Service, **changes: Any) -> bytes:
    return json.dumps({**message(here), **changes}).encode()


def unknown_task(here: Service) -> bytes:
    headers = {**message(here)["headers"], "task": "somebody.elses.task"}
    return with_changes(here, headers=headers)


def pickled(here: Service) -> bytes:
    body = base64.b64encode(pickle.dumps(((), {}, {}))).decode()
    kind = {"content-type": "application/x-python-serialize", "content-encoding": "binary"}
    return with_changes(here, body=body, **kind)


def with_arguments(here: Service) -> bytes:
    body = base64.b64encode(json.dumps([["many"], {"more": 1}, {}]).encode()).decode()
    return with_changes(here, body=body)


FOREIGN: Mapping[str, Callable[[Service], bytes]] = {
    # first, while no worker's start is put off by earlier deaths
    "no JSON": lambda _: b"{not json",
    "an empty message": lambda _: b"",
    "JSON of another kind": lambda _: b'["a", "list"]',
    "an object without an envelope": lambda _: b'{"hello": "world"}',
    "a bare pickle": lambda _: pickle.dumps({"hello": "world"}),
    "10 MB": lambda _: json.dumps({"body": "x" * 10_000_000}).encode(),
    "10 MB in a permit": lambda here: with_changes(here, body="QUFB" * 2_500_000),
    "deep nesting": lambda _: b"[" * 100_000 + b"]" * 100_000,
    "an envelope with a pickle": pickled,
    "an unknown task": unknown_task,
    "arguments": with_arguments,
    "a body that is not base64": lambda here: with_changes(here, body="%%%"),
    "no properties": lambda here: with_changes(here, properties={}),
}
#: What `make test` sends: one kind for each place that refuses a message.
QUICK = ("no JSON", "10 MB in a permit", "an envelope with a pickle", "an unknown task")


def pause(here: Service) -> None:
    here.world.client.hset(*PAUSED, "1")


def run_while_available(here: Service) -> None:
    here.world.client.hdel(*PAUSED)


def check_each_once(here: Service, audit: Audit, jobs: list[str]) -> None:
    done = here.wait_for_end(jobs)
    assert {job.state for job in done} == {State.SUCCEEDED}
    assert [here.paid(one) for one in jobs] == [1] * len(jobs)
    audit(here, jobs)


def test_ten_copies_of_each_permit_do_each_job_once(
    here: Service, audit: Audit, tell: Tell
) -> None:
    # given
    here.wait_until_whole()
    pause(here)
    jobs = [here.create() for _ in range(20)]
    # when
    for kept in here.world.client.lrange(LIST, 0, -1):
        here.world.client.lpush(LIST, *[kept] * 10)
    run_while_available(here)
    # then
    check_each_once(here, audit, jobs)
    tell(8, "10 copies of each permit", jobs=len(jobs), calls=len(here.calls(jobs)))


def test_permits_that_were_deleted_are_made_good(here: Service, audit: Audit, tell: Tell) -> None:
    # given
    here.wait_until_whole()
    pause(here)
    jobs = [here.create() for _ in range(20)]
    # when
    here.world.client.delete(LIST)
    began = time.monotonic()
    run_while_available(here)
    here.wait_for_end(jobs)
    took = time.monotonic() - began
    # then
    check_each_once(here, audit, jobs)
    tell(8, "all permits deleted", jobs=len(jobs), all_final_after=took)


@pytest.mark.parametrize(
    "kind",
    [pytest.param(one, marks=() if one in QUICK else pytest.mark.slow) for one in FOREIGN],
)
def test_what_is_no_permit_keeps_no_job_from_being_done(
    here: Service, audit: Audit, tell: Tell, in_time: InTime, kind: str
) -> None:
    # given
    here.wait_until_whole()
    before = {here.pid("generate-1"), here.pid("generate-2")}
    # when
    began = time.monotonic()
    here.world.client.rpush(LIST, *[FOREIGN[kind](here)] * COPIES.get(kind, 1))
    jobs = [here.create() for _ in range(4)]
    here.wait_for_end(jobs)
    done = time.monotonic() - began
    here.wait_until_whole()
    back = time.monotonic() - began
    # then
    ended = len(before - {here.pid("generate-1"), here.pid("generate-2")})
    tell(8, kind, done_after=done, workers_started_again=ended, whole_after=back)
    check_each_once(here, audit, jobs)
    wait_until(lambda: here.world.client.llen(LIST) == 0, "an empty queue")
    in_time(done, BACK_SECONDS)
    # the supervisor itself waits longer with each death in a row
    in_time(back, BACK_SECONDS + LONGEST_WAIT_SECONDS)
