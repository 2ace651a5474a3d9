"""Budgets of a month and of a key, rates of a key, and thresholds that are reported once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from shared.api_keys import TENANT_SCOPES, new_key
from shared.budgets import Budget, BudgetPeriod, BudgetScope
from shared.jobs import Job
from shared.model_catalog import DEFAULT_MODEL
from shared.serializers import waiting_on
from shared.store import api_keys, batches, dry_run, job_submission, keys
from shared.store.audit import AuditContext
from shared.store.budgets import CrossedThreshold, budget_of
from shared.store.bulk import bulk_transition
from shared.store.erasures import begin_tenant_erasure, new_erasure_id
from shared.store.tenants import create_tenant, read_tenant
from shared.store.usage import read_usage
from tests.contract.test_admission import ask, everything
from tests.contract.test_credits import turn_the_day
from tests.support.store import World
from worker.eraser import Eraser


def operator() -> AuditContext:
    """Return a new request of an operator."""
    return AuditContext("test", "")


#: More than a month.
LONG = 40


@pytest.fixture
def world(empty_redis_url: str) -> Iterator[World]:
    world = World(empty_redis_url, credits_per_image=f"{DEFAULT_MODEL}=2")
    world.store.run(create_tenant(operator(), "acme", {}, webhook_secret="whsec_"))
    yield world
    assert world.undocumented() == set()
    world.close()


def make_key(world: World, **limits: float) -> str:
    key = new_key()
    call = api_keys.add_api_key(operator(), "acme", key, TENANT_SCOPES, limits=limits)
    assert isinstance(world.store.run(call), api_keys.ApiKeyInfo)
    return key.id


def limit_key(world: World, key: str, **limits: float | None) -> api_keys.ApiKeyInfo:
    found = world.store.run(api_keys.set_key_limits(operator(), "acme", key, limits))
    assert found is not None
    return found


def budget(world: World, scope: BudgetScope, period: BudgetPeriod, key: str = "") -> Budget:
    found = world.store.run(read_usage("acme", days=1, api_key=key))
    (one,) = (one for one in found.budgets if (one.scope, one.period) == (scope, period))
    return one


def used_by(world: World, key: str) -> tuple[float, float]:
    found = budget(world, BudgetScope.KEY, BudgetPeriod.MONTH, key)
    return found.used, found.promised


def accept(world: World, key: str | None = None, **how: Any) -> str:
    return world.accept(credits=2.0, api_key=key, **how)


def refused(world: World, **how: Any) -> Budget:
    """Ask, be refused for a budget, and see that nothing at all was written."""
    before = everything(world)
    answer = ask(world, credits=2.0, **how)
    assert isinstance(answer, job_submission.NotAccepted), answer
    assert answer.reason == "budget_spent"
    assert everything(world) == before
    spent = budget_of(answer.detail)
    assert answer.wait_seconds is not None
    now = world.store.now_ms()
    assert abs(now + answer.wait_seconds * 1000 - spent.resets_at) < 60_000
    return spent


def crossed(world: World) -> list[tuple[BudgetScope, BudgetPeriod, int]]:
    """Sweep, and return the thresholds that this reports."""
    return [(one.budget.scope, one.budget.period, one.threshold) for one in swept(world)]


def swept(world: World) -> tuple[CrossedThreshold, ...]:
    found = world.sweep()
    assert found is not None
    return found.crossed


# months ---------------------------------------------------------------------------------------


def test_redis_knows_the_first_day_of_every_month_and_of_the_next(world: World) -> None:
    script = (
        f"{world.scripts.prelude}\n"
        "local found = {}\n"
        "for day = tonumber(ARGV[1]), tonumber(ARGV[2]) do\n"
        "  local first, following = m_clock.month(day * 86400000 + 86399999)\n"
        "  found[#found + 1], found[#found + 2] = first, following\n"
        "end\n"
        "return found"
    )
    # a century that has a leap day, and one that has none
    for start, end in ((date(1999, 1, 1), date(2001, 3, 1)), (date(2096, 1, 1), date(2101, 3, 1))):
        days = [start + timedelta(n) for n in range((end - start).days)]
        found = world.client.eval(script, 0, _number(days[0]), _number(days[-1]))
        expected = []
        for day in days:
            first = day.replace(day=1)
            following = (first + timedelta(31)).replace(day=1)
            expected += [_number(first), _number(following)]
        assert found == expected


def _number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


def test_a_months_budget_lets_in_what_it_can_pay_until_the_month_turns(world: World) -> None:
    world.limit(monthly_credits=4)
    accept(world)
    world.finish(world.claim())
    accept(world)
    spent = refused(world)
    assert (spent.scope, spent.period, spent.limit) == (BudgetScope.TENANT, BudgetPeriod.MONTH, 4)
    assert (spent.used, spent.promised) == (2, 2)
    assert _first_of_next_month(world) == spent.resets_at
    turn_the_day(world)  # another day of the same month, unless today is its first
    world.finish(world.claim())
    assert budget(world, BudgetScope.TENANT, BudgetPeriod.MONTH).used == 4
    refused(world)
    turn_the_month(world)
    accept(world)


def _first_of_next_month(world: World) -> float:
    now = datetime.fromtimestamp(world.store.now_ms() / 1000, UTC)
    following = (now.replace(day=1) + timedelta(31)).replace(day=1)
    return following.replace(hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000


def turn_the_month(world: World) -> None:
    """Let what was spent have been spent in an earlier month."""
    turn_the_day(world, LONG)
    turn_the_day(world, LONG, "month_usage")


def test_of_two_spent_budgets_the_one_that_resets_last_is_named(world: World) -> None:
    world.limit(daily_credits=0, monthly_credits=0)
    assert refused(world).period is BudgetPeriod.MONTH
    world.limit(monthly_credits=100)
    assert refused(world).period is BudgetPeriod.DAY


def test_a_months_budget_that_holds_goes_on_when_the_month_turns(world: World) -> None:
    world.limit(monthly_credits=2, budget_action="hold")
    first, held = accept(world), accept(world)
    world.finish(world.claim())
    assert world.try_claim() is None
    waiting = world.read(held)
    assert (waiting_on(waiting), waiting.eta_seconds) == ("budget", None)
    until = world.client.zscore(keys.queue_budget_blocked("jobs"), "acme")
    assert until == budget(world, BudgetScope.TENANT, BudgetPeriod.MONTH).resets_at
    assert first != held
    turn_the_month(world)
    world.sweep()
    assert world.claim().job.id == held


def test_a_months_budget_that_is_raised_lets_go_at_once(world: World) -> None:
    world.limit(monthly_credits=0, budget_action="hold")
    job_id = accept(world)
    assert world.try_claim() is None
    world.limit(monthly_credits=10)
    assert world.claim().job.id == job_id


def test_days_that_were_spent_before_months_were_counted_count(world: World) -> None:
    accept(world)
    world.finish(world.claim())
    for key in world.client.scan_iter("[{]dr}:month_usage:*"):
        world.client.delete(key)
    world.limit(monthly_credits=4)
    assert budget(world, BudgetScope.TENANT, BudgetPeriod.MONTH).used == 2
    accept(world)
    world.finish(world.claim())
    assert budget(world, BudgetScope.TENANT, BudgetPeriod.MONTH).used == 4


def test_the_budgets_of_a_new_tenant_do_not_count_what_a_deleted_one_of_its_name_spent(
    world: World,
) -> None:
    world.limit(daily_credits=2, monthly_credits=2)
    accept(world)
    world.finish(world.claim())
    assert crossed(world)
    erasure_id = new_erasure_id()
    world.store.run(begin_tenant_erasure(operator(), erasure_id, "acme"))
    world.client.zadd(keys.erasures(), {erasure_id: 1})  # due now
    eraser = Eraser(world.store, None, world.store.now_ms)
    assert eraser.erase()
    assert list(world.client.scan_iter("[{]dr}:month_usage:*")) == []
    reported = world.store.run(read_usage("acme", days=1)).days
    assert [day.total.credits for day in reported] == [2]
    limits = {"daily_credits": 4.0, "monthly_credits": 4.0}
    world.store.run(create_tenant(operator(), "acme", limits, webhook_secret="whsec_"))
    for period in (BudgetPeriod.DAY, BudgetPeriod.MONTH):
        assert budget(world, BudgetScope.TENANT, period).used == 0
    accept(world)
    world.finish(world.claim())
    for period in (BudgetPeriod.DAY, BudgetPeriod.MONTH):
        assert budget(world, BudgetScope.TENANT, period).used == 2
    assert len(crossed(world)) == 2  # 50 % of each, again


# a key ----------------------------------------------------------------------------------------


def test_of_many_at_once_a_key_promises_no_more_than_its_budget(world: World) -> None:
    key, other = make_key(world, monthly_credits=20), make_key(world)
    with ThreadPoolExecutor(16) as threads:
        answers = list(
            threads.map(lambda _: ask(world, credits=2.0, api_key=key), range(32)),
        )
    assert sum(isinstance(answer, job_submission.Accepted) for answer in answers) == 10
    spent = refused(world, api_key=key)
    assert (spent.scope, spent.period, spent.promised) == (BudgetScope.KEY, BudgetPeriod.MONTH, 20)
    accept(world, other)


def test_a_spent_key_holds_no_job_of_the_tenants_other_keys(world: World) -> None:
    world.limit(monthly_credits=100, budget_action="hold")
    key = make_key(world, monthly_credits=2)
    accept(world, key)
    world.finish(world.claim())
    refused(world, api_key=key)
    other = accept(world, make_key(world))
    assert world.claim().job.id == other


def test_a_key_pays_for_each_call_of_its_jobs(world: World) -> None:
    key = make_key(world, monthly_credits=100)
    accept(world, key)
    assert used_by(world, key) == (0, 2)
    world.retry(world.call(world.claim()), unknown=True)
    assert used_by(world, key) == (2, 0)
    world.finish(world.claim())
    assert used_by(world, key) == (4, 0)
    world.cancel(accept(world, key))
    assert used_by(world, key) == (4, 0)
    assert world.client.exists(keys.reserved_credits()) == 0


def test_the_key_that_retries_a_job_pays_for_the_retry(world: World) -> None:
    first = make_key(world, monthly_credits=100)
    second = make_key(world, monthly_credits=2)
    job_id = accept(world, first)
    held = world.call(world.claim())
    world.retry(held, unknown=True)
    world.fail(world.claim())
    assert isinstance(rerun(world, job_id, second), Job)
    assert (used_by(world, first), used_by(world, second)) == ((2, 0), (0, 2))
    world.finish(world.claim())
    assert (used_by(world, first), used_by(world, second)) == ((2, 0), (2, 0))
    again = accept(world, first)
    world.cancel(again)
    assert isinstance(rerun(world, again, second), job_submission.NotAccepted)


def rerun(world: World, job_id: str, key: str) -> object:
    call = job_submission.rerun(job_id, tenant="acme", deadline_seconds=3600, api_key=key)
    return world.store.run(call)


def test_a_retry_by_an_operator_is_paid_by_the_key_of_the_job(world: World) -> None:
    key = make_key(world, monthly_credits=2, requests_per_minute=1)
    job_id = accept(world, key)
    world.cancel(job_id)
    call = bulk_transition(operator(), "rerun", [job_id], deadline_seconds=3600, query={})
    assert world.store.run(call).moved == 1
    assert used_by(world, key) == (0, 2)


def test_jobs_of_a_revoked_key_still_count(world: World) -> None:
    world.limit(monthly_credits=100)
    key = make_key(world, monthly_credits=100)
    accept(world, key)
    held = world.call(world.claim())
    world.store.run(api_keys.revoke_api_key(operator(), "acme", key))
    world.checkpoint(held)
    assert used_by(world, key) == (2, 0)
    accept(world, key)
    world.client.delete(keys.api_key(key))  # as 30 days later
    world.finish(world.claim())
    assert budget(world, BudgetScope.TENANT, BudgetPeriod.MONTH).used == 4
    assert world.client.exists(keys.reserved_credits()) == 0


def test_a_key_that_replaces_another_has_its_limits_and_what_is_used_of_them(world: World) -> None:
    old = make_key(world, monthly_credits=4, requests_per_minute=10)
    accept(world, old)
    world.finish(world.claim())
    new = new_key()
    call = api_keys.rotate_api_key(operator(), "acme", old, new, grace_seconds=60, expires_at=None)
    made = world.store.run(call)
    assert isinstance(made, api_keys.ApiKeyInfo)
    assert (made.monthly_credits, made.requests_per_minute) == (4, 10)
    assert [one.used for one in made.budgets] == [2]
    accept(world, new.id)
    refused(world, api_key=old)
    refused(world, api_key=new.id)
    world.finish(world.claim())
    assert used_by(world, old) == used_by(world, new.id) == (4, 0)


def replace_key(world: World, old: str) -> str:
    new = new_key()
    call = api_keys.rotate_api_key(
        operator(), "acme", old, new, grace_seconds=3600, expires_at=None
    )
    made = world.store.run(call)
    assert isinstance(made, api_keys.ApiKeyInfo)
    return new.id


@pytest.mark.parametrize("limits", [{}, {"monthly_credits": None}], ids=["never", "removed"])
def test_what_a_key_without_a_budget_used_counts_for_its_replacement(
    world: World, limits: dict[str, None]
) -> None:
    old = make_key(world, **({"monthly_credits": 10} if limits else {}))
    accept(world, old)
    world.finish(world.claim())
    if limits:
        limit_key(world, old, **limits)
    new = replace_key(world, old)
    limit_key(world, new, monthly_credits=2)
    assert used_by(world, new) == (2, 0)


def test_keys_of_which_one_replaces_the_other_share_a_budget_that_is_set_later(
    world: World,
) -> None:
    old = make_key(world)
    new = replace_key(world, old)
    limit_key(world, old, monthly_credits=2)
    limit_key(world, new, monthly_credits=2)
    accept(world, old)
    world.finish(world.claim())
    assert used_by(world, new) == (2, 0)


@pytest.mark.parametrize("kind", ["job", "group", "batch", "retry", "operator"])
def test_a_job_of_a_key_whose_record_is_gone_counts_for_the_key_that_replaced_it(
    world: World, kind: str
) -> None:
    first = make_key(world)
    second = replace_key(world, first)
    made = world.new_job(credits=2.0, api_key=second)
    if kind == "group":
        group = world.together(1, credits=2.0, api_key=second)
        world.store.run(job_submission.accept_group(group, not_after_ms=10**15))
    elif kind == "batch":
        world.batch(made)
    elif kind == "retry":
        job_id = accept(world, first)
        world.cancel(job_id)
        assert isinstance(rerun(world, job_id, second), Job)
    else:
        job_id = accept(world, second)
    third = replace_key(world, second)
    limit_key(world, third, monthly_credits=4)
    world.client.delete(keys.api_key(second))  # as 30 days after its end
    if kind == "operator":
        world.cancel(job_id)
        call = bulk_transition(operator(), "rerun", [job_id], deadline_seconds=60, query={})
        assert world.store.run(call).moved == 1
    world.finish(world.claim())
    assert used_by(world, third) == (2, 0)


def test_a_batch_is_paid_by_its_key_or_refused_whole(world: World) -> None:
    key = make_key(world, monthly_credits=5)
    made = [world.new_job(credits=2.0, api_key=key) for _ in range(3)]
    batch_id = world.stage(made[:1], made[1:2])
    assert used_by(world, key) == (0, 0)  # a stage is only asked for
    call = batches.stage_jobs(batch_id, tenant="acme", number=2, jobs=made[2:])
    answer = world.store.run(call)
    assert isinstance(answer, job_submission.NotAccepted)
    assert budget_of(answer.detail).scope is BudgetScope.KEY
    world.commit(batch_id, 2)
    world.advance_batch(batch_id)
    assert used_by(world, key) == (0, 4)
    world.finish(world.claim())
    assert used_by(world, key) == (2, 2)
    world.cancel(made[0].id)
    world.cancel(made[1].id)
    assert used_by(world, key) == (2, 0)


def test_a_budget_of_a_key_that_is_set_before_the_commit_takes_nothing_back(world: World) -> None:
    key = make_key(world)
    batch_id = world.stage([world.new_job(credits=2.0, api_key=key)])
    limit_key(world, key, monthly_credits=10)
    world.commit(batch_id, 1)
    world.advance_batch(batch_id)
    assert used_by(world, key) == (0, 0)
    world.finish(world.claim())
    assert used_by(world, key) == (2, 0)


def test_a_group_of_jobs_is_paid_by_its_key_or_refused_whole(world: World) -> None:
    key = make_key(world, monthly_credits=5)
    for body, count, is_accepted in (("a", 3, False), ("b", 2, True)):
        group = world.together(count, body=body, credits=2.0, api_key=key)
        answer = world.store.run(job_submission.accept_group(group, not_after_ms=10**15))
        assert isinstance(answer, job_submission.Accepted) is is_accepted
    assert used_by(world, key) == (0, 4)


def test_a_dry_run_says_that_the_budget_of_the_key_is_spent(world: World) -> None:
    key = make_key(world, monthly_credits=0)
    found = world.store.run(dry_run.dry_run(world.new_job(credits=2.0, api_key=key)))
    assert found.refusal is not None
    assert budget_of(found.refusal.detail).scope is BudgetScope.KEY


def test_limits_of_a_key_can_be_changed_and_removed_at_once(world: World) -> None:
    key = make_key(world)
    changed = limit_key(world, key, monthly_credits=0, requests_per_minute=5)
    assert (changed.monthly_credits, changed.requests_per_minute) == (0, 5)
    refused(world, api_key=key)
    assert limit_key(world, key, monthly_credits=None).monthly_credits is None
    accept(world, key)
    other = api_keys.set_key_limits(operator(), "other", key, {"monthly_credits": 1})
    assert world.store.run(other) is None


# rates of a key -------------------------------------------------------------------------------


def test_the_tighter_of_two_rates_counts_and_is_told(world: World) -> None:
    world.limit(requests_per_minute=3)
    key = make_key(world, requests_per_minute=2)
    first = ask(world, api_key=key)
    assert isinstance(first, job_submission.Accepted)
    assert first.rate is not None
    assert (first.rate.limit, first.rate.left) == (2, 1)
    ask(world, api_key=key)
    too_fast = ask(world, api_key=key)
    assert isinstance(too_fast, job_submission.NotAccepted)
    assert (too_fast.reason, too_fast.detail) == ("too_fast", "key 2")
    other = ask(world, api_key=make_key(world, requests_per_minute=2))
    assert isinstance(other, job_submission.Accepted)
    assert other.rate is not None
    assert (other.rate.limit, other.rate.left) == (3, 0)
    too_fast = ask(world)
    assert isinstance(too_fast, job_submission.NotAccepted)
    assert (too_fast.reason, too_fast.detail) == ("too_fast", "tenant 3")
    found = world.store.run(read_usage("acme", days=1, api_key=key))
    assert found.rate is not None
    assert (found.rate.left, found.limits.key_requests_per_minute) == (0, 2)


# thresholds -----------------------------------------------------------------------------------


def spend(world: World, key: str | None = None, jobs: int = 1) -> None:
    for _ in range(jobs):
        accept(world, key)
        world.finish(world.claim())


def test_each_threshold_is_reported_once_in_a_month(world: World) -> None:
    world.limit(monthly_credits=10)
    seen: list[list[int]] = []
    for _ in range(5):
        spend(world)
        seen.append([threshold for _, _, threshold in crossed(world)])
    assert seen == [[], [], [50], [80], [100]]
    assert crossed(world) == []
    world.limit(monthly_credits=1000)
    world.limit(monthly_credits=10)
    assert crossed(world) == []
    turn_the_month(world)
    spend(world, jobs=3)
    assert crossed(world) == [(BudgetScope.TENANT, BudgetPeriod.MONTH, 50)]


def test_a_call_that_passes_several_thresholds_reports_each(world: World) -> None:
    world.limit(daily_credits=2)
    spend(world)
    assert [threshold for _, _, threshold in crossed(world)] == [50, 80, 100]


def test_a_limit_that_is_set_below_what_is_used_reports_at_once(world: World) -> None:
    key = make_key(world)
    spend(world, key, jobs=4)
    world.limit(daily_credits=10)
    assert crossed(world) == [
        (BudgetScope.TENANT, BudgetPeriod.DAY, 50),
        (BudgetScope.TENANT, BudgetPeriod.DAY, 80),
    ]
    limit_key(world, key, monthly_credits=16)
    (found,) = swept(world)
    assert (found.tenant, found.key_id, found.threshold) == ("acme", key, 50)
    assert (found.budget.used, found.budget.limit) == (8, 16)


def test_a_checkpoint_that_is_sent_twice_crosses_once(world: World) -> None:
    key = make_key(world, monthly_credits=4)
    accept(world, key)
    held = world.call(world.claim())
    for _ in range(2):
        world.checkpoint(held)
    assert crossed(world) == [(BudgetScope.KEY, BudgetPeriod.MONTH, 50)]


def test_operators_see_budgets_with_the_threshold_that_was_reached(world: World) -> None:
    world.limit(daily_credits=4, monthly_credits=100)
    key = make_key(world, monthly_credits=2)
    spend(world, key)
    (tenant,) = world.store.run(read_tenant("acme"))
    assert [(one.period, one.used, one.threshold) for one in tenant.budgets] == [
        (BudgetPeriod.DAY, 2, 50),
        (BudgetPeriod.MONTH, 2, None),
    ]
    listed = world.store.run(api_keys.list_api_keys("acme"))
    assert listed is not None
    assert [(one.left, one.threshold) for one in listed[0].budgets] == [(0, 100)]


# costs ----------------------------------------------------------------------------------------


def test_a_key_without_limits_costs_an_accept_and_a_claim_no_command(world: World) -> None:
    key = make_key(world)
    costs = []
    for one in (None, key, None, key):
        before = _commands(world)
        accept(world, one)
        after_accept = _commands(world)
        held = world.claim()
        costs.append((after_accept - before, _commands(world) - after_accept))
        world.finish(held)
    assert costs[2] == costs[3]  # the first two have found an empty Redis
    make_key(world, monthly_credits=1)  # from now on the tenant's keys are read
    before = _commands(world)
    accept(world, key)
    assert _commands(world) - before == costs[3][0] + 1


def _commands(world: World) -> int:
    return sum(one["calls"] for one in world.client.info("commandstats").values())
