"""The image of an identical request: found, copied under a name of its own, and owned at once."""

from dataclasses import replace

from shared.jobs import JobSpec
from shared.store import job_submission, keys
from shared.store.dry_run import Reusable, find_reusable
from tests.contract.test_admission import everything, may, refused
from tests.support.store import FAR, IMAGE, World

WEBHOOK = {"url": "https://x", "events": ["job.started", "job.succeeded"]}
NAME = "t/2026/01/01/copy-0"
COPY = f"{NAME}.webp"


def find(world: World, tenant: str = "acme", **how: object) -> Reusable | None:
    return world.store.run(find_reusable(world.new_job(tenant, **how), object_name=NAME))


def done(world: World) -> str:
    job_id = world.accept()
    world.finish(world.claim())
    return job_id


def test_only_the_same_request_of_the_same_tenant_finds_it(world: World) -> None:
    source = done(world)
    found = find(world)
    assert found == Reusable(IMAGE, job_submission.Reused(source, replace(IMAGE, key=COPY)))
    others = (JobSpec("m", {"prompt": "p", "seed": 8}), JobSpec("n", {"prompt": "p", "seed": 7}))
    assert [find(world, spec=spec) for spec in others] == [None, None]
    assert find(world, spec=JobSpec("m", {"seed": 7, "prompt": "p"}, tags=("x",))) == found
    assert find(world, "other") is None


def test_what_is_queued_failed_or_forgotten_has_nothing_to_reuse(world: World) -> None:
    job_id = world.accept()
    assert find(world) is None
    world.fail(world.claim())
    assert find(world) is None
    world.again(job_id)
    world.finish(world.claim())
    assert find(world) is not None
    world.delete_job(job_id)
    assert find(world) is None


def test_what_is_remembered_is_forgotten_with_the_job(world: World) -> None:
    done(world)
    (key,) = world.client.keys("[{]dr}:reuse:*")
    retention_ms = world.settings.record_seconds * 1000
    assert retention_ms - 60_000 < world.client.pttl(key) <= retention_ms


def test_a_copy_that_no_job_owns_is_deleted_in_time(world: World) -> None:
    done(world)
    find(world)
    now = world.client.time()[0] * 1000
    assert world.object_deletions()[COPY] > now + 500_000


def reused(world: World) -> job_submission.NewJob:
    found = find(world)
    assert found is not None
    return world.new_job(
        reused=found.copy, webhook=WEBHOOK, webhook_host="x", credits=2.0, max_position=0
    )


def test_a_reused_image_makes_a_job_that_has_succeeded(world: World) -> None:
    source = done(world)
    world.accept()
    job = reused(world)
    first = world.store.run(job_submission.accept(job, not_after_ms=FAR))
    assert world.store.run(job_submission.accept(job, not_after_ms=FAR)) == first
    queued_job = world.read(job.id)
    assert (queued_job.job.state, queued_job.job.reused_from, queued_job.job.calls) == (
        "succeeded",
        source,
        0,
    )
    assert queued_job.job.image == replace(IMAGE, key=COPY)
    assert [change.state for change in queued_job.job.history] == ["succeeded"]
    assert COPY not in world.object_deletions()
    webhook = world.delivery()
    assert (webhook.type, webhook.job) == ("job.succeeded", queued_job.job)
    assert world.client.exists(keys.reserved_credits()) == 0
    assert world.client.zscore(keys.expiries(), job.id) == queued_job.job.expires_at
    # the copy lives longest, so it is what is found next
    again = find(world)
    assert again is not None
    assert again.copy.source == job.id
    world.delete_job(job.id)
    assert COPY in world.object_deletions()


def test_a_copy_that_the_trash_took_makes_no_job(world: World) -> None:
    done(world)
    job = reused(world)
    world.client.delete(keys.object_deletions())
    before = everything(world)
    answer = world.store.run(job_submission.accept(job, not_after_ms=FAR))
    assert answer == job_submission.NotAccepted("late")
    assert everything(world) == before


def test_nothing_is_set_aside_for_who_will_be_refused_or_answered_again(world: World) -> None:
    done(world)
    world.accept(idempotency_key="k", fingerprint="f")
    assert find(world, idempotency_key="k", fingerprint="f") is None
    may(world, requests_per_minute=0)
    assert find(world) is None
    assert world.object_deletions() == {}
    assert refused(world).reason == "too_fast"


def test_a_spent_budget_and_a_full_queue_do_not_stop_what_costs_nothing(world: World) -> None:
    done(world)
    may(world, daily_credits=0, max_queued=0)
    job = reused(world)
    assert isinstance(
        world.store.run(job_submission.accept(job, not_after_ms=FAR)), job_submission.Accepted
    )
