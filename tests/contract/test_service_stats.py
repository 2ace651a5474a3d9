"""What operators are shown of the service as a whole."""

from shared.store import job_queries, keys
from shared.store.job_queries import ServiceStats
from tests.support.store import World

GATE = keys.gate()


def facts(world: World) -> ServiceStats:
    return world.store.run(job_queries.service_stats())


def test_nothing_is_held_and_nobody_waits_at_first(world: World) -> None:
    seen = facts(world)

    assert seen.holds == ()
    assert seen.full_holds == seen.partial_holds == frozenset()
    assert (seen.dead_keys, seen.sweep_age) == (0, 0.0)
    assert seen.backlogged_groups == {"generate": 0, "deliver": 0}
    assert seen.largest_group == {"generate": 0, "deliver": 0}


def test_holds_are_named_while_they_last_and_dead_keys_are_counted(world: World) -> None:
    later, before = facts(world).now_ms + 60_000, facts(world).now_ms - 1
    told = {
        "hold:storage": later,
        "hold:provider_down:model:m": before,
        "hold:provider_rate:key:aaaaaaaa": later,
        "paused:generate": 1,
        "dead:aaaaaaaa": before,
        "dead:bbbbbbbb": before,
    }
    world.client.hset(GATE, items=[part for pair in told.items() for part in pair])

    seen = facts(world)

    assert seen.full_holds == {"storage", "paused"}
    assert seen.partial_holds == {"provider_rate"}
    assert seen.dead_keys == 2


def test_those_who_wait_and_the_deepest_backlog_are_counted(world: World) -> None:
    for tenant, jobs in (("small", 1), ("large", 3)):
        for _ in range(jobs):
            world.accept(tenant)

    seen = facts(world)

    assert seen.backlogged_groups["generate"] == 2
    assert seen.largest_group["generate"] == 3


def test_the_age_of_the_last_sweep_grows_until_the_next(world: World) -> None:
    world.sweep()
    fresh = facts(world).sweep_age
    world.client.hincrby(keys.sweep(), "at", -60_000)

    assert 0 <= fresh < 60
    assert facts(world).sweep_age >= 60


def test_a_job_that_is_retried_has_waited_since_the_retry(world: World) -> None:
    job_id = world.accept()
    world.cancel(job_id)
    world.client.hincrby(keys.job(job_id), "created", -3_600_000)

    world.again(job_id)

    assert facts(world).oldest_age["generate"] < 3_600
