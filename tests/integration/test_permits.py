"""What the scripts push is what Celery itself would have sent, and a worker takes it."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.subprocesses import Child
from sandbox.wait import wait_until
from shared.celery_app import KEY_PREFIX, SLOT, QueueName, build_celery, permit
from shared.settings import inherited_environment
from shared.store import keys
from tests.integration.permit_app import RUNS
from tests.support.store import World

#: What differs from message to message, or tells who sent it.
_OWN = {"id", "root_id", "origin", "correlation_id", "delivery_tag", "reply_to"}
#: Celery says None where its sender knows no task of that name; ours never keeps a result.
_OWN |= {"ignore_result"}


@pytest.fixture
def world(empty_redis_url: str) -> Iterator[World]:
    world = World(empty_redis_url)
    yield world
    world.close()


@pytest.fixture
def worker(world: World, tmp_path: Path) -> Iterator[Child]:
    environment = {**inherited_environment(), "DARKROOM_REDIS_URL": world.settings.redis_url}
    command = [
        *(sys.executable, "-m", "celery", "-A", "tests.integration.permit_app", "worker"),
        *("-P", "threads", "-c", "4", "-Q", "generate,deliver", "--without-mingle"),
    ]
    with Child(command, tmp_path / "worker.log", environment=environment) as child:
        yield child


def runs(world: World) -> list[str]:
    return [str(one) for one in world.client.lrange(RUNS, 0, -1)]


def test_a_worker_runs_each_permit_once(world: World, worker: Child) -> None:
    hook = {"url": "https://x", "events": ["job.canceled"]}
    jobs = [world.accept(webhook=hook, webhook_host="x") for _ in range(12)]
    wait_until(lambda: len(runs(world)) >= 12, "a permit of each job run", seconds=60)
    for job_id in jobs:
        world.cancel(job_id)

    wait_until(lambda: len(runs(world)) >= 24, "a permit of each delivery run", seconds=60)

    wait_until(lambda: world.permits("generate") == world.permits("deliver") == 0, "no permits")
    found = runs(world)
    pushed = int(world.client.hget(keys.queue_state("jobs"), "permits") or 0)
    assert len(set(found)) == len(found) <= pushed


def test_permits_are_deleted_when_nothing_is_left_to_claim(world: World) -> None:
    jobs = [world.accept() for _ in range(5)]
    assert world.permits("generate") == 5

    for job_id in jobs:
        world.cancel(job_id)

    assert world.permits("generate") == 0
    world.accept()
    assert world.permits("generate") == 1


def test_nothing_waits_for_an_acknowledgement_and_all_keys_begin_alike(
    world: World, worker: Child
) -> None:
    for _ in range(5):
        world.accept()
    wait_until(lambda: len(runs(world)) == 5, "all permits run", seconds=30)
    keys = {str(key) for key in world.client.scan_iter() if key != RUNS}
    assert all(key.startswith("{dr}:") for key in keys), keys
    assert not [key for key in keys if "unacked" in key]


@pytest.mark.parametrize("name", list(QueueName))
def test_a_permit_is_shaped_as_celery_shapes_its_own(world: World, name: QueueName) -> None:
    app = build_celery(world.settings)
    app.send_task(name.value, queue="elsewhere")
    app.close()
    celerys = json.loads(str(world.client.lpop(f"{KEY_PREFIX}elsewhere")))
    ours = json.loads(permit(app, name).template.replace(SLOT, "an-id"))

    assert _shape(ours) == _shape(celerys)
    assert {ours["headers"]["id"], ours["headers"]["root_id"]} == {"an-id"}
    assert ours["properties"]["correlation_id"] == ours["properties"]["delivery_tag"] == "an-id"


def _shape(message: dict[str, Any]) -> dict[str, Any]:
    found = {
        key: _shape(value) if isinstance(value, dict) else value
        for key, value in message.items()
        if key not in _OWN
    }
    if "routing_key" in found:
        found["routing_key"] = "elsewhere"
    return found
