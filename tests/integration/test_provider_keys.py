"""Provider keys that are added, paused and removed while real workers run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox.wait import wait_until
from shared.jobs import State
from shared.provider_keys import read_key
from shared.store import keys
from shared.store.bulk import pause_provider_key, resume_provider_key
from shared.store.command import Command
from shared.store.provider_keys import remove_provider_key
from tests.integration.conftest import Open, Program
from tests.support.provider_keys import SEAL_KEY, add, operator, states, values_of
from tests.support.queue_invariants import assert_true
from tests.support.worker_harness import WorkerHarness, settings_for
from tests.support.worker_process import worker

OWN, ADDED = "key-of-the-environment-own1", "key-that-an-operator-adds-add1"


@pytest.fixture
def harness(open_harness: Open) -> WorkerHarness:
    return open_harness(onemin_api_key=OWN)


class Load:
    """Jobs that are accepted as others end, so that some always wait."""

    def __init__(self, harness: WorkerHarness) -> None:
        self.harness = harness
        self.jobs: list[str] = []

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Keep accepting jobs until something is so."""

        def step() -> bool:
            while self.harness.world.client.zcard(keys.queue_leases("jobs")) < 4 and (
                self._waiting() < 4
            ):
                self.jobs.append(self.harness.accept())
            return is_so()

        wait_until(step, what, seconds=30)

    def finish(self) -> None:
        for job_id in self.jobs:
            assert self.harness.wait_for_end(job_id, seconds=30).state is State.SUCCEEDED

    def _waiting(self) -> int:
        return int(self.harness.world.client.hget(keys.queue_state("jobs"), "claimable") or 0)


def calls_with(harness: WorkerHarness, secret: str) -> int:
    return sum(
        call["kind"] == "generate" and call["key"] == secret[-4:]
        for call in harness.provider.calls()
    )


def assert_unused_from_now_on(harness: WorkerHarness, load: Load, stop: Command[Any]) -> None:
    """Stop the added key; once what ran then has ended, no call is made with it."""
    harness.world.store.run(stop)
    running = harness.world.client.zrange(keys.queue_leases("jobs"), 0, -1)
    load.until(
        lambda: all(harness.job(str(one)).state.is_final for one in running), "the end of what ran"
    )
    added, own = calls_with(harness, ADDED), calls_with(harness, OWN)
    load.until(lambda: calls_with(harness, OWN) >= own + 8, "calls with the other key")
    assert calls_with(harness, ADDED) == added


def test_a_key_is_added_paused_and_removed_under_load_without_a_restart(
    harness: WorkerHarness, empty_redis_url: str, tmp_path: Path
) -> None:
    world, load = harness.world, Load(harness)
    harness.provider.behave(latency_seconds=0.05)
    settings = {
        **settings_for(harness.s3, harness.provider.url, onemin_api_key=OWN),
        "redis_url": empty_redis_url,
        "provider_rate_per_minute": 0,
        "seal_keys": SEAL_KEY,
    }
    with worker(tmp_path, settings, threads=4) as process:
        load.until(lambda: calls_with(harness, OWN) >= 4, "calls with the environment's key")
        key_id = add(world, ADDED)
        load.until(lambda: calls_with(harness, ADDED) >= 4, "calls with the added key")
        assert states(world)[key_id].seen_at

        assert_unused_from_now_on(harness, load, pause_provider_key(operator(), key_id))
        paused_with = calls_with(harness, ADDED)
        world.store.run(resume_provider_key(operator(), key_id))
        load.until(lambda: calls_with(harness, ADDED) > paused_with, "calls after the pause")
        assert_unused_from_now_on(harness, load, remove_provider_key(operator(), key_id))
        load.finish()
        assert process.alive
        assert ADDED not in process.text
    assert harness.paid() == len(load.jobs)
    assert not [text for text in values_of(world.client) if ADDED in text or OWN in text]
    assert_true(world)


def test_a_worker_without_keys_waits_for_one_and_cannot_use_what_it_cannot_open(
    harness: WorkerHarness, empty_redis_url: str, tmp_path: Path
) -> None:
    world = harness.world
    settings = {
        **settings_for(harness.s3, harness.provider.url, onemin_api_key=""),
        "redis_url": empty_redis_url,
        "provider_rate_per_minute": 0,
        "seal_keys": SEAL_KEY,
    }
    sealed_elsewhere = add(world, ADDED, seal_key="another-seal-key-0123456789-0123456")
    with worker(tmp_path, settings, threads=2) as process:
        job_id = harness.accept()
        wait_until(lambda: world.read(job_id).gate == "provider_auth", "a job without a key")
        wait_until(lambda: states(world)[sealed_elsewhere].is_unreadable, "the report of the key")
        assert "stored provider keys cannot be opened" in process.text
        assert add(world, ADDED) == sealed_elsewhere == read_key(ADDED).id
        assert harness.wait_for_end(job_id).state is State.SUCCEEDED
        assert not states(world)[sealed_elsewhere].is_unreadable
    assert calls_with(harness, ADDED) == 1


def test_an_old_seal_key_is_retired_while_a_worker_uses_what_it_sealed(
    harness: WorkerHarness,
    empty_redis_url: str,
    tmp_path: Path,
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old, new = SEAL_KEY, "a-new-seal-key-of-the-tests-01234567"
    settings = {
        **settings_for(harness.s3, harness.provider.url, onemin_api_key=""),
        "redis_url": empty_redis_url,
        "provider_rate_per_minute": 0,
    }
    key_id = add(harness.world, ADDED, seal_key=old)
    with worker(tmp_path, {**settings, "seal_keys": f"{new},{old}"}, threads=2):
        assert harness.wait_for_end(harness.accept()).state is State.SUCCEEDED
        monkeypatch.setenv("DARKROOM_SEAL_KEYS", f"{new},{old}")
        assert program.run_json("provider-keys", "reseal")["resealed"] == [key_id]
        assert harness.wait_for_end(harness.accept()).state is State.SUCCEEDED
    with worker(tmp_path, {**settings, "seal_keys": new}, threads=2):
        assert harness.wait_for_end(harness.accept()).state is State.SUCCEEDED
    assert calls_with(harness, ADDED) == 3
