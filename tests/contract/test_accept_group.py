"""The jobs of one request: all or none, and a retry of it joins what an earlier try made."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from shared.store import job_submission, keys
from tests.support.queue_invariants import assert_true
from tests.support.store import FAR, World

ProviderResult = job_submission.Accepted | job_submission.JoinedAttempt | job_submission.NotAccepted


@pytest.fixture
def world(empty_redis_url: str) -> Iterator[World]:
    with closing(World(empty_redis_url)) as world:
        yield world


def ask(world: World, count: int = 2, **how: Any) -> tuple[job_submission.JobGroup, ProviderResult]:
    asked = world.together(count, **how)
    return asked, world.store.run(job_submission.accept_group(asked, not_after_ms=FAR))


def ids_of(asked: job_submission.JobGroup) -> tuple[str, ...]:
    return tuple(job.id for job in asked.jobs)


def end(world: World, asked: job_submission.JobGroup, *, answered: bool) -> None:
    world.store.run(job_submission.close_group(asked, ids_of(asked), answered=answered))


def test_all_are_queued_in_their_order(world: World) -> None:
    asked, answer = ask(world, 3)
    assert isinstance(answer, job_submission.Accepted)
    assert tuple(world.claim().job.id for _ in range(3)) == ids_of(asked)
    assert_true(world)


def test_none_is_queued_where_not_all_have_room(world: World) -> None:
    world.client.hset(keys.tenant("acme"), "max_queued", "3")
    ask(world, 2)
    _, answer = ask(world, 2)
    assert answer == job_submission.NotAccepted("tenant_full", "2")
    assert world.client.zcard(keys.tenant_jobs("acme")) == 2
    assert isinstance(ask(world, 1)[1], job_submission.Accepted)


def test_together_they_are_one_request_and_promise_the_credits_of_all(world: World) -> None:
    world.limit(requests_per_minute=3, daily_credits=7)
    asked, answer = ask(world, 3, credits=2.0)
    assert isinstance(answer, job_submission.Accepted)
    assert answer.rate == job_submission.Rate(3, 2, 60)
    assert world.client.hget(keys.reserved_credits(), "acme") == "6"
    world.cancel(asked.jobs[0].id)
    assert world.client.hget(keys.reserved_credits(), "acme") == "4"
    assert_true(world)


def test_a_retry_that_joins_costs_nothing(world: World) -> None:
    world.limit(requests_per_minute=1, daily_credits=4)
    first, _ = ask(world, credits=2.0)
    end(world, first, answered=False)
    assert ask(world, credits=2.0, is_retry=True)[1] == job_submission.JoinedAttempt(ids_of(first))
    assert world.client.hget(keys.reserved_credits(), "acme") == "4"
    assert world.client.llen(keys.request_times("acme")) == 1


@pytest.mark.parametrize(
    ("limits", "why"),
    [({"daily_credits": 5}, "budget_spent"), ({"requests_per_minute": 1}, "too_fast")],
)
def test_all_are_refused_where_the_tenant_has_used_up_its_own(
    world: World, limits: dict[str, Any], why: str
) -> None:
    world.limit(**limits)
    ask(world, 2, credits=2.0)
    _, answer = ask(world, 2, credits=2.0)
    assert isinstance(answer, job_submission.NotAccepted)
    assert answer.reason == why
    assert answer.wait_seconds
    assert world.client.zcard(keys.tenant_jobs("acme")) == 2


def test_a_late_request_makes_nothing(world: World) -> None:
    late = job_submission.accept_group(world.together(2), not_after_ms=1)
    assert world.store.run(late) == job_submission.NotAccepted("late")
    assert world.client.zcard(keys.tenant_jobs("acme")) == 0


def test_a_first_try_never_joins(world: World) -> None:
    end(world, ask(world)[0], answered=False)
    assert isinstance(ask(world)[1], job_submission.Accepted)


def test_a_retry_joins_what_was_left_each_once_the_oldest_first(world: World) -> None:
    first, second = ask(world)[0], ask(world)[0]
    end(world, second, answered=False)
    end(world, first, answered=False)
    joined = [ask(world, is_retry=True)[1] for _ in range(2)]
    assert joined == [
        job_submission.JoinedAttempt(ids_of(first)),
        job_submission.JoinedAttempt(ids_of(second)),
    ]


def test_a_retry_joins_what_nobody_has_answered_though_nobody_said_so(world: World) -> None:
    """Its process may have been killed under it."""
    first, _ = ask(world)
    assert ask(world, is_retry=True)[1] == job_submission.JoinedAttempt(ids_of(first))


def test_a_retry_of_what_was_refused_has_jobs_of_its_own(world: World) -> None:
    """Others that ask the same are waited for by others."""
    ask(world)
    world.client.hset(keys.tenant("acme"), "max_queued", "2")
    assert isinstance(ask(world)[1], job_submission.NotAccepted)
    world.client.hdel(keys.tenant("acme"), "max_queued")
    assert isinstance(ask(world, is_retry=True)[1], job_submission.Accepted)


def test_what_was_answered_is_not_joined(world: World) -> None:
    end(world, ask(world)[0], answered=True)
    assert isinstance(ask(world, is_retry=True)[1], job_submission.Accepted)


def test_another_body_or_tenant_is_not_joined(world: World) -> None:
    end(world, ask(world)[0], answered=False)
    assert isinstance(ask(world, is_retry=True, body="other")[1], job_submission.Accepted)
    assert isinstance(ask(world, is_retry=True, tenant="other")[1], job_submission.Accepted)


def test_what_was_forgotten_is_not_joined(world: World) -> None:
    first, _ = ask(world, 1)
    end(world, first, answered=False)
    world.cancel(first.jobs[0].id)
    world.delete_job(first.jobs[0].id)
    assert isinstance(ask(world, 1, is_retry=True)[1], job_submission.Accepted)


def test_a_key_gives_the_same_jobs_and_refuses_another_body(world: World) -> None:
    key: dict[str, Any] = {"idempotency_key": "k", "fingerprint": "f"}
    first, _ = ask(world, **key)
    assert ask(world, **key)[1] == job_submission.JoinedAttempt(ids_of(first))
    other = ask(world, idempotency_key="k", fingerprint="g")[1]
    assert other == job_submission.NotAccepted("reused", first.jobs[0].id)


def test_a_call_that_is_sent_twice_answers_the_same(world: World) -> None:
    first = world.together(2)
    call = job_submission.accept_group(first, not_after_ms=FAR)
    assert world.store.run(call) == world.store.run(call)
    end(world, first, answered=False)
    end(world, ask(world)[0], answered=False)
    again = job_submission.accept_group(world.together(2, is_retry=True), not_after_ms=FAR)
    assert [world.store.run(again) for _ in range(2)] == [
        job_submission.JoinedAttempt(ids_of(first))
    ] * 2
