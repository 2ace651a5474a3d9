"""Credits are counted for what may have been billed, and a budget is never passed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from shared.budgets import BudgetPeriod, BudgetScope
from shared.jobs import JobSpec
from shared.model_catalog import DEFAULT_MODEL
from shared.serializers import waiting_on
from shared.store import job_submission, keys, transitions
from shared.store.budgets import budget_of
from shared.store.prices import write_prices
from shared.store.usage import Spending, Usage, read_usage
from tests.contract.test_admission import ask, everything, may
from tests.support.store import World

DAY_MS = 86_400_000


@pytest.fixture
def world(empty_redis_url: str) -> Iterator[World]:
    world = World(empty_redis_url, credits_per_image=f"{DEFAULT_MODEL}=2")
    yield world
    world.close()


def used(world: World, tenant: str = "acme") -> Usage:
    return world.store.run(read_usage(tenant, days=90))


def spent(world: World) -> tuple[float, float]:
    """Return what was spent in all, and what is promised."""
    found = used(world)
    return sum(day.total.credits for day in found.days), found.promised


def accept(world: World, *tags: str) -> str:
    spec = JobSpec("m", {"prompt": "p", "seed": 7}, tags=tags)
    return world.accept(spec=spec, credits=2.0)


# what is counted ------------------------------------------------------------------------------


def test_a_job_promises_its_credits_until_it_has_called(world: World) -> None:
    accept(world)
    assert spent(world) == (0, 2)
    held = world.call(world.claim())
    assert spent(world) == (0, 2)
    world.checkpoint(held)
    assert spent(world) == (2, 0)
    world.succeed(held)
    assert spent(world) == (2, 0)
    assert world.client.exists(keys.reserved_credits()) == 0


def test_a_call_that_the_provider_refused_is_not_counted(world: World) -> None:
    accept(world)
    world.retry(world.call(world.claim()))
    assert spent(world) == (0, 2)
    world.fail(world.call(world.claim()))
    assert spent(world) == (0, 0)


def test_a_call_of_unknown_outcome_may_have_been_billed(world: World) -> None:
    accept(world)
    world.retry(world.call(world.claim()), unknown=True)
    assert spent(world) == (2, 0)
    world.finish(world.claim())
    assert spent(world) == (4, 0)


def test_a_worker_lost_at_the_provider_may_have_been_billed(world: World) -> None:
    job_id = accept(world)
    world.call(world.claim())
    world.lose_lease(job_id)
    world.rescue()
    assert spent(world) == (2, 0)


def test_a_job_canceled_at_the_provider_may_be_billed_and_one_in_the_queue_is_not(
    world: World,
) -> None:
    job_id = accept(world)
    world.call(world.claim())
    world.cancel(job_id)
    world.cancel(accept(world))
    assert spent(world) == (2, 0)


def test_a_call_that_left_a_record_is_counted_once(world: World) -> None:
    accept(world)
    held = world.call(world.claim())
    world.store.run(transitions.record_submitted(held, "record-1"))
    world.retry(held)
    assert spent(world) == (0, 2)
    world.finish(world.claim())
    assert spent(world) == (2, 0)


def test_a_record_that_nobody_settled_may_be_billed(world: World) -> None:
    job_id = accept(world)
    held = world.call(world.claim())
    world.store.run(transitions.record_submitted(held, "record-1"))
    world.retry(held, wait_seconds=60)
    world.pass_deadline(job_id)
    world.sweep()
    assert spent(world) == (2, 0)


def test_a_move_sent_twice_is_counted_once(world: World) -> None:
    accept(world)
    held = world.call(world.claim())
    for _ in range(2):
        world.checkpoint(held)
    assert spent(world) == (2, 0)


def test_credits_are_told_by_day_and_tag(world: World) -> None:
    accept(world, "blue", "red")
    accept(world, "red")
    accept(world)
    for _ in range(3):
        world.finish(world.claim())
    (today,) = used(world).days
    assert today.total == Spending(3, 6)
    assert today.tags == {"blue": Spending(1, 2), "red": Spending(2, 4)}
    assert today.at % DAY_MS == 0


def test_tags_beyond_a_hundred_a_day_are_counted_together(world: World) -> None:
    for first in range(0, 110, 10):
        accept(world, *(f"tag {number}" for number in range(first, first + 10)))
        world.finish(world.claim())
    (today,) = used(world).days
    assert len(today.tags) == 101
    assert today.tags[""] == Spending(10, 20)


def test_what_was_spent_is_forgotten_after_ninety_days(world: World) -> None:
    accept(world)
    world.finish(world.claim())
    (key,) = world.client.keys("[{]dr}:usage:*")
    assert 89 * DAY_MS < world.client.pttl(key) <= 90 * DAY_MS


def test_without_a_price_calls_are_counted_all_the_same(world: World) -> None:
    world.accept()
    world.finish(world.claim())
    (today,) = used(world).days
    assert today.total == Spending(1, 0)


# a budget that refuses ------------------------------------------------------------------------


def test_a_budget_lets_in_what_it_can_pay_and_no_more(world: World) -> None:
    may(world, daily_credits=20)
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: ask(world, credits=2.0), range(64)))
    assert sum(isinstance(answer, job_submission.Accepted) for answer in answers) == 10
    for _ in range(4):
        world.finish(world.claim())
    before = everything(world)
    refused = ask(world, credits=2.0)
    assert isinstance(refused, job_submission.NotAccepted)
    assert refused.reason == "budget_spent"
    budget = budget_of(refused.detail)
    assert (budget.scope, budget.period, budget.limit) == (BudgetScope.TENANT, BudgetPeriod.DAY, 20)
    assert (budget.used, budget.promised) == (8, 12)
    assert refused.wait_seconds is not None
    assert 0 < refused.wait_seconds <= 86_400
    assert everything(world) == before


def test_what_is_given_up_can_be_spent_by_others(world: World) -> None:
    may(world, daily_credits=2)
    job_id = accept(world)
    world.cancel(job_id)
    other = accept(world)
    again = world.again(job_id)
    assert isinstance(again, job_submission.NotAccepted)
    assert again.reason == "budget_spent"
    world.fail(world.claim())
    assert world.again(other) is not None
    assert spent(world) == (0, 2)


def test_yesterdays_credits_are_not_todays(world: World) -> None:
    may(world, daily_credits=2)
    accept(world)
    world.finish(world.claim())
    turn_the_day(world)
    assert isinstance(ask(world, credits=2.0), job_submission.Accepted)


def turn_the_day(world: World, days: int = 1, kind: str = "usage") -> None:
    """Let what was spent today have been spent yesterday, and let midnight have come."""
    for key in world.client.scan_iter(f"[{{]dr}}:{kind}:*"):
        start, _, day = str(key).rpartition(":")
        world.client.rename(str(key), f"{start}:{int(day) - days}")
    for group in world.client.zrange(keys.queue_budget_blocked("jobs"), 0, -1):
        world.client.zadd(keys.queue_budget_blocked("jobs"), {str(group): 1})


# a budget that holds --------------------------------------------------------------------------


def test_a_budget_that_holds_queues_all_and_runs_what_it_can_pay(world: World) -> None:
    may(world, daily_credits=6, budget_action="hold")
    ids = [accept(world) for _ in range(5)]
    for _ in range(3):
        world.finish(world.claim())
    assert world.try_claim() is None
    waiting = world.read(ids[4])
    assert (waiting_on(waiting), waiting.eta_seconds) == ("budget", None)
    assert spent(world) == (6, 4)


def test_calls_at_once_do_not_pass_a_budget_together(world: World) -> None:
    may(world, daily_credits=6, budget_action="hold")
    for _ in range(8):
        accept(world)
    held = [world.claim() for _ in range(3)]
    assert world.try_claim() is None
    world.checkpoint(world.call(held[0]))
    world.release(held[1])
    # one is paid and two may be: one of them is still held by a worker
    world.checkpoint(world.call(held[2]))
    world.succeed(held[0])
    world.succeed(held[2])
    world.finish(world.claim())
    assert world.try_claim() is None
    assert spent(world)[0] == 6


def test_a_budget_holds_by_the_prices_of_the_api_whatever_those_of_the_worker(
    empty_redis_url: str,
) -> None:
    with closing(World(empty_redis_url)) as worker:
        worker.client.set(keys.prices(), write_prices({DEFAULT_MODEL: 2.0, "another": None}))
        may(worker, daily_credits=3, budget_action="hold")
        for _ in range(2):
            accept(worker)
        held = worker.claim()
        assert worker.try_claim() is None
        worker.finish(held)
        assert worker.try_claim() is None
        assert spent(worker) == (2, 2)


def test_what_a_budget_held_goes_on_the_next_day_by_the_sweep(world: World) -> None:
    may(world, daily_credits=2, budget_action="hold")
    for _ in range(2):
        accept(world)
    world.finish(world.claim())
    world.client.delete("{dr}:celery:generate")
    turn_the_day(world)
    world.sweep()
    assert world.permits() == 1
    world.finish(world.claim())


def test_others_are_served_while_a_budget_holds_one(world: World) -> None:
    may(world, daily_credits=0, budget_action="hold")
    accept(world)
    other = world.accept("other")
    assert world.claim().job.id == other
    assert world.try_claim() is None


def test_a_budget_that_is_raised_lets_go_at_once(world: World) -> None:
    may(world, daily_credits=0, budget_action="hold")
    job_id = accept(world)
    assert world.try_claim() is None
    world.limit(daily_credits=10)
    assert world.claim().job.id == job_id
