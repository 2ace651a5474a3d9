"""When the provider may be called: pauses, holds, keys, models, rate and circuit."""

from collections.abc import Sequence

import pytest

from shared import ids
from shared.errors import (
    ErrorCode,
    ImageHostDown,
    LostLease,
    ModelGone,
    ProviderAuth,
    ProviderDown,
    ProviderRejected,
    StorageDown,
)
from shared.jobs import JobSpec, State, WaitingOn
from shared.provider_keys import ProviderKey
from shared.serializers import waiting_on
from shared.store import batches, job_queries, job_submission, keys, maintenance, transitions
from shared.store.transitions import Claim, Closed, Signal
from tests.support.models import OTHER_MODEL_FILE
from tests.support.queue_invariants import assert_true, hash_of
from tests.support.store import FAR, KEYS, World

GATE = keys.gate()
KEY = ProviderKey("key-a", "key-a", "")
HEALTHY, FAILED = Signal.healthy(KEY), Signal.failed(KEY)
#: Holds that stand for one each of what can be held, and the hold as the gate keeps it.
HOLDS = {
    "storage": (Signal.hold_storage(60), "storage"),
    "provider_credits": (
        Signal.hold_team(KEY, 60, needed=None, has=None),
        "provider_credits:team:key-a",
    ),
    "provider_rate": (Signal.hold_key(KEY, 60), "provider_rate:key:key-a"),
}


def report(world: World, *signals: Signal) -> None:
    """Let calls that were all out at once report these signals."""
    held = _some(world, len(signals))
    for one, signal in zip(held, signals, strict=True):
        world.fail(one, signal=signal)


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


def end_hold(world: World, name: str) -> None:
    world.client.hset(GATE, f"hold:{name}", 1)


def down(world: World) -> bool:
    return world.store.run(job_queries.service_stats()).circuit == 1


def test_a_paused_queue_gives_nothing_out_but_says_why(world: World) -> None:
    world.client.hset(GATE, "paused:generate", "1")
    assert world.try_claim() is None
    job_id = world.accept()
    assert closed(world).reason == "paused"
    assert world.read(job_id).gate == "paused"
    world.client.hdel(GATE, "paused:generate")
    assert world.claim().job.id == job_id


def test_a_bought_job_without_a_record_stops_no_claim(world: World) -> None:
    world.client.zadd(keys.queue_paid("jobs"), {"job_gone": 1})
    world.client.hincrby(keys.queue_state("jobs"), "claimable", 1)
    job_id = world.accept()
    assert world.claim().job.id == job_id
    assert_true(world)


@pytest.mark.parametrize("pause", ["paused:generate", "hold:storage", "hold:provider_down:model:m"])
def test_what_is_bought_passes_a_closed_gate_and_goes_first(world: World, pause: str) -> None:
    world.accept()
    bought = world.checkpoint(world.call(world.claim()))
    world.accept("another")
    world.release(bought)
    world.client.hset(GATE, pause, int(milliseconds(world)) + 60_000)
    assert world.claim(keys=()).job.id == bought.job.id
    assert closed(world).reason in pause


@pytest.mark.parametrize("reason", HOLDS)
def test_a_hold_ends_with_one_probe_at_a_time(world: World, reason: str) -> None:
    signal, name = HOLDS[reason]
    report(world, signal)
    for _ in range(3):
        world.accept()
    assert closed(world).reason == reason
    assert 50 < closed(world).seconds <= 60

    end_hold(world, name)
    probe = world.claim()
    assert closed(world).reason == reason
    world.cancel(probe.job.id)  # a probe that never comes back holds the others for a while only
    assert closed(world).seconds <= 5
    end_hold(world, name)
    world.finish(world.claim())

    world.claim()
    world.client.hdel(GATE, "refused_images")
    assert world.client.hkeys(GATE) == ["fetched_host"]


def test_a_hold_for_credits_has_both_numbers_until_a_call_goes_well(world: World) -> None:
    report(world, Signal.hold_team(KEY, 60, needed=105, has=35))
    end_hold(world, "provider_credits:team:key-a")
    [hold] = world.store.run(job_queries.service_stats()).without_credits
    assert (hold.kind, hold.subject) == ("team", "key-a")
    assert (hold.credits_needed, hold.credits_left) == (105, 35)
    world.accept()
    world.finish(world.claim())
    assert not world.store.run(job_queries.service_stats()).without_credits
    assert not [name for name in hash_of(world, GATE) if name.startswith("credits:")]


def test_a_failed_probe_holds_again_for_as_long_as_it_says(world: World) -> None:
    report(world, Signal.hold_key(KEY, 60))
    world.accept()
    world.accept()
    end_hold(world, "provider_rate:key:key-a")
    world.fail(world.claim(), signal=Signal.hold_key(KEY, 1))
    assert 0 < closed(world).seconds <= 1


def test_a_hold_is_not_shortened_by_another(world: World) -> None:
    report(world, Signal.hold_key(KEY, 60), Signal.hold_key(KEY, 2))
    world.accept()
    assert closed(world).seconds > 50


@pytest.mark.parametrize("reason", ["provider_rate", "provider_credits"])
def test_a_call_that_began_before_a_hold_does_not_end_it(world: World, reason: str) -> None:
    report(world, HOLDS[reason][0], HEALTHY)
    world.accept()
    assert closed(world).reason == reason


def test_five_failures_in_a_row_open_the_circuit_and_a_success_closes_it(world: World) -> None:
    report(world, *[FAILED] * 4, HEALTHY, *[FAILED] * 4)
    world.accept()
    world.accept()
    world.release(world.claim())
    report(world, FAILED)
    assert closed(world).reason == "provider_down"
    assert down(world)

    end_hold(world, "provider_down:model:m")
    probe = world.claim()
    assert closed(world).reason == "provider_down"
    world.checkpoint(world.call(probe))

    assert isinstance(world.try_claim(), Claim)
    assert not down(world)


def test_all_calls_that_fail_together_are_one_trip(world: World) -> None:
    report(world, *[FAILED] * 64)
    world.accept()
    assert closed(world).seconds <= 1


def test_each_failed_probe_doubles_the_wait_up_to_half_a_minute(world: World) -> None:
    report(world, *[FAILED] * 5)
    waits = []
    for _ in range(8):
        end_hold(world, "provider_down:model:m")
        world.accept()
        world.accept()
        world.fail(world.claim(), signal=FAILED)
        waits.append(round(closed(world).seconds))
    assert waits == [2, 4, 8, 16, 32, 32, 32, 32]


def test_a_signal_counts_once_however_often_it_is_sent(world: World) -> None:
    for held in _some(world, 4):
        call = transitions.requeue(held, ProviderDown("x"), transitions.Requeue(1, signal=FAILED))
        world.store.run(call)
        world.store.run(call)
    world.accept()
    assert isinstance(world.try_claim(), Claim)


def test_a_dead_key_is_not_used_and_without_any_the_queue_is_held(world: World) -> None:
    waiting = [world.accept() for _ in range(4)][-1]
    assert world.claim(keys=("a", "b")).key.id == "a"
    report(world, Signal.key_dead("a"))
    assert world.claim(keys=("a", "b")).key.id == "b"
    report(world, Signal.key_dead("b"))
    assert world.try_claim(keys=("a", "b")) == Closed("provider_auth", 1.0)
    assert world.read(waiting).gate == "provider_auth"
    assert world.claim(keys=("a", "b", "new")).key.id == "new"
    assert world.read(waiting).gate == ""


def test_several_keys_take_turns_without_a_rate(world: World) -> None:
    def used() -> str:
        world.accept()
        key = world.claim(keys=("a", "b", "c")).key.id
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
            taken[found.key.id] += 1
            world.release(found)
            continue
        assert isinstance(found, Closed)
        assert found.reason == "provider_rate"
        skipped += found.seconds * 1000
        for name, tat in hash_of(world, GATE).items():
            if name.startswith("tat:"):
                world.client.hset(GATE, name, float(tat) - found.seconds * 1000)


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
    report(world, *[FAILED] * 4)
    held = _some(world, 1)[0]
    world.store.run(transitions.fail(held, ProviderRejected("no"), signal=HEALTHY))
    report(world, FAILED)
    world.accept()
    assert isinstance(world.try_claim(), Claim)


def fail_call(world: World) -> None:
    world.accept()
    world.fail(world.call(world.claim()), signal=FAILED)


def buy(world: World) -> None:
    world.accept()
    world.succeed(world.checkpoint(world.call(world.claim())))


def test_calls_that_fail_one_in_two_use_up_their_budget_and_open_the_circuit(world: World) -> None:
    failed = 0
    while not down(world):
        fail_call(world)
        failed += 1
        if not down(world):
            buy(world)

    assert 20 <= failed <= 30


def test_calls_that_fail_one_in_ten_never_open_the_circuit(world: World) -> None:
    for _ in range(40):
        fail_call(world)
        for _ in range(9):
            buy(world)

    assert not down(world)


def test_a_dead_key_is_used_again_when_it_is_found_alive(world: World) -> None:
    world.accept()
    world.store.run(maintenance.report_signal(Signal.key_dead("key-a")))
    assert isinstance(world.try_claim(), transitions.Closed)

    world.store.run(maintenance.report_signal(Signal.key_alive("key-a")))

    assert world.claim().key.id == "key-a"


# keys and models fail alone

TEAM_1, TEAM_1_TOO = ProviderKey("one", "team-1", ""), ProviderKey("too", "team-1", "")
TEAM_2 = ProviderKey("two", "team-2", "")
POOL = (TEAM_1, TEAM_1_TOO, TEAM_2)


def used_keys(world: World, count: int) -> set[str]:
    """Claim so many jobs, whose calls stay out; return the keys that they may use."""
    for _ in range(count):
        world.accept()
    return {world.claim(keys=POOL).key.id for _ in range(count)}


def test_a_team_without_credits_holds_its_own_keys_alone(world: World) -> None:
    assert used_keys(world, 3) == {"one", "too", "two"}
    report(world, Signal.hold_team(TEAM_1, 60, needed=105, has=35))
    assert used_keys(world, 4) == {"two"}
    report(world, Signal.hold_team(TEAM_2, 30, needed=105, has=0))
    job_id = world.accept()
    found = world.try_claim(keys=POOL)
    assert isinstance(found, Closed)
    assert found.reason == "provider_credits"
    assert found.seconds <= 30, "the queue goes on with the first team that is probed"
    assert world.read(job_id).gate == "provider_credits"


def test_a_key_that_is_too_fast_is_held_alone(world: World) -> None:
    used_keys(world, 3)
    report(world, Signal.hold_key(TEAM_1, 20))
    assert used_keys(world, 4) == {"too", "two"}


def fail_with(world: World, key: ProviderKey, model: str = "m", count: int = 1) -> None:
    for _ in range(count):
        job_id = world.accept(model=model)
        held = world.claim(keys=(key,))
        assert held.job.id == job_id
        world.fail(held, signal=Signal.failed(key))


def test_a_key_that_fails_rests_alone_and_is_probed(world: World) -> None:
    used_keys(world, 3)
    fail_with(world, TEAM_2, count=5)
    assert used_keys(world, 4) == {"one", "too"}
    end_hold(world, "provider_down:key:two")
    assert "two" in used_keys(world, 3)
    assert "two" not in used_keys(world, 3), "one call at a time tries it"


@pytest.mark.parametrize(
    "hold", [Signal.hold_team(TEAM_2, 60, needed=None, has=None), Signal.hold_key(TEAM_2, 60)]
)
def test_a_key_does_not_rest_while_the_other_one_is_held(world: World, hold: Signal) -> None:
    pool = (TEAM_1, TEAM_2)
    world.store.run(maintenance.register_keys(pool))
    for _ in pool:
        world.accept()
    assert {world.claim(keys=pool).key.id for _ in pool} == {"one", "two"}
    world.store.run(maintenance.report_signal(hold))
    fail_with(world, TEAM_1, "sick", count=5)
    world.accept(model="sick")
    well = world.accept(model="well")
    assert world.claim(keys=pool).job.id == well
    found = world.try_claim(keys=pool)
    assert isinstance(found, Closed)
    assert found.reason == "provider_down"


def test_the_only_key_never_rests_but_its_model_does(world: World) -> None:
    fail_with(world, KEY, "sick", 5)
    world.accept(model="sick")
    assert closed(world).reason == "provider_down"
    assert [
        (hold.kind, hold.subject) for hold in world.store.run(job_queries.service_stats()).holds
    ] == [("model", "sick")]


def test_a_model_that_fails_is_held_alone_whichever_keys_it_failed_with(world: World) -> None:
    used_keys(world, 3)
    for key in (TEAM_1, TEAM_2, TEAM_1, TEAM_2, TEAM_1):
        fail_with(world, key, "sick")
    sick, *_ = [world.accept(model="sick") for _ in range(50)]
    well = world.accept(model="well")
    assert world.claim(keys=POOL).job.id == well
    found = world.try_claim(keys=POOL)
    assert isinstance(found, Closed)
    assert found.reason == "provider_down"
    assert world.read(sick).gate == "provider_down"
    assert world.read(world.accept(model="well")).gate == ""
    assert {hold.kind for hold in world.store.run(job_queries.service_stats()).holds} == {"model"}


def test_jobs_of_a_held_model_are_passed_over_and_keep_their_place(world: World) -> None:
    first = world.accept(model="sick")
    world.accept(model="sick")
    world.pass_a_millisecond()
    well = world.accept(model="well")
    assert world.read(well).rank == 2
    world.client.hset(GATE, "hold:provider_down:model:sick", int(milliseconds(world)) + 60_000)
    assert world.read(well).rank == 0
    assert world.claim().job.id == well
    assert_true(world)
    end_hold(world, "provider_down:model:sick")
    assert world.claim().job.id == first
    assert_true(world)


def test_a_tenant_that_waited_for_a_held_model_saved_nothing_up(world: World) -> None:
    for _ in range(20):
        world.accept("waits", model="sick")
    world.client.hset(GATE, "hold:provider_down:model:sick", int(milliseconds(world)) + 60_000)
    for _ in range(40):
        world.accept("busy", model="well")
    for _ in range(20):
        world.claim()
    world.client.hdel(GATE, "hold:provider_down:model:sick")
    turns = [world.claim().job.tenant for _ in range(20)]
    assert abs(turns.count("waits") - 10) <= 1


def test_a_paused_model_is_held_alone(world: World) -> None:
    paused = world.accept(model="off")
    on = world.accept(model="on")
    world.client.hset(GATE, "paused:model:off", 1)
    assert world.claim().job.id == on
    assert closed(world).reason == "paused"
    assert world.read(paused).gate == "paused"


def test_a_job_that_failed_with_one_key_is_tried_with_another(world: World) -> None:
    world.accept()
    first = world.claim(keys=POOL)
    for used in ("one", "too", "two"):  # the one that failed has rested longest
        world.client.hset(GATE, f"tat:{used}", 0 if used == first.key.id else 5)
    world.retry(first, key_failed=True)
    assert world.claim(keys=POOL).key.id != first.key.id


# a model that the provider removed


def refused(world: World, model: str = "m") -> job_submission.NotAccepted:
    answer = world.store.run(job_submission.accept(world.new_job(model=model), not_after_ms=10**15))
    assert isinstance(answer, job_submission.NotAccepted), answer
    return answer


def removed(world: World) -> None:
    job_id = world.accept("first", model="old")
    held = next(held for held in iter(world.claim, None) if held.job.id == job_id)
    not_offered(world, held)


def not_offered(world: World, held: transitions.Claim) -> None:
    """Requeue a job as the worker does whose key may not use the model."""
    again = transitions.Requeue(
        0, refund_attempt=True, signal=Signal.model_removed(held.key), key_failed=True
    )
    world.store.run(transitions.requeue(held, ModelGone("no"), again))


def two_keys(world: World) -> list[ProviderKey]:
    pool = [ProviderKey("one", "team-1", "secret"), ProviderKey("two", "team-2", "secret")]
    world.store.run(maintenance.register_keys(pool))
    return pool


def test_a_model_that_one_key_lacks_is_called_with_the_other(world: World) -> None:
    pool = two_keys(world)
    asked = [world.accept(model="old") for _ in range(3)]
    first = world.claim(keys=pool)
    not_offered(world, first)

    held = [world.claim(keys=pool) for _ in asked]
    assert {one.job.id for one in held} == {*asked}
    assert {one.key.id for one in held}.isdisjoint({first.key.id})
    # the key serves other models, and the model is not refused
    world.accept(model="m")
    assert world.claim(keys=pool).key.id == first.key.id
    world.accept(model="old")


def test_a_process_whose_keys_all_lack_a_model_leaves_its_jobs_to_others(world: World) -> None:
    pool = two_keys(world)
    job_id = world.accept(model="old")
    held = world.claim(keys=pool)
    not_offered(world, held)

    own = [key for key in pool if key.id == held.key.id]
    found = world.try_claim(keys=own)
    assert isinstance(found, Closed)
    assert found.reason == "model_unavailable"
    world.accept(model="m")
    assert world.claim(keys=own).job.spec.model == "m"
    assert world.claim(keys=pool).job.id == job_id


def test_a_model_is_gone_once_no_key_has_it_and_offered_again_when_one_does(world: World) -> None:
    pool = two_keys(world)
    job_id = world.accept(model="old")
    for _ in pool:
        not_offered(world, world.claim(keys=pool))
    assert refused(world, model="old").reason == "model_gone"
    swept = world.sweep()
    assert swept is not None
    assert swept.failed == (("old", "model_unavailable"),)
    assert world.read(job_id).job.last_error_code is ErrorCode.MODEL_UNAVAILABLE

    for field in ("gone:old", "unoffered:one:old", "unoffered:two:old"):
        world.client.hset(GATE, field, 1)
    world.accept(model="old")
    world.checkpoint(world.call(world.claim(keys=pool)))
    world.accept(model="old")
    assert not world.client.hexists(GATE, "gone:old")


@pytest.mark.parametrize(
    ("state", "is_gone"),
    [
        ({"dead:two": 10_000}, False),  # refused for ten seconds: a check may find that it works
        ({"dead:two": 90_000}, True),
        ({"paused:key:two": 90_000}, False),
        ({"removed:two": 0}, True),
    ],
)
def test_a_model_is_not_gone_while_a_key_that_may_have_it_only_rests(
    world: World, state: dict[str, int], *, is_gone: bool
) -> None:
    pool = two_keys(world)
    job_id = world.accept(model="old")
    for field, age_ms in state.items():
        world.client.hset(GATE, field, int(milliseconds(world)) - age_ms)
    not_offered(world, world.claim(keys=pool))
    swept = world.sweep()
    assert swept is not None
    assert (world.read(job_id).job.state is State.FAILED) == is_gone
    assert swept.failed == ((("old", "model_unavailable"),) if is_gone else ())


def test_a_removed_model_is_refused_and_what_waits_for_it_ends_without_a_call(world: World) -> None:
    other = world.accept(model="m")
    world.release(world.claim())
    removed(world)
    world.client.hset(GATE, "gone:old", 1)
    for number in range(9):
        world.accept(f"t{number % 3}", model="old")
    world.client.hset(GATE, "gone:old", int(milliseconds(world)))
    answer = refused(world, model="old")
    assert (answer.reason, answer.detail) == ("model_gone", "old")
    assert 50 < (answer.wait_seconds or 0) <= 60

    swept = world.sweep()
    assert swept is not None
    assert swept.failed == (("old", "model_unavailable"),) * 10
    assert world.claim().job.id == other
    assert_true(world)


def test_once_a_minute_one_call_asks_for_a_removed_model_again(world: World) -> None:
    removed(world)
    world.sweep()
    for field in ("gone:old", f"unoffered:{KEYS[0].id}:old"):
        world.client.hset(GATE, field, int(milliseconds(world)) - 61_000)
    probe, other = world.accept(model="old"), world.accept(model="old")
    held = world.claim()
    assert held.job.id == probe
    assert refused(world, model="old").reason == "model_gone"
    assert isinstance(world.try_claim(), Closed)
    swept = world.sweep()
    assert swept is not None
    assert swept.failed == ()
    world.finish(held)
    assert world.claim().job.id == other
    assert world.store.run(job_queries.service_stats()).gone_models == frozenset()


def test_a_probe_that_is_refused_ends_what_waits_for_the_model(world: World) -> None:
    removed(world)
    world.sweep()
    for field in ("gone:old", f"unoffered:{KEYS[0].id}:old"):
        back_in_time(world, field, 61_000)
    for _ in range(2):
        world.accept(model="old")
    not_offered(world, world.claim())
    swept = world.sweep()
    assert swept is not None
    assert swept.failed == (("old", "model_unavailable"),) * 2


def test_a_model_is_not_gone_while_a_probe_asks_for_it_with_another_key(world: World) -> None:
    # given a model that one of two keys lacks
    pool = two_keys(world)
    for _ in range(3):
        world.accept(model="old")
    first = world.claim(keys=pool)
    not_offered(world, first)
    second = world.claim(keys=pool)
    assert second.key.id != first.key.id
    # when a probe asks with that key, and the other key loses the model too
    back_in_time(world, f"unoffered:{first.key.id}:old", 61_000)
    probe = world.claim(keys=(first.key,))
    not_offered(world, second)
    # then
    swept = world.sweep()
    assert swept is not None
    assert swept.failed == ()
    # when the probe is refused too
    not_offered(world, probe)
    # then
    swept = world.sweep()
    assert swept is not None
    assert len(swept.failed) == 3


def test_a_batch_and_a_retry_for_a_removed_model_are_refused_too(world: World) -> None:
    removed(world)
    world.sweep()
    failed = str(world.client.zrange(keys.jobs_by("", "status", "failed"), 0, -1)[0])
    again = world.again(failed, tenant="first")
    assert isinstance(again, job_submission.NotAccepted)
    assert again.reason == "model_gone"
    jobs = [world.new_job(), world.new_job(model="old")]
    call = batches.stage_jobs(ids.batch_id(), tenant="acme", number=0, jobs=jobs)
    answer = world.store.run(call)
    assert isinstance(answer, job_submission.NotAccepted)
    assert (answer.reason, answer.detail) == ("model_gone", "old")


def test_a_repeated_batch_is_staged_although_its_model_was_removed_since(world: World) -> None:
    removed(world)
    world.client.hset(keys.idempotency("acme", "once"), "fingerprint", "of the batch")
    call = batches.stage_jobs(
        ids.batch_id(),
        tenant="acme",
        number=0,
        jobs=[world.new_job(model="old")],
        idempotency_key="once",
    )
    assert world.store.run(call) is None


# images that cannot be fetched


def unfetched(world: World, held: Claim) -> Claim:
    """Let the image of a paid job fail to be fetched; claim the job for its next attempt."""
    error = ImageHostDown("away", host="images.example")
    again = transitions.Requeue(30, refund_attempt=True, signal=Signal.unfetched(error.host))
    world.store.run(transitions.requeue(held, error, again))
    world.come_due(held.job.id)
    world.sweep()
    return world.claim()


def paid(world: World) -> Claim:
    world.accept()
    return world.checkpoint(world.call(world.claim()))


def test_an_image_that_cannot_be_fetched_holds_new_calls_until_one_can(world: World) -> None:
    held = paid(world)
    again = unfetched(world, held)
    assert again.job.id == held.job.id
    assert again.job.answer is not None
    waiting = world.accept()
    assert closed(world).reason == "image_host"
    assert world.read(waiting).gate == "image_host"
    assert world.store.run(job_queries.service_stats()).image_host == "images.example"
    world.succeed(again)
    assert world.claim().job.id == waiting
    assert world.client.hkeys(GATE) == ["fetched_host"]


def test_one_job_alone_holds_new_calls_once_and_several_for_as_long_as_they_wait(
    world: World,
) -> None:
    first, second = paid(world), paid(world)
    first = unfetched(world, first)
    end_hold(world, "image_host")
    first = unfetched(world, first)
    world.accept()
    probe = world.claim()  # the one image that nobody can fetch does not hold all others for ever
    world.release(probe)
    unfetched(world, second)
    end_hold(world, "image_host")
    unfetched(world, first)
    assert closed(world).reason == "image_host"


def test_one_or_two_images_at_another_host_hold_nothing_where_images_are_fetched(
    world: World,
) -> None:
    # given images that come from their usual host
    world.succeed(paid(world))
    odd = [paid(world) for _ in range(3)]
    # when
    first = unfetched(world, odd[0])
    unfetched(world, odd[1])
    # then
    waiting = world.accept()
    probe = world.claim()
    assert probe.job.id == waiting
    world.release(probe)
    # when others meet the same
    unfetched(world, odd[2])
    # then
    assert closed(world).reason == "image_host"
    assert first.job.answer is not None


def unstored(world: World, held: Claim) -> Claim:
    """Let the storage refuse the image of a paid job; claim the job for its next attempt."""
    again = transitions.Requeue(5, refund_attempt=True, signal=Signal.hold_storage(30))
    world.store.run(transitions.requeue(held, StorageDown("refused"), again))
    world.come_due(held.job.id)
    world.sweep()
    return world.claim()


def test_one_image_that_cannot_be_stored_holds_new_calls_once(world: World) -> None:
    refused = unstored(world, paid(world))
    world.accept()
    assert closed(world).reason == "storage"
    end_hold(world, "storage")
    refused = unstored(world, refused)
    # the image of the probe is stored, and that of the job still is not
    world.finish(world.claim())
    unstored(world, refused)
    waiting = world.accept()
    assert world.claim().job.id == waiting


def test_several_images_that_cannot_be_stored_hold_new_calls_as_long_as_they_wait(
    world: World,
) -> None:
    first = unstored(world, paid(world))
    end_hold(world, "storage")
    world.accept()
    unstored(world, world.checkpoint(world.call(world.claim())))
    end_hold(world, "storage")
    first = unstored(world, first)
    world.accept()
    assert closed(world).reason == "storage"
    # one that is stored after all counts again
    world.succeed(first)
    assert first.job.id not in hash_of(world, GATE)["refused_images"]


def test_a_key_that_may_not_call_one_model_serves_others(world: World) -> None:
    # given a key that was refused for a model, and is alive
    refused = world.claim() if world.accept(spec=JobSpec("denied", {})) else None
    assert refused
    error = ProviderAuth("Forbidden")
    dead = transitions.Requeue(0, refund_attempt=True, signal=Signal.key_dead(refused.key.id))
    world.store.run(transitions.requeue(world.call(refused), error, dead))
    assert closed(world).reason == "provider_auth"
    world.store.run(maintenance.report_signal(Signal.key_alive(refused.key.id)))
    # when the same model is refused again
    world.store.run(transitions.requeue(world.call(world.claim()), error, dead))
    # then
    other = world.accept(spec=JobSpec("allowed", {}))
    held = world.claim()
    assert held.job.id == other
    assert (held.key.id, world.read(refused.job.id).gate) == (refused.key.id, "provider_down")


def test_images_made_again_in_a_row_hold_new_calls(world: World) -> None:
    for _ in range(3):
        held = paid(world)
        world.retry(held, regenerate=True, signal=transitions.REGENERATED)
        world.cancel(held.job.id)
    world.accept()
    assert closed(world).reason == "image_host"


# deadlines and clocks


def test_nothing_is_claimed_or_called_after_its_deadline(world: World) -> None:
    late = [world.accept() for _ in range(3)]
    soon = world.accept()
    world.let_deadline_pass(*late)
    held = world.claim()
    assert held.job.id == soon
    assert {world.client.hget(keys.job(one), "error_code") for one in late} == {"deadline_exceeded"}
    world.let_deadline_pass(soon)
    for _ in range(2):  # also where the reply was lost
        with pytest.raises(LostLease):
            world.call(held)
    assert world.read(soon).job.error_code is ErrorCode.DEADLINE_EXCEEDED
    assert world.read(soon).job.calls == 0
    assert_true(world)


def test_a_claim_ends_a_bounded_number_of_late_jobs(world: World) -> None:
    world.let_deadline_pass(*[world.accept() for _ in range(50)])
    found = world.try_claim()
    assert found == Closed("passing", 0.0)
    assert world.client.hget(keys.counts(), "failed") == "20"


HOUR_MS = 3_600_000


def put_back(world: World) -> None:
    """Make all that is kept of the future an hour later: as if the clock had been put back."""
    for name, value in hash_of(world, GATE).items():
        if name.startswith(("hold:", "tat:")):
            world.client.hset(GATE, name, f"{float(value) + HOUR_MS:.0f}")
    for key in (keys.queue_due("jobs"), keys.queue_leases("jobs")):
        for member in map(str, world.client.zrange(key, 0, -1)):
            world.client.zincrby(key, HOUR_MS, member)
    for name in ("at", "until", "rescue_after"):
        kept = world.client.hget(keys.sweep(), name)
        world.client.hset(keys.sweep(), name, int(kept or 0) + HOUR_MS)


def test_a_clock_that_was_put_back_holds_nothing_up(empty_redis_url: str) -> None:
    world = World(empty_redis_url, provider_rate_per_minute=180)
    world.sweep(worker="gone")
    for _ in range(3):
        world.accept()
    leased, waits = world.claim(), world.claim()
    world.retry(waits, wait_seconds=30)
    report(world, Signal.hold_key(KEY, 20))
    put_back(world)

    assert world.sweep() is not None, "another process sweeps"
    lease = world.client.zscore(keys.queue_leases("jobs"), leased.job.id) or 0
    assert 0 < lease - milliseconds(world) < 16_000
    due = world.client.zscore(keys.queue_due("jobs"), waits.job.id) or 0
    assert 0 < due - milliseconds(world) < 31_000
    assert 15 < closed(world).seconds < 21, "the time between two sweeps is not known"
    world.client.hdel(GATE, "hold:provider_rate:key:key-a")
    assert isinstance(world.try_claim(), Claim | Closed)
    world.close()


@pytest.mark.parametrize(
    "key",
    [
        keys.erasures(),
        keys.object_deletions(),
        keys.history_deletions(),
        keys.history_tenant_deletions(),
    ],
)
def test_what_is_to_be_deleted_is_due_as_soon_after_the_clock_was_put_back(
    world: World, key: str
) -> None:
    world.sweep()
    world.client.zadd(key, {"one": milliseconds(world) + HOUR_MS + 10_000})
    put_back(world)
    world.sweep()
    due = world.client.zscore(key, "one") or 0
    assert 5_000 < due - milliseconds(world) < 11_000, "the time between two sweeps is not known"


TILES = "acme/tile-painter"


def test_a_model_with_a_rate_of_its_own_delays_no_other(empty_redis_url: str) -> None:
    world = World(empty_redis_url, models_file=str(OTHER_MODEL_FILE))
    tiles = [world.accept(model=TILES) for _ in range(10)]
    burst = [world.claim().job.id for _ in range(7)]
    assert burst == tiles[:7]

    assert closed(world).reason == "model_rate"
    assert 0 < closed(world).seconds < 1.2
    other = world.accept()
    assert world.read(other).rank == 0
    assert world.claim().job.id == other
    waiting = world.read(tiles[7])
    assert waiting_on(waiting) is WaitingOn.MODEL_RATE
    assert waiting.rank == 0

    back_in_time(world, f"model_tat:{TILES}", 2000)
    assert world.claim().job.id == tiles[7]
    assert_true(world)
    world.close()


def test_the_estimate_of_a_model_with_a_rate_is_not_faster_than_it(empty_redis_url: str) -> None:
    world = World(empty_redis_url, models_file=str(OTHER_MODEL_FILE))
    for _ in range(7):
        world.accept(model=TILES)
        world.finish(world.claim())
    tiles = [world.accept(model=TILES) for _ in range(10)]
    world.client.hset(keys.queue_group("jobs", "acme"), "throughput", f"6000 60000 {FAR}")

    # one every 60 / 54 seconds after the burst
    assert world.read(tiles[9]).eta_seconds == pytest.approx(10 * 60 / 54, abs=1.5)
    assert world.read(world.accept()).eta_seconds == pytest.approx(0, abs=0.1)
    world.close()


def back_in_time(world: World, name: str, milliseconds: int) -> None:
    """Let a time of the gate be so much earlier."""
    world.client.hset(GATE, name, float(world.client.hget(GATE, name) or 0) - milliseconds)


def test_the_rate_goes_on_at_once_where_the_clock_was_put_back(empty_redis_url: str) -> None:
    world = World(empty_redis_url, provider_rate_per_minute=180)
    world.accept()
    world.accept()
    world.claim()
    put_back(world)
    assert isinstance(world.try_claim(), Claim)
    world.close()


def test_the_requests_of_a_minute_are_free_again_where_the_clock_was_put_back(
    world: World,
) -> None:
    world.limit(requests_per_minute=2)
    world.accept()
    world.accept()
    assert refused(world).reason == "too_fast"
    key = keys.request_times("acme")
    times = [int(time) + HOUR_MS for time in world.client.lrange(key, 0, -1)]
    world.client.delete(key)
    world.client.rpush(key, *times)
    world.accept()
    world.accept()
    assert refused(world).reason == "too_fast"
