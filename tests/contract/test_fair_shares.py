"""What each tenant gets of the slots over time, whatever others do."""

import random
from collections import Counter
from collections.abc import Iterable

import pytest

from shared.jobs import Priority
from shared.store import keys, maintenance, transitions
from tests.support.queue_invariants import assert_true
from tests.support.store import World

SLOTS = 16
EIGHT = [f"t{number}" for number in range(8)]
#: A virtual time that a hundred years of work do not reach.
LATE = 2**60


def jain(shares: Iterable[int]) -> float:
    """Return Jain's index of fairness: 1 where all have the same, 1/n where one has everything."""
    given = list(shares)
    return sum(given) ** 2 / (len(given) * sum(one * one for one in given))


def backlog(world: World, tenant: str, count: int) -> list[str]:
    return [world.accept(tenant) for _ in range(count)]


class Slots:
    """So many worker threads, whose jobs end in an order that nobody foresees."""

    def __init__(self, world: World, slots: int = SLOTS) -> None:
        self.world = world
        self.slots = slots
        self.running: list[transitions.Claim] = []
        self.dice = random.Random(7)

    def turn(self) -> str:
        """Free a slot where all are taken, and give whose job is claimed into it."""
        if len(self.running) == self.slots:
            self.end(self.dice.randrange(self.slots))
        held = self.world.claim()
        self.running.append(held)
        return held.job.tenant

    def turns(self, count: int) -> Counter[str]:
        return Counter(self.turn() for _ in range(count))

    def end(self, which: int) -> None:
        held = self.running.pop(which)
        self.world.cancel(held.job.id, held.job.tenant)

    def of(self, tenant: str) -> int:
        return sum(held.job.tenant == tenant for held in self.running)


def test_eight_equal_tenants_get_the_same_however_they_send(world: World) -> None:
    # given three that flood and five that send one more whenever one was claimed
    for tenant in EIGHT[:3]:
        backlog(world, tenant, 120)
    for tenant in EIGHT[3:]:
        backlog(world, tenant, 2)
    slots, shares = Slots(world), Counter[str]()
    # when
    for _ in range(480):
        tenant = slots.turn()
        shares[tenant] += 1
        if tenant in EIGHT[3:]:
            world.accept(tenant)
    # then
    assert jain(shares[tenant] for tenant in EIGHT) >= 0.98
    assert_true(world)


@pytest.mark.parametrize("begun", [0, LATE])
def test_shares_are_weights_at_any_virtual_time(world: World, begun: int) -> None:
    world.client.hset(keys.queue_state("jobs"), "vt", str(begun))
    weights = {"a": 1, "b": 2, "c": 4}
    for tenant, weight in weights.items():
        world.limit(tenant, weight=weight)
        backlog(world, tenant, 60 * weight + 10)
    shares = Slots(world).turns(420)
    for tenant, weight in weights.items():
        assert shares[tenant] / 420 == pytest.approx(weight / 7, rel=0.03)


def test_a_newcomer_behind_fifty_backlogs_has_one_of_the_next_two_slots(world: World) -> None:
    for number in range(50):
        backlog(world, f"t{number}", 4)
    slots = Slots(world)
    slots.turns(77)
    for name in ("first", "second", "third"):
        world.accept(name)
        assert name in slots.turns(2)


def test_a_newcomer_is_next_also_when_fifty_have_only_just_come(world: World) -> None:
    for number in range(50):
        backlog(world, f"t{number}", 3)
    slots = Slots(world)
    slots.turns(16)
    world.accept("newcomer")
    assert "newcomer" in slots.turns(2)
    # and none of the fifty waits for a second turn of another
    shares = slots.turns(50 - 16)
    assert set(shares.values()) == {1}


def test_a_backlog_goes_on_while_newcomers_keep_coming(world: World) -> None:
    tenants = [f"t{number}" for number in range(10)]
    backlog(world, "patient", 40)
    for tenant in tenants:
        world.accept(tenant)
    shares = Counter[str]()
    slots = Slots(world)
    for _ in range(110):
        tenant = slots.turn()
        shares[tenant] += 1
        if tenant != "patient":
            world.accept(tenant)
    assert jain(shares.values()) >= 0.98


def test_a_weight_that_is_raised_counts_at_once(world: World) -> None:
    # given a tenant that its last job sent far behind the others
    world.limit("a", weight=0.001)
    backlog(world, "a", 60)
    backlog(world, "b", 60)
    assert Slots(world).turns(12)["a"] == 1
    # when
    world.limit("a", weight=1)
    # then
    assert abs(Slots(world).turns(20)["a"] - 10) <= 1
    assert_true(world)


def test_a_weight_that_is_raised_counts_also_for_who_has_nothing_queued(world: World) -> None:
    world.limit("a", weight=0.001)
    world.accept("a")
    backlog(world, "b", 30)
    slots = Slots(world)
    assert slots.turns(3)["a"] == 1
    world.limit("a", weight=1)
    world.accept("a")
    assert "a" in slots.turns(2)


def test_a_weight_that_is_lowered_counts_from_the_next_job(world: World) -> None:
    backlog(world, "a", 40)
    backlog(world, "b", 40)
    Slots(world).turns(10)
    world.limit("a", weight=0.25)
    assert abs(Slots(world).turns(25)["a"] - 5) <= 1


def test_a_tenant_never_runs_more_than_its_cap_and_is_never_forgotten(world: World) -> None:
    world.limit("capped", max_running=3)
    backlog(world, "capped", 60)
    backlog(world, "other", 150)
    slots, most, taken = Slots(world, 8), 0, 0
    for _ in range(160):
        taken += slots.turn() == "capped"
        most = max(most, slots.of("capped"))
    assert most == 3
    # of 8 slots an equal share would be 4: it has its 3 all the time
    assert taken >= 160 * 3 / 8 * 0.8
    assert_true(world)


def test_every_claim_gets_a_job_while_one_may_run(world: World) -> None:
    dice = random.Random(11)
    caps = {"a": 1, "b": 3, "c": 0, "d": None}
    for tenant, cap in caps.items():
        world.limit(tenant, max_running=cap, weight=dice.choice([0.5, 1, 3]))
    queued = Counter[str]()
    slots = Slots(world, 100)
    for _ in range(300):
        move = dice.random()
        if move < 0.4:
            tenant = dice.choice("abcd")
            world.accept(tenant, priority=dice.choice(list(Priority)))
            queued[tenant] += 1
        elif move < 0.6 and slots.running:
            slots.end(dice.randrange(len(slots.running)))
        else:
            may = {
                tenant
                for tenant, cap in caps.items()
                if queued[tenant] and (cap is None or slots.of(tenant) < cap)
            }
            found = world.try_claim()
            assert (found is not None) == bool(may)
            if isinstance(found, transitions.Claim):
                assert found.job.tenant in may
                queued[found.job.tenant] -= 1
                slots.running.append(found)
    assert_true(world)


def test_a_cap_that_opens_wakes_as_many_threads_as_there_are_jobs(world: World) -> None:
    world.limit("a", max_running=0)
    backlog(world, "a", 9)
    assert world.permits() == 0
    world.limit("a", max_running=None)
    assert world.permits() == 9


def test_the_end_of_a_job_at_the_cap_wakes_a_thread(world: World) -> None:
    world.limit("a", max_running=2)
    backlog(world, "a", 6)
    held = [world.claim(), world.claim()]
    world.client.delete("{dr}:celery:generate")
    world.finish(held[0])
    assert world.permits() == 1
    assert world.sweep() == maintenance.SweepResult(0, (), (), 3, ())


def test_priority_orders_a_tenants_own_and_nobody_elses(world: World) -> None:
    low = [world.accept("a", priority=Priority.LOW) for _ in range(3)]
    high = [world.accept("a", priority=Priority.HIGH) for _ in range(3)]
    mine = backlog(world, "b", 6)
    claimed = [world.claim().job for _ in range(12)]
    assert [job.id for job in claimed if job.tenant == "a"] == high + low
    assert [job.id for job in claimed if job.tenant == "b"] == mine
    assert {claimed[0].tenant, claimed[1].tenant} == {"a", "b"}


def test_a_low_job_ages_past_those_that_come_half_an_hour_later(world: World) -> None:
    low = world.accept(priority=Priority.LOW)
    normal = world.accept()
    assert world.read(low).rank == 1
    # as if it had come 30 minutes and some earlier
    world.client.zincrby(keys.queue_ready("jobs", "acme", "m"), -30 * 60_000 - 5_000, low)
    assert world.read(normal).rank == 1
    assert [world.claim().job.id for _ in range(2)] == [low, normal]
