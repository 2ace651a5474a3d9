"""Whose turn it is."""

from collections import Counter

from shared.jobs import Priority
from shared.store import keys, maintenance, transitions
from tests.support.queue_invariants import assert_true
from tests.support.store import World


def backlog(world: World, tenant: str, count: int) -> list[str]:
    return [world.accept(tenant) for _ in range(count)]


def turns(world: World, count: int) -> list[str]:
    return [world.claim().job.tenant for _ in range(count)]


def finished_turns(world: World, count: int) -> list[str]:
    taken = []
    for _ in range(count):
        held = world.claim()
        world.cancel(held.job.id, held.job.tenant)
        taken.append(held.job.tenant)
    return taken


def test_equal_tenants_take_turns_whoever_came_first(world: World) -> None:
    for tenant in "abc":
        backlog(world, tenant, 10)
    taken = turns(world, 30)
    for start in range(0, 30, 3):
        assert sorted(taken[start : start + 3]) == ["a", "b", "c"]


def test_weights_are_shares(world: World) -> None:
    for tenant, weight in (("a", 1), ("b", 2), ("c", 4)):
        world.limit(tenant, weight=weight)
    for tenant, count in (("a", 120), ("b", 220), ("c", 420)):
        backlog(world, tenant, count)
    shares = Counter(turns(world, 700))
    assert {tenant: round(count / 100, 1) for tenant, count in shares.items()} == {
        "a": 1.0,
        "b": 2.0,
        "c": 4.0,
    }


def test_no_weight_however_odd_starves_or_stops_others(world: World) -> None:
    for tenant, weight in (("none", 0), ("minus", -1), ("huge", 1e12)):
        world.limit(tenant, weight=weight)
        backlog(world, tenant, 5)
    backlog(world, "plain", 5)
    assert Counter(turns(world, 20)) == {"none": 5, "minus": 5, "huge": 5, "plain": 5}
    assert_true(world)


def test_a_newcomer_is_next_even_among_fifty_with_a_backlog(world: World) -> None:
    for number in range(50):
        backlog(world, f"t{number}", 4)
    finished_turns(world, 75)
    world.accept("newcomer")
    assert "newcomer" in finished_turns(world, 2)


def test_who_was_idle_has_saved_nothing_up(world: World) -> None:
    backlog(world, "busy", 40)
    finished_turns(world, 20)
    backlog(world, "idle", 20)
    assert abs(Counter(finished_turns(world, 20))["idle"] - 10) <= 1


def test_one_job_at_a_time_gains_nothing_over_a_backlog(world: World) -> None:
    backlog(world, "patient", 30)
    taken = []
    world.accept("single")
    for _ in range(20):
        tenant = finished_turns(world, 1)[0]
        taken.append(tenant)
        if tenant == "single":
            world.accept("single")
    assert abs(Counter(taken)["single"] - 10) <= 1


def test_a_capped_tenant_leaves_the_queue_and_comes_back(world: World) -> None:
    world.limit("a", max_running=2)
    backlog(world, "a", 5)
    first, _ = world.claim(), world.claim()
    assert world.try_claim() is None
    assert world.read(world.accept("a"), "a").gate == "tenant_limit"
    backlog(world, "b", 1)
    assert turns(world, 1) == ["b"]

    world.finish(first)

    assert turns(world, 1) == ["a"]
    assert world.try_claim() is None
    assert_true(world)


def test_no_claim_is_empty_while_any_tenant_may_run(world: World) -> None:
    caps = {"a": 1, "b": 2, "c": 3}
    for tenant, cap in caps.items():
        world.limit(tenant, max_running=cap)
        backlog(world, tenant, 12)
    running: list[transitions.Claim] = []
    while True:
        found = world.try_claim()
        if isinstance(found, transitions.Claim):
            running.append(found)
            continue
        busy = Counter(one.job.tenant for one in running)
        assert all(
            busy[tenant] == cap or not world.client.exists(keys.queue_ready("jobs", tenant, "m"))
            for tenant, cap in caps.items()
        )
        if not running:
            break
        world.finish(running.pop(0))
    assert int(world.client.hget(keys.counts(), "succeeded") or 0) == 36
    assert_true(world)


def test_a_cap_that_was_raised_or_lowered_counts_at_once(world: World) -> None:
    backlog(world, "a", 6)
    world.limit("a", max_running=0)
    assert world.try_claim() is None
    world.limit("a", max_running=2)
    assert turns(world, 2) == ["a", "a"]
    world.limit("a", max_running=3)
    world.limit("a", max_running=1)
    assert world.try_claim() is None
    world.limit("a", max_running=None)
    assert turns(world, 4) == ["a"] * 4
    assert_true(world)


def test_a_bought_job_counts_against_the_cap_but_does_not_wait_for_it(world: World) -> None:
    world.limit("a", max_running=1)
    world.accept("a")
    bought = world.checkpoint(world.call(world.claim()))
    world.retry(bought, wait_seconds=60)
    world.accept("a")
    world.accept("a")
    running = world.claim()
    world.come_due(bought.job.id)
    world.sweep()

    resumed = world.claim()

    assert resumed.job.id == bought.job.id
    assert resumed.key.id == ""
    world.finish(running)
    assert world.try_claim() is None
    assert_true(world)


def test_priority_and_age_order_a_tenants_own_jobs(world: World) -> None:
    low, normal, high = (
        world.accept(priority=one) for one in (Priority.LOW, Priority.NORMAL, Priority.HIGH)
    )
    assert [world.claim().job.id for _ in range(3)] == [high, normal, low]


def test_a_low_job_that_is_old_goes_before_a_high_one_that_is_new(world: World) -> None:
    low = world.accept(priority=Priority.LOW)
    # as if it had come 36 minutes ago
    world.client.zincrby(keys.queue_ready("jobs", "acme", "m"), -36 * 60_000, low)
    world.accept(priority=Priority.HIGH)
    assert world.claim().job.id == low


def test_a_group_is_not_forgotten_while_it_waits(world: World) -> None:
    world.accept()
    world.finish(world.claim())
    key = keys.queue_group("jobs", "acme")
    assert 0 < world.client.ttl(key) <= 3600
    world.accept()
    assert world.client.ttl(key) == -1
    held = world.claim()
    assert world.client.ttl(key) == -1
    world.cancel(held.job.id)
    assert world.client.ttl(key) > 0
    world.cancel(world.accept())
    assert world.client.ttl(key) > 0


def test_permits_are_as_many_as_can_be_claimed_up_to_a_bound(world: World) -> None:
    world.limit("capped", max_running=0)
    backlog(world, "capped", 5)
    assert world.permits() == 0
    backlog(world, "a", 3)
    assert world.permits() == 3
    backlog(world, "a", 30)
    assert world.permits() == 16
    world.store.run(maintenance.renew("w", queue="generate", threads=4, lease_seconds=15, held=[]))
    world.sweep()
    assert int(world.client.hget(keys.queue_state("jobs"), "bound") or 0) == 2 * 4 + 16
    assert world.permits() == 24


def test_permits_are_made_good_after_the_list_was_deleted(world: World) -> None:
    backlog(world, "a", 5)
    world.client.delete("{dr}:celery:generate")
    swept = world.sweep()
    assert swept
    assert (swept.permits, world.permits()) == (5, 5)
