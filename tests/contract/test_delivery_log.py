"""The delivery log: deliveries, their attempts, redelivery, and what is deleted with the job."""

import itertools
from typing import Any

import pytest

from shared.errors import LostLease
from shared.jobs import DeliveryState
from shared.store import deliveries, delivery_log, keys, maintenance
from tests.contract.test_deliveries import ALL, accept, drain
from tests.support.queue_invariants import assert_true
from tests.support.store import World

_HOSTS = itertools.count()
ATTEMPT = {"number": 1, "at": "t", "seconds": 0.1, "status": 500, "code": "status", "error": ""}


def settle(world: World, held: deliveries.Delivery, word: str, **attempt: Any) -> None:
    note = {**ATTEMPT, "answer": "", **attempt}
    world.store.run(deliveries.settle_delivery(held, word, wait_seconds=60, attempt=note))


def fail_one(world: World) -> str:
    """Let one job end and its delivery fail, each at an endpoint of its own; return its id."""
    world.cancel(accept(world, ["job.canceled"], host=f"{next(_HOSTS)}.example"))
    held = world.delivery()
    settle(world, held, "failed")
    return held.id


def listed(world: World, **how: Any) -> delivery_log.DeliveryPage:
    return world.store.run(
        delivery_log.list_deliveries("acme", **{"limit": 50, "scan_limit": 100, **how})
    )


def entry(world: World, delivery_id: str, tenant: str = "acme") -> delivery_log.Entry | None:
    return world.store.run(delivery_log.read_delivery(delivery_id, tenant=tenant))


def state(world: World, delivery_id: str) -> str:
    found = entry(world, delivery_id)
    assert found
    return found.state.value


def redeliver(world: World, delivery_id: str, tenant: str = "acme") -> str:
    return world.store.run(delivery_log.redeliver(delivery_id, tenant=tenant))


def test_every_attempt_is_kept_and_of_many_the_last_twenty(world: World) -> None:
    world.cancel(accept(world))
    for number in range(1, 24):
        held = world.delivery()
        assert held.attempt == number
        settle(world, held, "retry", number=number)
        world.come_due(held.id, "deliveries")
        world.sweep()
    found = entry(world, held.id)
    assert found
    assert [one["number"] for one in found.attempts] == list(range(4, 24))
    assert (found.attempt, found.state, found.due_at) == (23, DeliveryState.PENDING, None)
    assert found.url == "https://example.com/hook"
    assert_true(world)


def test_deliveries_are_listed_newest_first_page_by_page(world: World) -> None:
    made = [fail_one(world) for _ in range(7)]
    found: list[str] = []
    page = listed(world, limit=3)
    while True:
        found += [one.id for one in page.entries]
        if page.below is None:
            break
        page = listed(world, limit=3, below=page.below)
    # those of one millisecond are in the order of their ids, which is that of their making
    assert found == made[::-1]


@pytest.mark.parametrize("wanted", [None, DeliveryState.FAILED])
def test_deliveries_of_one_moment_are_each_listed_once(
    world: World, wanted: DeliveryState | None
) -> None:
    made = {fail_one(world) for _ in range(5)}
    for key in (keys.deliveries("acme"), keys.failed_deliveries("acme")):
        world.client.zadd(key, dict.fromkeys(made, 1000))
    found: list[str] = []
    page = listed(world, limit=2, state=wanted)
    for _ in range(2):
        found += [one.id for one in page.entries]
        page = listed(world, limit=2, state=wanted, below=page.below)
    found += [one.id for one in page.entries]
    assert sorted(found) == sorted(made)
    assert page.below is None


def test_deliveries_are_found_by_job_and_by_status(world: World) -> None:
    failed = fail_one(world)
    job_id = accept(world)
    world.finish(world.claim())
    drain(world)
    both = [one.type for one in listed(world, job_id=job_id).entries]
    assert both == ["job.succeeded", "job.started"]
    assert [one.id for one in listed(world, state=DeliveryState.FAILED).entries] == [failed]
    assert len(listed(world, state=DeliveryState.DELIVERED).entries) == 2
    assert listed(world, job_id="job_of_nobody").entries == ()
    assert listed(world, job_id=job_id, state=DeliveryState.FAILED).entries == ()


def test_nobody_sees_or_repeats_what_is_anothers(world: World) -> None:
    failed = fail_one(world)
    job_id = f"job_{failed.split('_')[1]}"
    other = delivery_log.list_deliveries("other", limit=9, scan_limit=9, job_id=job_id)
    assert world.store.run(other).entries == ()
    assert entry(world, failed, "other") is None
    assert redeliver(world, failed, "other") == "missing"
    assert state(world, failed) == "failed"


@pytest.mark.parametrize("end", ["delivered", "failed"])
def test_a_delivery_is_sent_again_with_its_id_and_a_schedule_of_its_own(
    world: World, end: str
) -> None:
    world.cancel(accept(world))
    first = world.delivery()
    settle(world, first, end)
    call = delivery_log.redeliver(first.id, tenant="acme")

    assert world.store.run(call) == "ok"
    assert world.store.run(call) == "ok"

    assert_true(world)
    again = world.delivery()
    assert (again.id, again.attempt, again.round_attempt) == (first.id, 2, 1)
    assert redeliver(world, first.id) == "sending"
    settle(world, again, "delivered")
    # a reply that was lost for long sends nothing more
    assert world.store.run(call) == "ok"
    assert world.claim_delivery() is None
    assert_true(world)


def test_one_that_waits_for_its_time_is_sent_now(world: World) -> None:
    world.cancel(accept(world))
    settle(world, world.delivery(), "retry")
    (one,) = listed(world).entries
    assert one.due_at
    assert redeliver(world, one.id) == "ok"
    assert world.delivery().id == one.id
    assert_true(world)


def test_all_that_failed_since_a_time_is_sent_again_in_pieces(world: World) -> None:
    before = fail_one(world)
    world.client.zadd(keys.failed_deliveries("acme"), {before: 1000})
    failed = {fail_one(world) for _ in range(5)}
    sent, until = [], None
    for _ in range(3):
        call = delivery_log.redeliver_failed("acme", since=2000, until=until, most=2)
        piece = world.store.run(call)
        assert world.store.run(call) == piece
        sent.append(piece.count)
        until = piece.until
    assert sent == [2, 2, 1]
    assert state(world, before) == "failed"
    assert_true(world)
    assert {one.id for one in drain(world)} == failed


@pytest.mark.parametrize("where", ["pending", "due", "sending", "failed", "parked", "delivered"])
def test_what_a_job_owed_is_forgotten_with_it(world: World, where: str) -> None:
    job_id = accept(world)
    world.cancel(job_id)
    if where not in {"pending", "parked"}:
        held = world.delivery()
        if where != "sending":
            settle(world, held, "retry" if where == "due" else where)
    if where == "parked":
        settle(world, world.delivery(), "gone")
        redelivered = delivery_log.redeliver_failed("acme", since=0, until=None, most=9)
        world.store.run(redelivered)
        assert world.client.hget(keys.counts(), "webhook_parked") == "1"

    assert world.delete_job(job_id) is True

    assert world.claim_delivery() is None
    assert_true(world)
    gone = [str(key) for key in world.client.keys("*") if "delivery:" in str(key)]
    assert gone == []
    assert not world.client.keys("[{]dr}:deliveries:*")
    # an endpoint that is off stays off for a while
    assert len(world.client.keys("[{]dr}:endpoint:*")) == (where == "parked")
    if where == "sending":
        with pytest.raises(LostLease):
            settle(world, held, "delivered")
    assert world.client.hget(keys.queue_group("deliveries", "example.com"), "running") in {
        None,
        "0",
    }


def test_deliveries_go_when_the_time_of_their_job_is_over(world: World) -> None:
    job_id = accept(world, ALL)
    world.finish(world.claim())
    world.client.zadd(keys.expiries(), {job_id: 1})
    world.store.run(maintenance.delete_expired(most=10))
    assert not world.client.keys("[{]dr}:delivery:*")
    assert_true(world)


def test_an_older_event_of_a_job_is_not_sent_after_a_newer_one(world: World) -> None:
    accept(world)
    world.claim()
    started = world.delivery()
    settle(world, started, "retry")
    world.cancel(f"job_{started.id.split('_')[1]}")
    canceled = world.delivery()
    assert canceled.type == "job.canceled"
    settle(world, canceled, "delivered")

    world.come_due(started.id, "deliveries")
    world.sweep()

    assert world.claim_delivery() is None
    assert state(world, started.id) == "superseded"
    assert_true(world)
    # asked for by its owner it is sent all the same
    assert redeliver(world, started.id) == "ok"
    settle(world, world.delivery(), "delivered")
    assert state(world, started.id) == "delivered"
    assert_true(world)


def test_events_of_one_job_are_sent_one_at_a_time(world: World) -> None:
    job_id = accept(world)
    world.claim()
    started = world.delivery()
    world.cancel(job_id)
    assert world.claim_delivery() is None
    settle(world, started, "delivered")
    (canceled,) = world.client.zrange(keys.queue_due("deliveries"), 0, -1)
    world.come_due(str(canceled), "deliveries")
    world.sweep()
    assert world.delivery().type == "job.canceled"
    assert_true(world)


def test_a_test_event_is_sent_before_the_rest_and_leaves_no_trace(world: World) -> None:
    accept(world)
    world.claim()
    webhook = {"url": "https://example.com/other?x=1", "events": []}
    call = delivery_log.send_test(
        "msg_t", tenant="acme", host="example.com", webhook=webhook, data={"id": "msg_t"}
    )
    world.store.run(call)
    world.store.run(call)
    held = world.delivery()
    assert (held.id, held.is_test, held.webhook, held.job) == ("msg_t", True, webhook, None)
    assert held.data == {"id": "msg_t"}
    settle(world, held, "failed")
    assert state(world, "msg_t") == "failed"
    assert redeliver(world, "msg_t") == "missing"
    assert "msg_t" not in {one.id for one in listed(world).entries}
    assert len(world.client.keys("[{]dr}:endpoint:*")) == 1
    assert 0 < world.client.pttl(keys.delivery("msg_t")) <= 600_000
    world.client.delete(keys.delivery("msg_t"))
    assert_true(world)


def test_a_test_event_that_nobody_took_in_time_stands_in_nobodys_way(world: World) -> None:
    hook = {"url": "https://example.com/hook", "events": []}
    for number in range(3):
        call = delivery_log.send_test(
            f"msg_{number}", tenant="acme", host="example.com", webhook=hook, data={}
        )
        world.store.run(call)
        world.client.delete(keys.delivery(f"msg_{number}"))
    accept(world)
    world.claim()
    assert world.delivery().type == "job.started"
    assert_true(world)
