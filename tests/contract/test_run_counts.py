"""Each run is counted once, at its end, with the calls that may have been billed."""

import threading

import pytest

from shared.errors import LostLease
from shared.jobs import JobSpec
from shared.store import job_submission, keys, transitions
from shared.store.audit import AuditContext
from shared.store.batches import cancel_batch
from shared.store.bulk import bulk_transition
from shared.store.functions import RUN_COMBINATIONS
from shared.store.maintenance import delete_expired
from shared.store.run_counts import Sums, list_run_counts
from tests.support.run_counts import LAST, counted, let_days_pass
from tests.support.store import FAR, IMAGE, World

KEY = "k1"


def accept(world: World, *tags: str, key: str | None = KEY, price: float = 0.1) -> str:
    spec = JobSpec("m", {"prompt": "p", "seed": 7}, tags=tags)
    return world.accept(spec=spec, credits=price, api_key=key)


def by_status(world: World) -> dict[str, tuple[int, int, float]]:
    """Return jobs, calls and credits by status."""
    found: dict[str, Sums] = {}
    for kind, sums in counted(world).items():
        found.setdefault(kind.status, Sums()).add(sums)
    return {name: (one.jobs, one.calls, one.credits) for name, one in found.items()}


def test_a_job_that_has_not_ended_is_not_counted(world: World) -> None:
    accept(world)
    world.checkpoint(world.call(world.claim()))
    assert counted(world) == {}


def test_a_job_is_counted_by_status_model_key_and_tags(world: World) -> None:
    for tags in (("b", "a"), ("a", "b"), ()):
        accept(world, *tags)
        world.finish(world.claim())
    accept(world, key=None)
    world.finish(world.claim())
    found = {(one.status, one.model, one.key, one.tags): n for one, n in counted(world).items()}
    assert found == {
        ("succeeded", "m", KEY, ("a", "b")): Sums(2, 2, 200_000),
        ("succeeded", "m", KEY, ()): Sums(1, 1, 100_000),
        ("succeeded", "m", "", ()): Sums(1, 1, 100_000),
    }


def test_credits_add_up_exactly(world: World) -> None:
    for _ in range(10):
        accept(world)
        world.finish(world.claim())
    assert by_status(world) == {"succeeded": (10, 10, 1.0)}


def test_a_retry_counts_each_run_once_with_its_own_calls(world: World) -> None:
    job_id = accept(world)
    world.retry(world.call(world.claim()), unknown=True)
    world.fail(world.call(world.claim()))
    assert by_status(world) == {"failed": (1, 1, 0.1)}
    world.again(job_id)
    world.fail(world.call(world.claim()))
    assert by_status(world) == {"failed": (2, 1, 0.1)}
    world.again(job_id)
    world.finish(world.claim())
    assert by_status(world) == {"failed": (2, 1, 0.1), "succeeded": (1, 1, 0.1)}


def test_a_call_of_unknown_outcome_that_ends_the_job_counts(world: World) -> None:
    job_id = accept(world)
    for _ in range(2):
        world.call(world.claim())
        world.lose_lease(job_id)
        world.rescue()
    assert by_status(world) == {"failed": (1, 2, 0.2)}


def test_a_canceled_job_counts_the_call_that_may_be_billed(world: World) -> None:
    world.cancel(accept(world))
    assert by_status(world) == {"canceled": (1, 0, 0.0)}
    job_id = accept(world)
    world.call(world.claim())
    world.cancel(job_id)
    assert by_status(world) == {"canceled": (2, 1, 0.1)}
    job_id = accept(world)
    held = world.checkpoint(world.call(world.claim()))
    world.cancel(job_id)
    with pytest.raises(LostLease):
        world.succeed(held)
    assert by_status(world) == {"canceled": (3, 2, 0.2)}


def test_an_end_that_is_sent_twice_counts_once(world: World) -> None:
    accept(world)
    held = world.checkpoint(world.call(world.claim()))
    for _ in range(2):
        world.succeed(held)
    assert by_status(world) == {"succeeded": (1, 1, 0.1)}


def test_three_lost_workers_charge_the_call_whose_record_nobody_settled(world: World) -> None:
    job_id = accept(world)
    for _ in range(3):
        held = world.call(world.claim())
        world.store.run(transitions.record_submitted(held, "record-1"))
        world.lose_lease(job_id)
        world.rescue()
    assert by_status(world) == {"failed": (1, 1, 0.1)}


def test_a_reused_image_is_a_job_without_a_call(world: World) -> None:
    source = accept(world)
    world.finish(world.claim())
    world.client.zadd(keys.object_deletions(), {IMAGE.key: FAR})
    reused = job_submission.Reused(source, IMAGE)
    world.accept(credits=0.1, api_key=KEY, reused=reused)
    assert by_status(world) == {"succeeded": (2, 1, 0.1)}


def test_jobs_of_batches_and_groups_have_the_key_of_their_request(world: World) -> None:
    world.batch(*(world.new_job(api_key="batch", credits=0.1) for _ in range(2)))
    group = world.together(2, api_key="group", credits=0.1)
    world.store.run(job_submission.accept_group(group, not_after_ms=FAR))
    for _ in range(4):
        world.finish(world.claim())
    found = {kind.key: (sums.jobs, sums.calls) for kind, sums in counted(world).items()}
    assert found == {"batch": (2, 2), "group": (2, 2)}


def test_a_canceled_batch_charges_what_its_jobs_were_calling(world: World) -> None:
    batch_id = world.batch(*(world.new_job(credits=0.1) for _ in range(3)))
    world.call(world.claim())
    world.store.run(cancel_batch(batch_id, tenant="acme"))
    world.advance_batch(batch_id)
    assert by_status(world) == {"canceled": (3, 1, 0.1)}


def test_a_bulk_cancel_charges_what_a_job_was_calling(world: World) -> None:
    job_id = accept(world)
    world.call(world.claim())
    operator = AuditContext("op_1", "request-1")
    call = bulk_transition(operator, "cancel", [job_id], deadline_seconds=60, query={})
    assert world.store.run(call).moved == 1
    assert by_status(world) == {"canceled": (1, 1, 0.1)}


def test_a_job_counts_on_the_day_of_its_end(world: World) -> None:
    accept(world)
    world.finish(world.claim())
    accept(world)
    held = world.checkpoint(world.call(world.claim()))
    let_days_pass(world.client, 1)
    world.succeed(held)
    yesterday, today = sorted(counted(world).items(), key=lambda one: one[0].day)
    assert today[0].day == yesterday[0].day + 1
    assert yesterday[1] == today[1] == Sums(1, 1, 100_000)


def test_beyond_a_thousand_combinations_tags_are_counted_together(world: World) -> None:
    key = keys.run_counts("acme", today(world))
    for number in range(3):
        if number == 1:
            world.client.hset(key, "combinations", RUN_COMBINATIONS)
        for tag in ("first", f"tag-{number}"):
            accept(world, tag)
            world.finish(world.claim())
    found = {kind.tags: sums.jobs for kind, sums in counted(world).items()}
    assert found == {("first",): 3, ("tag-0",): 1, ("(other)",): 2}


def today(world: World) -> int:
    seconds, _ = world.client.time()
    return int(seconds) // 86_400


def test_tags_too_long_for_an_index_are_counted_together(world: World) -> None:
    accept(world, *(f"{number}" + "\N{CAMERA}" * 60 for number in range(10)))
    world.finish(world.claim())
    (kind,) = counted(world)
    assert kind.tags == ("(other)",)


def test_a_day_is_kept_for_a_hundred_days_and_leaves_the_index_with_them(world: World) -> None:
    accept(world)
    world.finish(world.claim())
    kept_ms = int(world.client.pttl(keys.run_counts("acme", today(world))))
    assert 99 * 86_400_000 < kept_ms <= 100 * 86_400_000
    let_days_pass(world.client, 99)
    world.store.run(delete_expired(most=10))
    assert len(counted(world)) == 1
    assert first_day(world) == today(world) - 99
    let_days_pass(world.client, 1)
    world.store.run(delete_expired(most=10))
    assert world.client.zcard(keys.counted_days()) == 0
    assert first_day(world) == today(world)


def first_day(world: World) -> int:
    return world.store.run(list_run_counts("acme", first=0, last=LAST)).first_day


def test_the_end_of_a_job_takes_at_most_four_more_commands(world: World) -> None:
    def commands_of_an_end() -> list[str]:
        accept(world, "a")
        held = world.checkpoint(world.call(world.claim()))
        sent: list[str] = []
        begun = threading.Event()

        def watch() -> None:
            with world.client.monitor() as monitor:
                begun.set()
                for command in monitor.listen():
                    text = str(command["command"])
                    if text.endswith("the end"):
                        return
                    if command["client_type"] == "lua" and (
                        "run_counts" in text or "counted_days" in text
                    ):
                        sent.append(text.split(" ", maxsplit=1)[0].upper())

        thread = threading.Thread(target=watch)
        thread.start()
        assert begun.wait(5)
        world.succeed(held)
        world.client.echo("the end")
        thread.join(10)
        return sent

    assert commands_of_an_end() == ["HMGET", "HSET", "PEXPIRE", "ZADD"]
    assert commands_of_an_end() == ["HMGET", "HSET"]
