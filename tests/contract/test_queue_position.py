"""Why a job waits, where it stands and when it is begun: read with it, alone and in a list."""

import random

import pytest

from shared.jobs import Priority
from shared.serializers import waiting_on
from shared.store import keys
from shared.store.job_queries import Filter, QueuedJob
from tests.support.store import FAR, World, list_jobs


def drain(world: World, key: str, *, a_second: float) -> None:
    """Let it look as if so many jobs per second had ended for a minute, up to now."""
    world.client.hset(f"{{dr}}:q:jobs:{key}", "throughput", f"{a_second * 60} 60000 {FAR}")


def listed(world: World, tenant: str = "acme", *, limit: int = 50) -> dict[str, QueuedJob]:
    page = world.store.run(list_jobs(tenant, Filter(), limit=limit, scan_limit=2 * limit))
    return {queued_job.job.id: queued_job for queued_job in page.jobs}


def eta(world: World, job_id: str) -> float | None:
    """Read when a job is begun; its place in a list says the same."""
    queued_job = world.read(job_id)
    assert listed(world)[job_id].eta_seconds == pytest.approx(queued_job.eta_seconds, rel=0.1)
    return queued_job.eta_seconds


def test_a_list_says_of_each_job_what_reading_it_says(world: World) -> None:
    ids = [world.accept() for _ in range(4)]
    ids.append(world.accept(priority=Priority.HIGH))
    world.retry(world.claim(), wait_seconds=0)
    drain(world, "group:acme", a_second=2)
    found = listed(world)
    assert found == {job_id: world.read(job_id) for job_id in ids}
    assert [found[job_id].rank for job_id in ids] == [1, 2, 3, 4, 0]


def test_a_list_of_any_mixture_says_the_rank_of_each_job_as_reading_it_says(world: World) -> None:
    dice = random.Random(8)
    ids = [
        world.accept(priority=dice.choice([*Priority, Priority.NORMAL]), model=dice.choice("mmmn"))
        for _ in range(160)
    ]
    for job_id in dice.sample(ids, 20):
        world.cancel(job_id)
    for _ in range(10):
        world.retry(world.claim(), wait_seconds=dice.choice([0, 500]))
    ranks = {job_id: found.rank for job_id, found in listed(world, limit=200).items()}
    assert ranks == {job_id: world.read(job_id).rank for job_id in ids}


def test_a_list_reads_the_ranks_of_neighbors_at_once(world: World) -> None:
    for _ in range(50):
        world.accept()
    world.client.config_resetstat()
    listed(world)
    asked = {name: told["calls"] for name, told in world.client.info("commandstats").items()}
    assert asked["cmdstat_zrank"] == 2
    assert "cmdstat_zscore" not in asked
    # the jobs, whether there are more, and their ranks
    assert asked["cmdstat_zrange"] <= 3
    # what is true of the whole tenant is asked once
    assert asked["cmdstat_hmget"] <= 3


def test_the_eta_is_the_rank_over_the_drain_that_was_seen(world: World) -> None:
    ids = [world.accept() for _ in range(11)]
    assert eta(world, ids[10]) is None
    drain(world, "group:acme", a_second=2)
    assert eta(world, ids[0]) == 0
    assert eta(world, ids[10]) == pytest.approx(5, abs=0.1)


def test_a_tenant_of_which_nothing_was_seen_has_its_share_of_all(world: World) -> None:
    ids = [world.accept() for _ in range(5)]
    world.accept("other")
    drain(world, "state", a_second=2)
    assert eta(world, ids[4]) == pytest.approx(4, abs=0.1)


def test_each_job_that_ends_tells_how_fast_the_queue_goes(world: World) -> None:
    ids = [world.accept() for _ in range(8)]
    for _ in range(4):
        world.finish(world.claim())
    for key in ("group:acme", "state"):
        told = world.client.hget(f"{{dr}}:q:jobs:{key}", "throughput")
        ended, busy, _ = str(told).split()
        assert float(ended) == pytest.approx(4, abs=0.1)
        assert float(busy) > 0
    last = world.read(ids[7])
    assert (last.rank, last.eta_seconds is not None) == (3, True)


def test_what_is_canceled_in_the_queue_tells_nothing_of_its_pace(world: World) -> None:
    world.cancel(world.accept())
    assert world.client.hget(keys.queue_state("jobs"), "throughput") is None


def test_a_night_in_which_nothing_was_asked_for_is_not_slow(world: World) -> None:
    first = world.accept()
    came = world.read(first).job.created_at
    drain_before = f"120 60000 {came - 8 * 3_600_000}"
    world.client.hset(keys.queue_group("jobs", "acme"), "throughput", drain_before)
    world.finish(world.claim())
    ended, busy, _ = str(world.client.hget(keys.queue_group("jobs", "acme"), "throughput")).split()
    # as fast as it was in the evening, but for the one job of this morning
    assert 1.5 < float(ended) / float(busy) * 1000 < 2.5


def test_a_queue_in_which_nothing_ends_gets_slower(world: World) -> None:
    ids = [world.accept() for _ in range(3)]
    drain(world, "group:acme", a_second=2)
    quick = eta(world, ids[2])
    came = world.read(ids[2]).job.created_at - 300_000
    world.client.hset(keys.job(ids[2]), "created", came)
    world.client.hset(keys.queue_group("jobs", "acme"), "throughput", f"120 60000 {came}")
    slow = eta(world, ids[2])
    assert quick is not None
    assert slow is not None
    assert slow > 50 * quick


def hold_for_a_minute(world: World, reason: str) -> None:
    """Hold all new calls, those of the only key, or those of the only model."""
    seconds, _ = world.client.time()
    fields = {
        "storage": "hold:storage",
        "provider_down": "hold:provider_down:model:m",
        "provider_credits": "hold:provider_credits:team:key-a",
        "provider_rate": "hold:provider_rate:key:key-a",
    }
    world.client.hset(keys.gate(), fields[reason], (seconds + 60) * 1000)
    world.try_claim()  # only a claim knows the keys


@pytest.mark.parametrize("hold", ["storage", "provider_credits", "provider_down"])
def test_nobody_knows_when_a_hold_ends(world: World, hold: str) -> None:
    job_id = world.accept()
    drain(world, "group:acme", a_second=2)
    hold_for_a_minute(world, hold)
    assert (waiting_on(world.read(job_id)), eta(world, job_id)) == (hold, None)


def test_a_pause_is_told_and_has_no_end_in_sight(world: World) -> None:
    job_id = world.accept()
    drain(world, "group:acme", a_second=2)
    world.client.hset(keys.gate(), "paused:generate", "1")
    assert (waiting_on(world.read(job_id)), eta(world, job_id)) == ("paused", None)


def test_the_providers_rate_slows_and_does_not_hold(world: World) -> None:
    job_id = world.accept()
    drain(world, "group:acme", a_second=2)
    hold_for_a_minute(world, "provider_rate")
    assert (waiting_on(world.read(job_id)), eta(world, job_id)) == ("provider_rate", 0)


def test_a_tenant_that_runs_all_it_may_waits_for_itself(world: World) -> None:
    world.limit(max_running=1)
    world.accept()
    world.claim()
    job_id = world.accept()
    drain(world, "group:acme", a_second=2)
    assert (waiting_on(world.read(job_id)), eta(world, job_id)) == ("tenant_limit", 0)


def test_a_tenant_that_may_run_nothing_is_told_no_time(world: World) -> None:
    world.limit(max_running=0)
    job_id = world.accept()
    drain(world, "group:acme", a_second=2)
    assert waiting_on(world.read(job_id)) == "tenant_limit"
    assert eta(world, job_id) is None


def test_a_job_that_waits_for_its_next_attempt_says_when_that_is(world: World) -> None:
    job_id = world.accept()
    world.retry(world.claim(), wait_seconds=500)
    queued_job = world.read(job_id)
    assert waiting_on(queued_job) == "retry"
    assert queued_job.rank is None
    assert queued_job.eta_seconds == pytest.approx(500, abs=30)


def test_what_is_bought_waits_for_nothing_but_its_turn(world: World) -> None:
    job_id = world.accept()
    world.retry(world.checkpoint(world.call(world.claim())))
    world.client.hset(keys.gate(), "paused:generate", "1")
    drain(world, "state", a_second=2)
    queued_job = world.read(job_id)
    assert (waiting_on(queued_job), queued_job.eta_seconds) == ("queue", 0)


def test_no_position_counts_the_jobs_of_other_tenants(world: World) -> None:
    """A job that comes before all queues waits behind those of other tenants too."""
    drain(world, "state", a_second=2)
    tenants = ("other", "other", "acme")
    lost, paid = ([world.accept(tenant) for tenant in tenants] for _ in range(2))
    held = [world.call(world.claim()) for _ in (*lost, *paid)]
    by_id = {one.job.id: one for one in held}
    for job_id in lost:
        world.lose_lease(job_id)
    assert len(world.rescue().rescued) == len(lost)
    for job_id in paid:
        world.retry(world.checkpoint(by_id[job_id]))
    for first, _, last in (lost, paid):
        assert world.read(first, "other").rank is None
        found = world.read(last)
        assert (found.rank, found.eta_seconds) == (None, 1)


def test_what_is_not_queued_waits_for_nothing(world: World) -> None:
    job_id = world.accept()
    held = world.claim()
    assert world.read(job_id) == QueuedJob(world.read(job_id).job)
    world.fail(held)
    assert waiting_on(world.read(job_id)) is None
