"""What was lost with its worker: a process does one such job at a time."""

import pytest

from shared.errors import ErrorCode
from shared.jobs import State
from shared.store import keys, transitions
from tests.support.queue_invariants import assert_true
from tests.support.store import World


def lose(world: World, held: transitions.Claim) -> None:
    world.lose_lease(held.job.id)
    assert len(world.rescue().rescued) == 1


def isolate(world: World, tenant: str = "acme") -> str:
    """Lose a job at the provider; return its id."""
    job_id = world.accept(tenant)
    held = world.claim(isolated=False)
    assert held.job.id == job_id
    lose(world, world.call(held))
    return job_id


def test_a_job_lost_at_the_provider_goes_first_but_only_to_who_does_none_such(world: World) -> None:
    suspect = isolate(world)
    other = world.accept()
    beside = world.claim(isolated=False)
    first = world.claim(isolated=True)
    assert (beside.job.id, beside.isolated) == (other, False)
    assert (first.job.id, first.isolated) == (suspect, True)


def test_with_nothing_else_to_do_others_get_nothing(world: World) -> None:
    isolate(world)
    assert world.try_claim(isolated=False) is None
    assert world.claim(isolated=True).isolated


@pytest.mark.parametrize("bought", [False, True])
def test_a_job_lost_where_nothing_is_unknown_is_set_apart_too(
    world: World, *, bought: bool
) -> None:
    world.accept()
    held = world.claim()
    if bought:
        world.checkpoint(world.call(held))
    lose(world, held)
    assert world.try_claim(isolated=False) is None
    again = world.claim(isolated=True)
    assert again.isolated
    assert again.job.state is (State.FETCHING if bought else State.CLAIMED)


@pytest.mark.parametrize("bought", [False, True])
def test_who_is_lost_at_the_provider_beside_one_that_kills_elsewhere_is_not_beside_it_again(
    world: World, *, bought: bool
) -> None:
    world.accept()
    killing = world.claim()
    if bought:
        world.checkpoint(world.call(killing))
    world.accept()
    beside = world.call(world.claim())
    for one in (killing, beside):
        lose(world, one)
    assert world.claim(isolated=True).job.id == killing.job.id
    assert world.try_claim(isolated=False) is None


def test_one_with_a_record_is_set_apart_before_its_third_loss(world: World) -> None:
    world.accept()
    held = world.call(world.claim())
    world.store.run(transitions.record_submitted(held, "record-1"))
    lose(world, held)
    again = world.claim(isolated=False)
    assert not again.isolated
    lose(world, again)
    assert world.try_claim(isolated=False) is None
    assert world.claim(isolated=True).isolated


def test_a_bought_job_that_is_set_apart_passes_a_closed_gate(world: World) -> None:
    world.accept()
    held = world.checkpoint(world.call(world.claim()))
    lose(world, held)
    world.client.hset(keys.gate(), "paused:generate", "1")
    assert isinstance(world.try_claim(isolated=False), transitions.Closed)
    assert world.claim(isolated=True).job.id == held.job.id


def test_a_bought_job_does_not_wait_for_the_gate_behind_one_that_is_not(world: World) -> None:
    isolate(world)
    world.accept()
    held = world.checkpoint(world.call(world.claim(isolated=False)))
    lose(world, held)
    world.client.hset(keys.gate(), "paused:generate", "1")
    assert world.claim().job.id == held.job.id
    assert isinstance(world.try_claim(), transitions.Closed)


def test_it_stays_apart_through_its_next_attempts(world: World) -> None:
    job_id = isolate(world)
    world.release(world.claim())
    world.retry(world.claim(), wait_seconds=60)
    world.come_due(job_id)
    world.sweep()
    assert world.try_claim(isolated=False) is None
    assert world.claim().job.id == job_id


def test_its_tenants_cap_counts_and_lets_others_pass(world: World) -> None:
    waiting, running = isolate(world, "full"), world.accept("full")
    assert world.claim(isolated=False).job.id == running
    passing = isolate(world, "free")
    world.limit("full", max_running=1)
    assert world.claim().job.id == passing
    assert world.try_claim() is None
    world.limit("full", max_running=2)
    assert world.claim().job.id == waiting
    assert_true(world)


def test_it_can_be_canceled(world: World) -> None:
    first, second = world.accept(), world.accept()
    held = [world.call(world.claim()), world.call(world.claim())]
    for one in held:
        lose(world, one)
    world.cancel(first)
    assert world.claim().job.id == second
    assert world.try_claim() is None
    assert_true(world)


def test_asked_for_again_it_is_one_among_others(world: World) -> None:
    job_id = isolate(world)
    world.fail(world.claim())
    world.again(job_id)
    assert world.claim(isolated=False).job.id == job_id


def test_what_an_older_version_moved_on_is_dropped_from_its_place(world: World) -> None:
    job_id = isolate(world)
    other = world.accept()
    world.client.hset(keys.job(job_id), "state", "canceled")
    assert world.claim().job.id == other
    assert world.client.zcard(keys.queue_isolated("jobs")) == 0


def test_what_an_older_version_canceled_is_claimed_once_when_asked_for_again(world: World) -> None:
    job_id = isolate(world)
    place, counters = keys.queue_isolated("jobs"), keys.queue_state("jobs")
    world.client.copy(place, "left")
    world.cancel(job_id)
    # which knows no such place, and leaves it there
    world.client.rename("left", place)
    world.client.hincrby(counters, "claimable", 1)
    world.again(job_id)
    assert world.claim().job.id == job_id
    assert world.try_claim() is None
    assert_true(world)


def test_records_that_the_provider_forgets_one_after_another_are_no_way_to_go_on_for_ever(
    world: World,
) -> None:
    job_id = world.accept()
    for number in range(3):
        held = world.call(world.claim())
        world.store.run(transitions.record_submitted(held, f"record-{number}"))
        lose(world, held)
        if number < 2:
            world.retry(world.claim(), refund_attempt=True, forget_record=True)
    job = world.read(job_id).job
    assert (job.state, job.error_code) == (State.FAILED, ErrorCode.INTERNAL)


@pytest.mark.parametrize("step", ["submitted", "checkpoint"])
def test_the_workers_lost_before_it_got_further_are_not_held_against_it(
    world: World, step: str
) -> None:
    world.accept()
    lose(world, world.claim())
    lose(world, world.claim())
    held = world.call(world.claim())
    if step == "submitted":
        world.store.run(transitions.record_submitted(held, "record-1"))
    else:
        world.checkpoint(held)
    for number in (1, 2):
        lose(world, held)
        held = world.claim()
        assert held.job.worker_losses == 2 + number
        assert held.isolated is (number == 2 or step == "checkpoint")
    lose(world, held)
    job = world.read(held.job.id).job
    assert (job.state, job.error_code) == (State.FAILED, ErrorCode.INTERNAL)
