"""What there is no room for is refused before anything is written, and says when to ask again."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.jobs import Priority
from shared.store import job_submission, keys
from tests.support.store import FAR, World

MINUTE_MS = 60_000
#: Long enough that no test lives to see a line fall behind it.
PATIENT = 3600


def ask(
    world: World, tenant: str = "acme", **how: Any
) -> job_submission.Accepted | job_submission.NotAccepted:
    return world.store.run(job_submission.accept(world.new_job(tenant, **how), not_after_ms=FAR))


def refused(world: World, **how: Any) -> job_submission.NotAccepted:
    """Ask, be refused, and see that nothing at all was written."""
    before = everything(world)
    answer = ask(world, **how)
    assert isinstance(answer, job_submission.NotAccepted), answer
    assert everything(world) == before
    return answer


def everything(world: World) -> dict[str, bytes | None]:
    return {str(key): world.client.dump(key) for key in world.client.scan_iter("*")}


def may(world: World, tenant: str = "acme", **limits: float | str) -> None:
    for name, value in limits.items():
        world.client.hset(keys.tenant(tenant), name, value)


def age(world: World, milliseconds: int, tenant: str = "acme") -> None:
    """Let the requests that were let through lie so much further back."""
    key = keys.request_times(tenant)
    for index, told in enumerate(world.client.lrange(key, 0, -1)):
        world.client.lset(key, index, str(int(told) - milliseconds))


# requests a minute ----------------------------------------------------------------------------


def test_of_many_at_once_exactly_so_many_are_let_through(world: World) -> None:
    may(world, requests_per_minute=40)
    start = threading.Barrier(16)

    def burst(_: int) -> list[object]:
        start.wait()
        return [ask(world) for _ in range(10)]

    with ThreadPoolExecutor(16) as threads:
        answers = [answer for some in threads.map(burst, range(16)) for answer in some]
    let_in = [answer for answer in answers if isinstance(answer, job_submission.Accepted)]
    assert len(let_in) == 40
    assert sorted(one.rate.left for one in let_in if one.rate) == list(range(40))
    assert world.client.llen(keys.request_times("acme")) == 40


def test_who_is_too_fast_is_told_when_the_first_of_the_minute_is_over(world: World) -> None:
    may(world, requests_per_minute=2)
    ask(world)
    age(world, 45_000)
    ask(world)
    answer = refused(world)
    assert (answer.reason, answer.detail) == ("too_fast", "tenant 2")
    assert answer.wait_seconds is not None
    assert 0 < answer.wait_seconds <= 15
    assert answer.rate == job_submission.Rate(2, 0, answer.wait_seconds)


def test_what_is_older_than_a_minute_counts_no_more(world: World) -> None:
    may(world, requests_per_minute=2)
    for _ in range(2):
        ask(world)
    age(world, MINUTE_MS)
    answer = ask(world)
    assert isinstance(answer, job_submission.Accepted)
    assert answer.rate is not None
    assert answer.rate.left == 1
    assert world.client.llen(keys.request_times("acme")) == 1


def test_an_accept_sent_twice_and_a_key_used_twice_are_one_request(world: World) -> None:
    may(world, requests_per_minute=2)
    job = world.new_job(idempotency_key="k", fingerprint="f")
    for _ in range(3):
        world.store.run(job_submission.accept(job, not_after_ms=FAR))
    for _ in range(3):
        assert ask(world, idempotency_key="k", fingerprint="f") == job_submission.NotAccepted(
            "replayed", job.id
        )
    assert isinstance(ask(world), job_submission.Accepted)
    assert refused(world).reason == "too_fast"


def test_a_tenant_that_may_ask_for_nothing_is_always_refused(world: World) -> None:
    may(world, requests_per_minute=0)
    answer = refused(world)
    assert (answer.reason, answer.wait_seconds) == ("too_fast", 60)


def test_one_tenants_haste_is_not_anothers(world: World) -> None:
    may(world, requests_per_minute=1)
    ask(world)
    refused(world)
    assert isinstance(ask(world, "other"), job_submission.Accepted)


def test_sending_a_job_again_is_a_request_too(world: World) -> None:
    may(world, requests_per_minute=1)
    job_id = world.accept()
    world.fail(world.claim())
    before = everything(world)
    answer = world.again(job_id)
    assert isinstance(answer, job_submission.NotAccepted)
    assert answer.reason == "too_fast"
    assert everything(world) == before


# queues ---------------------------------------------------------------------------------------


def test_what_a_full_queue_refuses_leaves_nothing(empty_redis_url: str) -> None:
    world = World(empty_redis_url, max_queue=2)
    may(world, max_queued=1)
    world.accept()
    assert refused(world).reason == "tenant_full"
    world.accept("other")
    assert refused(world, tenant="third").reason == "full"
    world.close()


def grow_old(world: World, job_id: str, seconds: int) -> None:
    """Let a queued job have come so much earlier."""
    created = int(world.client.hget(keys.job(job_id), "created") or 0) - seconds * 1000
    world.client.hset(keys.job(job_id), "created", created)
    world.client.zadd(keys.queue_ready("jobs", "acme", "m"), {job_id: created}, xx=True)


def test_a_line_that_is_further_behind_than_the_deadline_takes_no_more(world: World) -> None:
    grow_old(world, world.accept(), 600)
    answer = refused(world, deadline_seconds=300)
    assert answer.reason == "behind"
    assert int(answer.detail) >= 600_000
    assert isinstance(ask(world, deadline_seconds=PATIENT), job_submission.Accepted)


def test_a_line_that_moves_fast_enough_now_is_not_behind(world: World) -> None:
    grow_old(world, world.accept(), 600)
    for _ in range(5):
        world.accept("acme")
    for _ in range(5):
        world.finish(world.claim())
    assert isinstance(ask(world, deadline_seconds=300), job_submission.Accepted)


def test_who_goes_before_the_line_does_not_mind_its_age(world: World) -> None:
    grow_old(world, world.accept(), 200)
    world.client.hset(keys.queue_state("jobs"), "claimed", FAR)  # others are served
    assert refused(world, deadline_seconds=100).reason == "behind"
    urgent = ask(world, deadline_seconds=100, priority=Priority.HIGH)
    assert isinstance(urgent, job_submission.Accepted)


@pytest.mark.parametrize(
    ("first", "priority"), [(Priority.NORMAL, Priority.LOW), (Priority.HIGH, Priority.NORMAL)]
)
def test_a_job_of_a_higher_priority_that_has_just_come_is_no_reason_to_refuse_a_lower_one(
    world: World, first: Priority, priority: Priority
) -> None:
    job_id = world.accept(priority=first)
    assert isinstance(ask(world, deadline_seconds=200, priority=priority), job_submission.Accepted)
    world.client.hincrby(keys.job(job_id), "created", -201_000)
    assert refused(world, deadline_seconds=200, priority=priority).reason == "behind"


def test_where_nobody_is_served_others_are_not_promised_what_cannot_be(world: World) -> None:
    grow_old(world, world.accept(), 600)
    assert refused(world, tenant="other", deadline_seconds=300).reason == "behind"
    world.claim()  # somebody is
    assert isinstance(ask(world, "other", deadline_seconds=300), job_submission.Accepted)


def test_a_quiet_night_is_nothing_to_be_behind_of(world: World) -> None:
    world.accept()
    world.finish(world.claim())
    world.client.hset(keys.queue_state("jobs"), "claimed", 1)
    world.accept("other")
    assert isinstance(ask(world, deadline_seconds=60), job_submission.Accepted)


# fail_fast ------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [0, 1])
def test_a_job_that_would_stand_too_far_back_is_refused(world: World, most: int) -> None:
    for _ in range(2):
        world.accept()
    answer = refused(world, max_position=most)
    assert (answer.reason, answer.detail) == ("too_long", "2")
    assert isinstance(ask(world, max_position=2), job_submission.Accepted)


def test_a_job_that_would_wait_too_long_is_refused_with_the_wait(world: World) -> None:
    for _ in range(10):
        world.accept()
    drain(world, ended=1, busy_ms=10_000)
    answer = refused(world, max_wait_seconds=30)
    assert (answer.reason, answer.detail, answer.wait_seconds) == ("too_long", "10", 100)
    assert isinstance(ask(world, max_wait_seconds=120), job_submission.Accepted)


def drain(world: World, *, ended: float, busy_ms: float) -> None:
    world.client.hset(keys.queue_group("jobs", "acme"), "throughput", f"{ended} {busy_ms} {FAR}")


def test_where_nothing_is_known_only_the_first_in_line_waits_short_enough(world: World) -> None:
    assert isinstance(ask(world, max_wait_seconds=0), job_submission.Accepted)
    assert refused(world, max_wait_seconds=1000).wait_seconds is None


def test_nobody_waits_short_enough_where_all_is_held(world: World) -> None:
    world.client.hset(keys.gate(), "paused:generate", "1")
    assert refused(world, max_wait_seconds=1000).reason == "too_long"
    assert isinstance(ask(world, max_position=0), job_submission.Accepted)
