"""Provider keys that are added, paused and removed: what claims do with them."""

from dataclasses import replace

import pytest

from shared.provider_keys import KeySource, ProviderKey
from shared.sealing import Seal
from shared.store import keys, maintenance
from shared.store.bulk import pause_provider_key, resume_provider_key
from shared.store.job_queries import service_stats
from shared.store.provider_keys import (
    KeyState,
    add_provider_key,
    read_stored_keys,
    remove_provider_key,
    reseal_provider_key,
)
from shared.store.transitions import Closed, Signal
from tests.support.provider_keys import SEAL_KEY, add, operator, states
from tests.support.queue_invariants import assert_true
from tests.support.store import World


def pool(*ids: str, source: KeySource = KeySource.STORED) -> list[ProviderKey]:
    return [ProviderKey(key_id, key_id, "", source) for key_id in ids]


def register(world: World, *own: ProviderKey, unreadable: tuple[str, ...] = ()) -> dict[str, str]:
    return world.store.run(maintenance.register_keys(own, unreadable))


def test_a_stored_key_is_read_back_and_a_second_add_changes_it(world: World) -> None:
    key_id = add(world, "first-secret", label="blue")
    [before] = world.store.run(read_stored_keys())
    assert (before.id, before.team) == (key_id, key_id)
    assert (before.label, before.masked) == ("blue", "…cret")
    assert add(world, "first-secret", team="red") == key_id
    [after] = world.store.run(read_stored_keys())
    assert replace(after, sealed="") == replace(before, sealed="", team="red")
    assert after.sealed != before.sealed


def test_an_add_whose_reply_was_lost_says_the_same_when_repeated(world: World) -> None:
    context, key = operator(), ProviderKey("k", "k", "secret-of-k")
    for sealed in (Seal([SEAL_KEY]).seal(key.secret) for _ in range(2)):
        assert world.store.run(add_provider_key(context, key, sealed, {})) is True
    assert world.client.xlen(keys.audit()) == 1
    assert world.store.run(add_provider_key(operator(), key, "sealed", {})) is False


def test_a_key_is_sealed_again_unless_it_changed_since_it_was_read(world: World) -> None:
    add(world, "first-secret", label="blue", team="red")
    [before] = world.store.run(read_stored_keys())
    context = operator()
    for _ in range(2):  # the first reply was lost
        assert world.store.run(reseal_provider_key(context, before, "sealed again"))
    [after] = world.store.run(read_stored_keys())
    assert after == replace(before, sealed="sealed again")
    assert world.client.xlen(keys.audit()) == 2
    assert not world.store.run(reseal_provider_key(operator(), before, "late"))
    world.store.run(remove_provider_key(operator(), before.id))
    assert not world.store.run(reseal_provider_key(operator(), after, "late"))
    assert world.store.run(read_stored_keys()) == ()


@pytest.mark.parametrize("source", KeySource)
def test_no_claim_takes_a_paused_key(world: World, source: KeySource) -> None:
    register(world, *pool("a", "b", source=source))
    for _ in range(3):
        world.accept()
    assert world.store.run(pause_provider_key(operator(), "a"))
    held = [world.claim(keys=pool("a", "b")) for _ in range(2)]
    assert {one.key.id for one in held} == {"b"}
    assert world.try_claim(keys=pool("a")) == Closed("paused", 1.0)
    assert world.store.run(resume_provider_key(operator(), "a"))
    assert world.claim(keys=pool("a")).key.id == "a"
    assert_true(world)


def test_jobs_wait_for_the_pause_only_where_every_key_is_paused(world: World) -> None:
    register(world, *pool("a", "b"))
    job_id = world.accept()
    for key_id in "ab":
        world.store.run(pause_provider_key(operator(), key_id))
    assert world.try_claim(keys=pool("a", "b")) == Closed("paused", 1.0)
    assert world.read(job_id).gate == "paused"
    world.store.run(resume_provider_key(operator(), "b"))
    assert world.read(job_id).gate == ""
    world.store.run(maintenance.report_signal(Signal.key_dead("b")))
    assert world.try_claim(keys=pool("a", "b")) == Closed("provider_auth", 1.0)


def test_no_claim_takes_a_removed_key_whatever_a_worker_still_has(world: World) -> None:
    key_id = add(world, "secret-one")
    register(world, *pool(key_id, "b"))
    world.accept()
    running = world.claim(keys=pool(key_id))
    assert world.store.run(remove_provider_key(operator(), key_id)) == "ok"
    for _ in range(2):
        world.accept()
    # a worker that has not read the stored keys again registers it, too
    register(world, *pool(key_id, "b"))
    assert key_id not in states(world)
    assert world.claim(keys=pool(key_id, "b")).key.id == "b"
    assert world.try_claim(keys=pool(key_id)) == Closed("provider_auth", 1.0)
    # a call that runs is finished, and its result does not bring the key back
    world.finish(running)
    assert key_id not in states(world)
    assert_true(world)


def test_a_removed_key_that_is_added_again_is_used_again(world: World) -> None:
    key_id = add(world, "secret-one")
    register(world, *pool(key_id))
    world.store.run(pause_provider_key(operator(), key_id))
    world.store.run(remove_provider_key(operator(), key_id))
    assert add(world, "secret-one") == key_id
    world.accept()
    assert world.claim(keys=pool(key_id)).key.id == key_id


def test_the_gate_keeps_nothing_of_a_removed_key_but_that_it_is_removed(world: World) -> None:
    key_id = add(world, "secret-one")
    key = ProviderKey(key_id, "team", "", KeySource.STORED)
    register(world, key, ProviderKey("b", "b", ""))
    for signal in (Signal.hold_key(key, 60), Signal.failed(key), Signal.key_dead(key_id)):
        world.store.run(maintenance.report_signal(signal))
    world.store.run(remove_provider_key(operator(), key_id))
    left = {name for name in world.client.hkeys(keys.gate()) if key_id in str(name)}
    assert left == {f"removed:{key_id}"}
    world.client.hset(keys.gate(), f"removed:{key_id}", 1)
    gate = register(world)
    assert not [name for name in gate if key_id in name]


def test_only_a_stored_key_that_no_environment_has_can_be_removed(world: World) -> None:
    assert world.store.run(remove_provider_key(operator(), "nobody")) == "unknown"
    assert not world.store.run(pause_provider_key(operator(), "nobody"))
    key_id = add(world, "secret-one")
    register(world, *pool(key_id, "own", source=KeySource.ENVIRONMENT))
    for one in (key_id, "own"):
        assert world.store.run(remove_provider_key(operator(), one)) == "environment"
        assert states(world)[one].source is KeySource.ENVIRONMENT
    # the workers were restarted without it
    world.client.hset(keys.gate(), f"environment:{key_id}", 1)
    assert states(world)[key_id].source is KeySource.STORED
    assert world.store.run(remove_provider_key(operator(), key_id)) == "ok"


def test_a_pause_outlasts_the_day_after_which_an_unused_key_is_dropped(world: World) -> None:
    register(world, *pool("a"))
    world.store.run(pause_provider_key(operator(), "a"))
    world.client.hset(keys.gate(), "key:a", "…aaaa a 1")
    register(world)
    assert states(world) == {}
    register(world, *pool("a"))
    world.accept()
    assert world.try_claim(keys=pool("a")) == Closed("paused", 1.0)


def test_a_key_that_a_worker_cannot_open_is_reported_until_it_is_sealed_anew(world: World) -> None:
    key_id = add(world, "secret-one")
    register(world, unreadable=(key_id, "removed-since"))
    assert states(world)[key_id].is_unreadable
    assert world.store.run(service_stats()).unreadable_keys == 1
    assert states(world).keys() == {key_id}
    add(world, "secret-one")
    assert not states(world)[key_id].is_unreadable


def test_a_line_that_an_earlier_version_registered_is_read(world: World) -> None:
    world.client.hset(keys.gate(), "key:old", "…1234 red 5")
    assert states(world) == {"old": KeyState("…1234", "red", seen_at=5)}


def test_a_paused_key_is_no_other_key_that_could_do_the_work(world: World) -> None:
    """The model's circuit opens, as with one key: there is no second to blame the first."""
    two = pool("a", "b")
    register(world, *two)
    for _ in range(8):
        world.accept()
    for _ in two:
        world.finish(world.claim(keys=two))
    world.store.run(pause_provider_key(operator(), "b"))
    held = [world.claim(keys=two) for _ in range(5)]
    for one in held:
        world.fail(one, signal=Signal.failed(one.key))
    holds = [name for name in world.client.hkeys(keys.gate()) if "hold:provider_down" in str(name)]
    assert holds == ["hold:provider_down:model:m"]


def test_a_claim_reads_no_more_for_keys_that_are_paused_or_removed(world: World) -> None:
    register(world, *pool("a", "b"))
    world.accept()
    plain = reads_of_a_claim(world)
    world.store.run(pause_provider_key(operator(), "a"))
    world.client.hset(keys.gate(), "removed:c", 1)
    world.accept()
    assert reads_of_a_claim(world) == plain


def reads_of_a_claim(world: World) -> int:
    def count() -> int:
        stats = world.client.info("commandstats")
        reads = ("hget", "hmget", "hgetall", "hexists", "exists", "get")
        return sum(int(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"]) for name in reads)

    before = count()
    world.claim(keys=pool("a", "b", "c"))
    return count() - before
