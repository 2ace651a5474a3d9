"""Which model serves a job that names fallback models, and what follows that model."""

from collections.abc import Sequence
from typing import Any

import pytest

from shared.errors import ErrorCode
from shared.history.search import JobFilter
from shared.jobs import State
from shared.store import job_submission, keys, maintenance, transitions
from shared.store.batches import Committed
from shared.store.dry_run import dry_run
from shared.store.job_queries import Filter, QueuedJob
from shared.store.job_submission import Fallback, NotAccepted
from shared.store.transitions import Signal
from tests.support.archive import restore, retry_job
from tests.support.history import HistoryWorld
from tests.support.queue_invariants import assert_true, hash_of
from tests.support.store import FAR, KEYS, World, list_jobs

GATE = keys.gate()
MINUTE_MS = 60_000


def fallback(model: str, credits_each: float = 0.0) -> Fallback:
    return Fallback(model, {"prompt": "p", "painter": model}, credits_each)


def accept(world: World, *models: str, **changes: Any) -> str:
    """Accept a job of model m with these fallbacks."""
    return world.accept(fallbacks=tuple(map(fallback, models)), **changes)


def now_ms(world: World) -> int:
    seconds, micros = world.client.time()
    return int(seconds) * 1000 + int(micros) // 1000


def make_unavailable(world: World, model: str = "m", why: str = "paused") -> None:
    now = now_ms(world)
    fields = {
        "paused": {f"paused:model:{model}": now},
        "removed": {f"gone:{model}": now},
        "failing": {
            f"hold:provider_down:model:{model}": now + MINUTE_MS,
            f"failing_since:{model}": now - 61_000,
        },
    }
    for name, value in fields[why].items():
        world.client.hset(GATE, name, value)


def models_of(world: World, ids: Sequence[str]) -> list[str]:
    return [world.read(job_id).job.model for job_id in ids]


WHYS = ("paused", "removed", "failing")


@pytest.mark.parametrize("why", WHYS)
def test_waiting_jobs_leave_an_unavailable_model_in_their_order(world: World, why: str) -> None:
    waiting = [accept(world, "b", "c") for _ in range(5)]
    plain = world.accept()
    make_unavailable(world, why=why)
    make_unavailable(world, "b", "paused")

    world.sweep()

    assert models_of(world, waiting) == ["c"] * 5
    job = world.read(waiting[0]).job
    assert (job.spec.model, job.served_model, job.state) == ("m", None, State.QUEUED)
    assert job.spec.input == {"prompt": "p", "painter": "c"}
    assert world.read(plain).job.model == "m"
    assert [world.claim().job.id for _ in range(5)] == waiting
    assert world.read(waiting[0]).job.served_model == "c"
    assert_true(world)


def test_a_model_that_fails_only_since_lately_keeps_its_jobs(world: World) -> None:
    job_id = accept(world, "b")
    make_unavailable(world, why="failing")
    world.client.hset(GATE, "failing_since:m", now_ms(world) - 58_000)
    world.sweep()
    assert models_of(world, [job_id]) == ["m"]

    world.client.hset(GATE, "failing_since:m", now_ms(world) - 61_000)
    world.sweep()
    assert models_of(world, [job_id]) == ["b"]


def test_a_circuit_that_opens_says_since_when_and_forgets_it_at_a_success(world: World) -> None:
    for _ in range(6):
        world.accept()
    held = [world.claim() for _ in range(6)]
    for one in held[:5]:
        world.fail(one, signal=Signal.failed(KEYS[0]))
    since = float(hash_of(world, GATE)["failing_since:m"])
    assert now_ms(world) - since < MINUTE_MS

    world.client.hset(GATE, "probe:provider_down:model:m", 1)
    world.checkpoint(world.call(held[5]))
    assert "failing_since:m" not in hash_of(world, GATE)


def test_a_job_that_moves_keeps_its_rank_among_those_of_the_other_model(world: World) -> None:
    first = world.accept(model="b")
    world.pass_a_millisecond()
    moved = accept(world, "b")
    world.pass_a_millisecond()
    last = world.accept(model="b")
    make_unavailable(world)

    world.sweep()

    assert world.read(moved).rank == 1
    assert [world.claim().job.id for _ in range(3)] == [first, moved, last]
    assert_true(world)


def test_a_job_stays_with_its_fallback_when_its_model_recovers_and_a_new_one_does_not(
    world: World,
) -> None:
    moved = accept(world, "b")
    make_unavailable(world)
    world.sweep()
    world.client.delete(GATE)
    world.sweep()

    assert models_of(world, [moved, accept(world, "b")]) == ["b", "m"]
    make_unavailable(world, "b")
    world.sweep()
    assert models_of(world, [moved]) == ["m"]
    assert_true(world)


def test_what_has_an_answer_or_a_record_or_a_worker_stays_with_its_model(world: World) -> None:
    for _ in range(4):
        accept(world, "b")
    paid, recorded, running, waiting = (world.claim() for _ in range(4))
    world.release(world.checkpoint(world.call(paid)))
    world.store.run(transitions.record_submitted(world.call(recorded), "record-1"))
    world.retry(recorded)
    world.retry(waiting, wait_seconds=60)
    make_unavailable(world)

    world.sweep()

    ids = [held.job.id for held in (paid, recorded, running, waiting)]
    assert models_of(world, ids) == ["m", "m", "m", "b"]
    assert [world.read(job_id).job.served_model for job_id in ids] == ["m", "m", "m", None]
    assert_true(world)
    world.come_due(ids[3])
    world.sweep()
    world.finish(world.claim())
    assert world.claim().job.id == ids[3]
    assert_true(world)


def test_a_job_that_lost_its_worker_leaves_its_model_and_stays_isolated(world: World) -> None:
    job_id = accept(world, "b")
    world.claim(lease_seconds=0)
    world.rescue()
    make_unavailable(world)
    world.sweep()
    held = world.claim()
    assert (held.job.id, held.job.model, held.isolated) == (job_id, "b", True)
    assert_true(world)


def test_a_job_of_which_no_model_is_left_fails_and_others_wait_for_one_that_is_paused(
    world: World,
) -> None:
    gone, waits = accept(world, "b"), accept(world, "b", "c")
    for model in ("m", "b"):
        make_unavailable(world, model, "removed")
    make_unavailable(world, "c", "paused")

    world.sweep()

    assert world.read(gone).job.error_code is ErrorCode.MODEL_UNAVAILABLE
    assert models_of(world, [waits]) == ["c"]
    assert world.read(waits).gate == "paused"
    assert_true(world)


def test_jobs_that_have_to_stay_hold_up_no_others(world: World) -> None:
    # in the order in which the sweep looks
    stay = [accept(world, "a", "k") for _ in range(2)] + [accept(world, "a") for _ in range(3)]
    leave = [accept(world, "b", "c") for _ in range(3)]
    for model in ("m", "a", "b", "k"):
        make_unavailable(world, model)

    world.sweep()

    assert models_of(world, stay) == ["m"] * 5
    assert models_of(world, leave) == ["c"] * 3


@pytest.mark.parametrize("why", WHYS)
def test_a_new_job_goes_to_the_first_available_model_at_once(world: World, why: str) -> None:
    make_unavailable(world, why=why)
    new = world.new_job(fallbacks=(fallback("b"),))
    estimate = world.store.run(dry_run(new))
    assert (estimate.refusal, estimate.gate) == (None, "")

    job_id = accept(world, "b", max_wait_seconds=1.0)
    batch = [world.new_job(fallbacks=(fallback("b"),)) for _ in range(2)]
    world.batch(*batch)

    assert models_of(world, [job_id, *(job.id for job in batch)]) == ["b"] * 3
    assert_true(world)


def test_a_new_job_of_which_every_model_is_removed_is_refused(world: World) -> None:
    for model in ("m", "b"):
        make_unavailable(world, model, "removed")
    new = world.new_job(fallbacks=(fallback("b"),))
    refusal = world.store.run(dry_run(new)).refusal
    assert isinstance(refusal, NotAccepted)
    assert (refusal.reason, refusal.detail) == ("model_gone", "m")


def test_a_retry_begins_with_the_requested_model_again(world: World) -> None:
    make_unavailable(world)
    job_id = accept(world, "b")
    world.fail(world.claim())
    assert world.read(job_id).job.model == "b"

    world.client.delete(GATE)
    world.again(job_id)

    job = world.read(job_id).job
    assert (job.model, job.spec.input) == ("m", {"prompt": "p", "seed": 7})
    assert_true(world)
    world.finish(world.claim())
    assert_true(world)


def test_credits_are_reserved_for_the_dearest_model_and_charged_for_the_one_that_serves(
    world: World,
) -> None:
    fallbacks = (fallback("b", 2.5), fallback("c", 9.0))
    world.accept(credits=1.0, fallbacks=fallbacks)
    assert float(world.client.hget(keys.reserved_credits(), "acme") or 0) == 9
    make_unavailable(world)
    world.sweep()
    world.finish(world.claim())

    assert not world.client.hget(keys.reserved_credits(), "acme")
    day = now_ms(world) // 86_400_000
    assert hash_of(world, keys.usage("acme", day))["credits"] == "2.5"
    counted = hash_of(world, keys.run_counts("acme", day))
    assert [name.split()[:2] for name in counted if name != "combinations"] == [["succeeded", "b"]]
    assert_true(world)


def test_a_list_by_model_finds_the_requested_one(world: World) -> None:
    make_unavailable(world)
    job_id = accept(world, "b")

    def found(model: str) -> list[str]:
        page = world.store.run(list_jobs("acme", Filter(model=model), limit=9, scan_limit=99))
        return [one.job.id for one in page.jobs]

    assert (found("m"), found("b")) == ([job_id], [])


def test_a_list_by_served_model_finds_what_the_jobs_show(world: World) -> None:
    # one for each step of a job
    for _ in range(7):
        accept(world, "b")
    make_unavailable(world)
    world.sweep()
    world.finish(world.claim())
    world.fail(world.call(world.claim()))
    world.fail(world.claim())
    world.call(world.claim())
    world.cancel(world.claim().job.id)
    world.release(world.checkpoint(world.call(world.claim())))

    def found(model: str | None) -> list[QueuedJob]:
        wanted = Filter(served_model=model)
        return [*world.store.run(list_jobs("acme", wanted, limit=9, scan_limit=99)).jobs]

    jobs = {one.job.id: one.job.served_model for one in found(None)}
    assert sorted(jobs.values(), key=str) == [None, None, None, "b", "b", "b", "b"]
    served = [job_id for job_id, model in jobs.items() if model == "b"]
    assert [one.job.id for one in found("b")] == served
    assert found("m") == []


def test_a_staged_batch_is_committed_with_the_models_that_it_was_staged_with(world: World) -> None:
    jobs = [world.new_job(fallbacks=(fallback("b"),)) for _ in range(2)]
    batch_id = world.stage(jobs)
    assert isinstance(world.commit(batch_id, 2), Committed)
    make_unavailable(world)
    world.advance_batch(batch_id)
    assert_true(world)
    world.sweep()
    assert models_of(world, [job.id for job in jobs]) == ["b", "b"]
    assert_true(world)


def test_an_accept_sent_twice_is_one_job_with_one_model(world: World) -> None:
    make_unavailable(world)
    new = world.new_job(fallbacks=(fallback("b"),))
    first, again = (world.store.run(job_submission.accept(new, not_after_ms=FAR)) for _ in range(2))
    assert isinstance(first, job_submission.Accepted)
    assert (first.model, again) == ("b", first)
    assert_true(world)


def test_a_sweep_that_is_sent_twice_changes_a_model_once(world: World) -> None:
    job_id = accept(world, "b", "c")
    make_unavailable(world)
    call = maintenance.sweep("w", lock_seconds=5, lease_seconds=15, most=100)
    for _ in range(2):
        world.store.run(call)
    job = world.read(job_id).job
    assert (job.model, job.version, [change.state for change in job.history]) == (
        "b",
        2,
        [State.QUEUED, State.QUEUED],
    )


def test_a_webhook_has_the_model_and_the_input_of_its_time(world: World) -> None:
    webhook = {"url": "https://a.example/hook", "events": ["job.failed", "job.succeeded"]}
    make_unavailable(world)
    job_id = accept(world, "b", webhook=webhook, webhook_host="a.example")
    world.fail(world.call(world.claim()))
    world.client.delete(GATE)
    world.again(job_id)
    world.finish(world.claim())

    told = []
    for _ in range(2):
        delivery = world.delivery()
        assert delivery.job
        told.append((delivery.job.served_model, delivery.job.spec.input))
        world.settle(delivery, "delivered")

    assert told == [
        ("b", {"prompt": "p", "painter": "b"}),
        ("m", {"prompt": "p", "seed": 7}),
    ]


def test_an_archived_job_keeps_its_models_for_a_retry(history: HistoryWorld) -> None:
    world = history.world
    make_unavailable(world)
    job_id = accept(world, "b")
    world.fail(world.call(world.claim()))
    history.archive()
    archived = history.reader.job(job_id, "acme")
    assert archived
    assert (archived.spec.model, archived.served_model) == ("m", "b")
    assert archived.spec.fallback_models == ("b",)
    for model, found in (("m", []), ("b", [job_id])):
        assert history.reader.job_ids(JobFilter("acme", served_model=model), 9) == found

    assert restore(history, job_id) == "ok"
    world.client.delete(GATE)
    retry_job(world, job_id)

    assert world.read(job_id).job.spec.input == {"prompt": "p", "seed": 7}
    assert_true(world)
