"""When the provider may be asked: pauses, holds, keys, rate and circuit."""

from collections.abc import Sequence

import pytest

from shared.errors import ProviderDown, ProviderRejected
from shared.store import moves, reading, upkeep
from shared.store.moves import ALIVE, DOWN, Claim, Closed, Lesson
from tests.queue_truth import assert_true, hash_of
from tests.store import World

GATE = "{dr}:gate"


def learn(world: World, *lessons: Lesson) -> None:
    """Let calls that were all out at once teach these lessons."""
    held = _some(world, len(lessons))
    for one, lesson in zip(held, lessons, strict=True):
        world.fail(one, lesson=lesson)


def _some(world: World, count: int) -> list[Claim]:
    """Claim past the gate, as if before it closed."""
    gate = hash_of(world, GATE)
    world.client.delete(GATE)
    held = []
    for _ in range(count):
        world.accept("calls")
        held.append(world.claim())
    if gate:
        world.client.hset(GATE, items=[part for pair in gate.items() for part in pair])
    return held


def closed(world: World) -> Closed:
    found = world.try_claim()
    assert isinstance(found, Closed), found
    return found


def end_hold(world: World, reason: str) -> None:
    world.client.hset(GATE, f"hold:{reason}", 1)


def test_a_paused_queue_gives_nothing_out_but_says_why(world: World) -> None:
    world.client.hset(GATE, "paused:generate", "1")
    assert world.try_claim() is None
    job_id = world.accept()
    assert closed(world).reason == "paused"
    assert world.read(job_id).gate == "paused"
    world.client.hdel(GATE, "paused:generate")
    assert world.claim().job.id == job_id


def test_a_bought_job_without_a_record_stops_no_claim(world: World) -> None:
    world.client.zadd("{dr}:q:jobs:bought", {"job_gone": 1})
    world.client.hincrby("{dr}:q:jobs:state", "claimable", 1)
    job_id = world.accept()
    assert world.claim().job.id == job_id
    assert_true(world)


@pytest.mark.parametrize("pause", ["paused:generate", "hold:storage", "hold:provider_down"])
def test_what_is_bought_passes_a_closed_gate_and_goes_first(world: World, pause: str) -> None:
    world.accept()
    bought = world.checkpoint(world.call(world.claim()))
    world.accept("another")
    world.release(bought)
    world.client.hset(GATE, pause, 10**15)
    assert world.claim(keys=()).job.id == bought.job.id
    assert closed(world).reason in pause


@pytest.mark.parametrize("reason", ["storage", "provider_credits", "provider_rate"])
def test_a_hold_ends_with_one_probe_at_a_time(world: World, reason: str) -> None:
    learn(world, Lesson.hold(reason, 60))
    for _ in range(3):
        world.accept()
    assert closed(world).reason == reason
    assert 50 < closed(world).seconds <= 60

    end_hold(world, reason)
    probe = world.claim()
    assert closed(world).reason == reason
    world.cancel(probe.job.id)  # a probe that never comes back holds the others for a while only
    assert closed(world).seconds <= 5
    end_hold(world, reason)
    world.finish(world.claim())

    world.claim()
    assert world.client.hkeys(GATE) == []


def test_a_hold_for_credits_tells_both_numbers_until_a_call_goes_well(world: World) -> None:
    learn(world, Lesson.without_credits(60, needed=105, has=35))
    end_hold(world, "provider_credits")
    facts = world.store.run(reading.facts())
    assert facts.credits_blocked
    assert (facts.credits_needed, facts.credits_left) == (105, 35)
    world.accept()
    world.finish(world.claim())
    facts = world.store.run(reading.facts())
    assert not facts.credits_blocked
    assert (facts.credits_needed, facts.credits_left) == (0, 0)


def test_a_failed_probe_holds_again_for_as_long_as_it_says(world: World) -> None:
    learn(world, Lesson.hold("provider_rate", 60))
    world.accept()
    world.accept()
    end_hold(world, "provider_rate")
    world.fail(world.claim(), lesson=Lesson.hold("provider_rate", 1))
    assert 0 < closed(world).seconds <= 1


def test_a_hold_is_not_shortened_by_another(world: World) -> None:
    learn(world, Lesson.hold("provider_rate", 60), Lesson.hold("provider_rate", 2))
    world.accept()
    assert closed(world).seconds > 50


@pytest.mark.parametrize("reason", ["provider_rate", "provider_credits"])
def test_a_call_that_began_before_a_hold_does_not_end_it(world: World, reason: str) -> None:
    learn(world, Lesson.hold(reason, 60), ALIVE)
    world.accept()
    assert closed(world).reason == reason


def test_five_failures_in_a_row_open_the_circuit_and_a_success_closes_it(world: World) -> None:
    learn(world, *[DOWN] * 4, ALIVE, *[DOWN] * 4)
    world.accept()
    world.accept()
    world.release(world.claim())
    learn(world, DOWN)
    assert closed(world).reason == "provider_down"
    assert world.store.run(reading.facts()).circuit == 1

    end_hold(world, "provider_down")
    probe = world.claim()
    assert closed(world).reason == "provider_down"
    world.checkpoint(world.call(probe))

    assert isinstance(world.try_claim(), Claim)
    assert world.store.run(reading.facts()).circuit == 0


def test_all_calls_that_fail_together_are_one_trip(world: World) -> None:
    learn(world, *[DOWN] * 64)
    world.accept()
    assert closed(world).seconds <= 1


def test_each_failed_probe_doubles_the_wait_up_to_half_a_minute(world: World) -> None:
    learn(world, *[DOWN] * 5)
    waits = []
    for _ in range(8):
        end_hold(world, "provider_down")
        world.accept()
        world.accept()
        world.fail(world.claim(), lesson=DOWN)
        waits.append(round(closed(world).seconds))
    assert waits == [2, 4, 8, 16, 32, 32, 32, 32]


def test_a_lesson_counts_once_however_often_it_is_sent(world: World) -> None:
    for held in _some(world, 4):
        call = moves.retry(held, ProviderDown("x"), moves.Again(1, lesson=DOWN))
        world.store.run(call)
        world.store.run(call)
    world.accept()
    assert isinstance(world.try_claim(), Claim)


def test_a_dead_key_is_not_used_and_without_any_the_gate_is_closed(world: World) -> None:
    waiting = [world.accept() for _ in range(4)][-1]
    assert world.claim(keys=("a", "b")).key_id == "a"
    learn(world, Lesson.dead_key("a"))
    assert world.claim(keys=("a", "b")).key_id == "b"
    learn(world, Lesson.dead_key("b"))
    assert world.try_claim(keys=("a", "b")) == Closed("provider_auth", 1.0)
    assert world.read(waiting).gate == "provider_auth"
    assert world.claim(keys=("a", "b", "new")).key_id == "new"
    assert world.read(waiting).gate == ""


def test_several_keys_take_turns_without_a_rate(world: World) -> None:
    def used() -> str:
        world.accept()
        key = world.claim(keys=("a", "b", "c")).key_id
        tats = world.client.hgetall(GATE)
        for name in tats:  # a millisecond goes by
            world.client.hset(GATE, name, float(tats[name]) - 1)
        return key

    assert sorted(used() for _ in range(3)) == ["a", "b", "c"]


def calls_within_a_minute(world: World, keys: Sequence[str]) -> dict[str, int]:
    """Claim all that the rate lets through in a minute, which goes by at each refusal."""
    taken = dict.fromkeys(keys, 0)
    skipped, began = 0.0, milliseconds(world)
    world.accept()
    while True:
        found = world.try_claim(keys=keys)
        if skipped + milliseconds(world) - began >= 60_000:
            return taken
        if isinstance(found, Claim):
            taken[found.key_id] += 1
            world.release(found)
            continue
        assert isinstance(found, Closed)
        assert found.reason == "provider_rate"
        skipped += found.seconds * 1000
        for key, tat in world.client.hgetall(GATE).items():
            world.client.hset(GATE, key, float(tat) - found.seconds * 1000)


def milliseconds(world: World) -> float:
    seconds, microseconds = world.client.time()
    return seconds * 1000 + microseconds / 1000


@pytest.mark.parametrize(("rate", "keys"), [(180, ("a",)), (60, ("a", "b", "c")), (5, ("a",))])
def test_the_calls_of_a_minute_stay_within_the_rate_of_each_key(
    empty_redis_url: str, rate: int, keys: Sequence[str]
) -> None:
    world = World(empty_redis_url, provider_rate_per_minute=rate)
    taken = calls_within_a_minute(world, keys)
    assert all(0.95 * rate <= count <= rate for count in taken.values()), taken
    world.close()


def test_a_claim_that_finds_nothing_spends_nothing(empty_redis_url: str) -> None:
    world = World(empty_redis_url, provider_rate_per_minute=60)
    assert world.try_claim() is None
    assert world.client.hgetall(GATE) == {}
    world.close()


def test_a_refusal_shows_that_the_provider_lives(world: World) -> None:
    learn(world, *[DOWN] * 4)
    held = _some(world, 1)[0]
    world.store.run(moves.fail(held, ProviderRejected("no"), lesson=ALIVE))
    learn(world, DOWN)
    world.accept()
    assert isinstance(world.try_claim(), Claim)


def fail_call(world: World) -> None:
    world.accept()
    world.fail(world.call(world.claim()), lesson=moves.DOWN)


def buy(world: World) -> None:
    world.accept()
    world.succeed(world.checkpoint(world.call(world.claim())))


def test_calls_that_fail_one_in_two_use_up_their_budget_and_open_the_circuit(world: World) -> None:
    failed = 0
    while world.store.run(reading.facts()).circuit == 0:
        fail_call(world)
        failed += 1
        if world.store.run(reading.facts()).circuit == 0:
            buy(world)

    assert 20 <= failed <= 30


def test_calls_that_fail_one_in_ten_never_open_the_circuit(world: World) -> None:
    for _ in range(40):
        fail_call(world)
        for _ in range(9):
            buy(world)

    assert world.store.run(reading.facts()).circuit == 0


def test_a_dead_key_is_used_again_when_it_is_found_alive(world: World) -> None:
    world.accept()
    world.store.run(upkeep.learn(moves.Lesson.dead_key("key-a")))
    assert isinstance(world.try_claim(), moves.Closed)

    world.store.run(upkeep.learn(moves.Lesson.living_key("key-a")))

    assert world.claim().key_id == "key-a"
