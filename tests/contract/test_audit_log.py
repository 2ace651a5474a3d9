"""The audit log in the log of the workers: each entry once, and before it leaves Redis."""

from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.store import bulk, keys
from shared.store.audit import AuditContext, archivable_audit, unlogged_audit
from tests.support.store import World
from worker.audit_log import MOST_ENTRIES, AuditLog


@pytest.fixture
def world(empty_redis_url: str) -> Iterator[World]:
    world = World(empty_redis_url, audit_log=True)
    yield world
    assert world.undocumented() == set()
    world.close()


def pause(world: World, times: int = 1) -> None:
    for _ in range(times):
        world.store.run(bulk.pause(AuditContext("user:ann@example.com", "req_1"), "generate"))


def written(world: World) -> list[Any]:
    """Let a worker write; return what it logged."""
    with capture_logs() as lines:
        AuditLog(world.store).write()
    return lines


def test_each_entry_is_logged_once(world: World) -> None:
    pause(world)
    assert written(world) == []  # it was there before the first worker with this setting
    pause(world, MOST_ENTRIES + 5)
    lines = written(world)
    assert len({line["entry"] for line in lines}) == MOST_ENTRIES + 5
    assert {name: lines[0][name] for name in ("event", "by", "action", "target", "detail")} == {
        "event": "audit recorded",
        "by": "user:ann@example.com",
        "action": "queue.pause",
        "target": "generate",
        "detail": {},
    }
    assert written(world) == []


def test_what_a_lost_worker_has_read_is_logged_by_another_after_its_turn(world: World) -> None:
    written(world)
    pause(world)
    assert len(world.store.run(unlogged_audit(most=10, turn=10))) == 1
    assert written(world) == []
    world.client.hincrby(keys.audit_log(), "due", -10_000)
    assert len(written(world)) == 1


def test_a_clock_that_was_set_back_ends_no_turn_too_late(world: World) -> None:
    written(world)
    pause(world)
    world.store.run(unlogged_audit(most=10, turn=10))
    world.client.hincrby(keys.audit_log(), "due", 3_600_000)
    assert len(written(world)) == 1


def test_an_entry_moves_to_the_history_only_after_it_is_logged(world: World) -> None:
    written(world)
    pause(world, 2)
    ready = archivable_audit(most=10, settle_ms=-1000)
    assert world.store.run(ready) == ()
    written(world)
    assert len(world.store.run(ready)) == 2
