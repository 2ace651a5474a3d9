"""What operators watch: lasting counts, the last hours, workers, what went wrong."""

from collections.abc import Sequence

import pytest

from shared.errors import ErrorCode, ProviderDown
from shared.jobs import AttemptError, Status
from shared.store import bulk, delivery_log, job_queries, keys, maintenance, stats, transitions
from shared.store.audit import AuditContext
from shared.store.functions import SAMPLE_STEPS_MS, SAMPLES_KEPT
from shared.store.job_queries import Filter
from shared.store.stats import Sample, WorkerList
from tests.contract.test_bulk import audit, audit_context
from tests.contract.test_deliveries import accept as accept_told
from tests.contract.test_delivery_log import fail_one
from tests.support.queue_invariants import assert_true
from tests.support.store import World

TEN_SECONDS, _, FIVE_MINUTES = SAMPLE_STEPS_MS
HOUR_MS = 3_600_000


def seen(world: World) -> stats.Overview:
    return world.store.run(stats.read_totals())


def history(world: World, step_ms: int = TEN_SECONDS) -> tuple[Sample, ...]:
    return world.store.run(stats.read_samples(step_ms=step_ms, back_ms=HOUR_MS))


def list_workers(world: World) -> WorkerList:
    return world.store.run(stats.list_workers())


def renew(
    world: World, worker: str, *held: transitions.Claim, queue: str = "generate"
) -> list[str]:
    pairs = [(one.job.id, one.fence) for one in held]
    return world.store.run(
        maintenance.renew(worker, queue=queue, threads=4, lease_seconds=15, held=pairs)
    )


# what came of jobs ----------------------------------------------------------------------------


def test_what_came_of_jobs_is_counted_also_after_they_are_forgotten(world: World) -> None:
    ids = [world.accept() for _ in range(4)]
    world.batch(world.new_job(), world.new_job())
    world.finish(world.claim())
    world.fail(world.claim())
    world.retry(world.claim(), wait_seconds=60)
    world.cancel(ids[3])
    world.again(ids[3])
    for job_id in ids[:2]:
        world.delete_job(job_id)

    now = seen(world)

    assert now.totals == {
        "accepted": 6,
        "started": 3,
        "requeued": 2,
        "succeeded": 1,
        "failed": 1,
        "canceled": 1,
    }
    assert set(now.failed.values()) == {0}


def test_failed_jobs_are_counted_by_code_while_they_are_kept(world: World) -> None:
    world.accept()
    held = world.claim()
    world.fail(held)
    assert seen(world).failed[ErrorCode.PROVIDER_REJECTED] == 1
    world.delete_job(held.job.id)
    assert seen(world).failed[ErrorCode.PROVIDER_REJECTED] == 0


# the last hours -------------------------------------------------------------------------------


def test_one_sweep_of_each_step_keeps_the_counters_and_the_last_sample_is_of_now(
    world: World,
) -> None:
    world.accept()
    world.sweep()
    world.sweep()
    world.accept()
    world.fail(world.claim())

    first, now = history(world)

    assert first.counts["accepted"] == 1
    assert (first.waiting, first.running, first.closed) == (1, 0, None)
    assert (now.counts["accepted"], now.counts["failed"], now.waiting) == (2, 1, 1)
    assert all(len(history(world, step)) == 2 for step in SAMPLE_STEPS_MS)


def test_why_the_gate_was_closed_and_how_old_the_oldest_was_is_kept(world: World) -> None:
    world.accept()
    world.store.run(bulk.pause(audit_context(), "generate"))
    world.sweep()

    kept = history(world)[0]

    assert kept.closed == "paused"
    assert kept.oldest >= 0


def test_the_history_keeps_to_its_time_however_often_it_is_added_to(world: World) -> None:
    old = world.store.run(job_queries.service_stats()).now_ms - (SAMPLES_KEPT + 200) * TEN_SECONDS
    key = keys.samples(TEN_SECONDS)
    for number in range(400):
        world.client.xadd(key, {"accepted": 1}, id=f"{old + number}-0")
    world.sweep()
    assert world.client.xlen(key) <= 101  # whole nodes of a stream go, of a hundred entries each
    assert len(history(world)) == 2


# workers --------------------------------------------------------------------------------------


def test_what_each_worker_holds_is_told_until_it_lets_go(world: World) -> None:
    world.accept("a")
    world.accept("b")
    held, new = world.claim(), world.claim()
    renew(world, "generate@host:7:ab/generate", held)

    told = list_workers(world)

    (worker,) = told.workers
    assert (worker.queue, worker.threads, worker.name) == (
        *("generate", 4),
        "generate@host:7:ab/generate",
    )
    assert [(one.id, one.state, one.tenant) for one in worker.held] == [
        (held.job.id, "claimed", held.job.tenant)
    ]
    assert worker.held[0].since == held.job.claimed_at
    # of this one no worker has told yet
    assert [one.id for one in told.unreported] == [new.job.id]
    world.finish(held)
    assert list_workers(world).workers[0].held == ()


def test_a_worker_that_left_or_died_is_not_told(world: World) -> None:
    renew(world, "w1/generate")
    renew(world, "w2/deliver", queue="deliver")
    since = list_workers(world).workers[0].since
    renew(world, "w1/generate")
    assert list_workers(world).workers[0].since == since
    world.store.run(maintenance.deregister_worker("w1/generate"))
    assert [one.name for one in list_workers(world).workers] == ["w2/deliver"]
    world.client.hset(keys.workers(), "w2/deliver", "1 4 deliver")
    assert list_workers(world).workers == ()
    world.sweep()
    assert world.client.exists(keys.worker_leases()) == 0


def test_a_delivery_that_is_sent_is_told_of_its_worker(world: World) -> None:
    world.cancel(accept_told(world, ["job.canceled"]))
    held = world.delivery()
    world.store.run(
        maintenance.renew(
            "w/deliver", queue="deliver", threads=2, lease_seconds=15, held=[(held.id, held.fence)]
        )
    )
    (worker,) = list_workers(world).workers
    assert [(one.id, one.state, one.since) for one in worker.held] == [(held.id, "sending", None)]


# what went wrong ------------------------------------------------------------------------------


def notes(world: World, job_id: str) -> tuple[AttemptError, ...]:
    return world.read(job_id).job.attempt_errors


def test_what_was_said_of_each_attempt_that_went_wrong_is_kept(world: World) -> None:
    job_id = world.accept()
    error = ProviderDown("1min.ai failed.")
    error.evidence = "status 503: " + "ä" * 400
    world.store.run(transitions.requeue(world.claim(), error, transitions.Requeue(0)))
    world.retry(world.claim(), refund_attempt=True)
    world.lose_lease(world.claim().job.id)
    world.rescue()
    world.fail(world.claim())

    kept = notes(world, job_id)

    assert [(one.attempt, one.outcome) for one in kept] == [
        *((1, "retry"), (2, "held"), (2, "lost"), (2, "failed"))
    ]
    assert kept[0].code is ErrorCode.PROVIDER_DOWN
    assert kept[0].excerpt is not None
    assert kept[0].excerpt.startswith("status 503: ää")
    assert len(kept[0].excerpt.encode()) <= 300
    assert (kept[1].excerpt, kept[2].code, kept[2].excerpt) == ("It is down.", None, None)
    assert [one.at for one in kept] == sorted(one.at for one in kept)


def test_of_many_notes_the_last_ten_are_kept_and_a_good_job_has_none(world: World) -> None:
    job_id = world.accept(max_attempts=50)
    for _ in range(13):
        world.retry(world.claim())
    assert [one.attempt for one in notes(world, job_id)] == list(range(4, 14))
    world.finish(world.claim())
    good = world.accept()
    world.finish(world.claim())
    assert notes(world, good) == ()


# jobs and deliveries of all -------------------------------------------------------------------


def found(world: World, tenant: str | None, **marks: object) -> list[str]:
    wanted = Filter(**marks)  # type: ignore[arg-type]
    search = bulk.search_of(tenant, wanted, tuple(Status), limit=50, scan_limit=100)
    return list(world.store.run(bulk.find_ids(search)).ids)


def test_the_jobs_of_a_batch_are_found_among_its_tenants(world: World) -> None:
    world.accept("a")
    batch = world.batch(world.new_job("a"), world.new_job("a"), tenant="a")
    assert len(found(world, "a", batch_id=batch)) == 2
    assert world.batch_state(batch, "*") is not None
    assert world.batch_state(batch, "b") is None
    with pytest.raises(ValueError, match=f"The search for the jobs of {batch} needs its tenant"):
        found(world, None, batch_id=batch)


def deliveries(world: World, **how: object) -> list[str]:
    call = delivery_log.list_deliveries("", limit=50, scan_limit=100, **how)  # type: ignore[arg-type]
    return [one.id for one in world.store.run(call).entries]


def test_deliveries_of_all_tenants_are_listed_and_found_by_host(world: World) -> None:
    first = fail_one(world)
    world.cancel(accept_told(world, ["job.canceled"], tenant="b", host="b.example"), "b")
    second = world.delivery()
    assert deliveries(world) == [second.id, first]
    assert deliveries(world, host="b.example") == [second.id]
    one = world.store.run(delivery_log.read_delivery(second.id, tenant=""))
    assert one is not None
    assert (one.tenant, one.host) == ("b", "b.example")
    assert deliveries(world, job_id=one.subject) == [second.id]


def test_an_operator_sends_one_again_once_and_it_is_noted(world: World) -> None:
    failed = fail_one(world)
    call = delivery_log.redeliver_any(audit_context(), failed)
    assert [world.store.run(call), world.store.run(call)] == ["ok", "ok"]
    again = world.delivery()
    assert again.id == failed
    assert world.store.run(delivery_log.redeliver_any(audit_context(), failed)) == "sending"
    assert world.store.run(delivery_log.redeliver_any(audit_context(), "msg_none")) == "missing"
    assert [(one.action, one.target) for one in audit(world)] == [("delivery.redeliver", failed)]
    assert_true(world)


@pytest.mark.parametrize("tenant", [None, "acme"])
def test_what_failed_is_counted_and_sent_again_piece_by_piece(
    world: World, tenant: str | None
) -> None:
    for _ in range(3):
        fail_one(world)
    count, until = world.store.run(delivery_log.count_failed_deliveries(tenant, since=0))
    assert count == 3
    assert again(world, tenant, until) == [2, 1]
    assert world.store.run(delivery_log.count_failed_deliveries(tenant, since=0))[0] == 0
    assert [one.detail["moved"] for one in audit(world)] == [1, 2]
    assert {one.target for one in audit(world)} == {tenant or "*"}
    assert_true(world)


def test_what_an_older_version_moved_is_not_sent_again(world: World) -> None:
    moved, gone = fail_one(world), "msg_of_a_job_that_was_forgotten"
    world.store.run(delivery_log.redeliver(moved, tenant="acme"))
    world.client.zadd(keys.failed_deliveries(""), {moved: 1, gone: 1})
    piece = delivery_log.redeliver_all(audit_context(), None, since=0, until=9, most=9)
    assert world.store.run(piece) == delivery_log.RedeliveredChunk(looked=2, moved=0, skipped=0)
    assert world.store.run(delivery_log.count_failed_deliveries(None, since=0))[0] == 0


def again(world: World, tenant: str | None, until: int) -> Sequence[int]:
    """Send again two at a time, each piece asked for twice."""
    counts = []
    for word in ("a", "b"):
        who = AuditContext("key-of-an-operator", "request-1", word)
        call = delivery_log.redeliver_all(who, tenant, since=0, until=until, most=2)
        counts.append(world.store.run(call).moved)
        assert world.store.run(call).moved == counts[-1]
    return counts
