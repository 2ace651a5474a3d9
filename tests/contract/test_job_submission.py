"""What is accepted once stays one job, and what is refused leaves nothing."""

import pytest

from shared.jobs import JobSpec, Priority
from shared.store import job_queries, job_submission, keys
from tests.support.store import FAR, World


def ask(
    world: World, job: job_submission.NewJob
) -> job_submission.Accepted | job_submission.NotAccepted:
    return world.store.run(job_submission.accept(job, not_after_ms=FAR))


def test_an_accept_sent_twice_is_one_job_and_one_answer(world: World) -> None:
    world.accept()
    job = world.new_job(idempotency_key="k", fingerprint="f")
    first = ask(world, job)

    assert ask(world, job) == first
    assert first == job_submission.Accepted(world.read(job.id).job.created_at, 1, model="m")
    assert world.client.zcard(keys.tenant_jobs("acme")) == 2


def test_a_late_accept_is_refused_and_leaves_nothing(world: World) -> None:
    job = world.new_job(idempotency_key="k", fingerprint="f")
    answer = world.store.run(job_submission.accept(job, not_after_ms=1))
    assert answer == job_submission.NotAccepted("late")
    assert world.client.dbsize() == 0


def test_an_accept_that_was_in_time_is_still_told_when_asked_late(world: World) -> None:
    job = world.new_job()
    first = ask(world, job)
    assert world.store.run(job_submission.accept(job, not_after_ms=1)) == first


def test_the_same_key_and_body_is_the_same_job(world: World) -> None:
    first = world.accept(idempotency_key="k", fingerprint="f")
    again = ask(world, world.new_job(idempotency_key="k", fingerprint="f"))
    assert again == job_submission.NotAccepted("replayed", first)


def test_the_same_key_and_another_body_is_refused(world: World) -> None:
    first = world.accept(idempotency_key="k", fingerprint="f")
    again = ask(world, world.new_job(idempotency_key="k", fingerprint="g"))
    assert again == job_submission.NotAccepted("reused", first)


def test_a_key_whose_job_was_deleted_says_so(world: World) -> None:
    first = world.accept(idempotency_key="k", fingerprint="f")
    world.client.delete(keys.job(first))
    again = ask(world, world.new_job(idempotency_key="k", fingerprint="f"))
    assert again == job_submission.NotAccepted("gone", first)


def test_tenants_do_not_share_idempotency_keys(world: World) -> None:
    world.accept(idempotency_key="k", fingerprint="f")
    world.accept("other", idempotency_key="k", fingerprint="g")


def test_a_full_queue_takes_no_more_and_takes_again(empty_redis_url: str) -> None:
    world = World(empty_redis_url, max_queue=3)
    jobs = [world.accept(tenant) for tenant in ("a", "b", "c")]
    assert ask(world, world.new_job("d")) == job_submission.NotAccepted("full", "3")
    world.cancel(jobs[1], "b")
    world.accept("d")
    world.close()


def test_a_tenants_own_limit_counts_what_it_has_queued(world: World) -> None:
    world.limit(max_queued=2)
    world.accept()
    world.accept()
    assert ask(world, world.new_job()) == job_submission.NotAccepted("tenant_full", "2")
    assert world.claim().job.tenant == "acme"
    world.accept("other")
    world.accept()
    world.accept("other")


@pytest.mark.parametrize("tenant", ["a b", "a:b", "ä-ö", "%d%1", "{x}", "'; --", "0", "a\nb"])
def test_odd_names_of_tenants_do_no_harm(world: World, tenant: str) -> None:
    host = f"[::1]:80 {tenant}"
    hook = {"url": "https://x", "events": ["job.succeeded"]}
    job_id = world.accept(tenant, webhook=hook, webhook_host=host)
    world.finish(world.claim())
    assert world.read(job_id, tenant).job.state == "succeeded"
    world.settle(world.delivery(), "delivered")
    assert world.client.zcard(keys.queue_leases("deliveries")) == 0
    assert not world.client.exists(keys.host_slots(host))


def test_many_tags_and_large_numbers_are_kept(world: World) -> None:
    spec = JobSpec("m", {"prompt": "%1 ]====] \0 \n\u2028", "seed": 2**63}, tags=("a:b", "%s", ""))
    job_id = world.accept(spec=spec, deadline_seconds=10**9, max_attempts=2**31)
    job = world.claim().job
    assert (job.id, job.spec, job.max_attempts) == (job_id, spec, 2**31)
    assert job.deadline_at == job.created_at + 10**12
    assert world.client.zscore(keys.deadlines(), job_id) == job.deadline_at
    assert world.client.zscore(keys.jobs_by("acme", "tag", "a:b"), job_id) == 0


def test_another_tenants_job_is_neither_read_nor_canceled(world: World) -> None:
    job_id = world.accept()
    assert world.store.run(job_queries.read_job(job_id, tenant="other")) is None
    assert world.cancel(job_id, "other") is None
    assert world.read(job_id).job.state == "queued"


@pytest.mark.parametrize("priority", list(Priority))
def test_a_rank_counts_what_goes_before(world: World, priority: Priority) -> None:
    for _ in range(3):
        world.accept()
    ahead = {Priority.HIGH: 0, Priority.NORMAL: 3, Priority.LOW: 3}[priority]
    answer = ask(world, world.new_job(priority=priority))
    assert isinstance(answer, job_submission.Accepted)
    assert answer.rank == ahead
