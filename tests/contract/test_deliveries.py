"""Webhooks owed: written with the move they tell, sent until settled."""

from dataclasses import replace

import orjson
import pytest

from shared.errors import LostLease
from shared.jobs import EventType, State
from shared.store import deliveries, keys, transitions
from tests.support.queue_invariants import assert_true
from tests.support.store import World

ALL = [kind.value for kind in EventType]


def accept(world: World, events: list[str] = ALL, *, host: str = "example.com", **how: str) -> str:
    webhook = {"url": f"https://{host}/hook", "events": events}
    return world.accept(webhook=webhook, webhook_host=host, **how)


def pending_types(world: World) -> list[str]:
    keys = world.client.keys("[{]dr}:delivery:*")
    return sorted(str(world.client.hget(key, "type")) for key in keys)


def drain(world: World) -> list[deliveries.Delivery]:
    found = []
    while isinstance(delivery := world.claim_delivery(), deliveries.Delivery):
        found.append(delivery)
        world.settle(delivery, "delivered")
    return found


def test_each_type_that_was_asked_for_is_owed_once(world: World) -> None:
    accept(world)
    world.release(world.claim())
    world.retry(world.claim())
    held = world.checkpoint(world.call(world.claim()))
    world.succeed(held)
    world.succeed(held)
    assert pending_types(world) == ["job.started", "job.succeeded"]
    assert world.client.hget(keys.counts(), "webhook_pending") == "2"


@pytest.mark.parametrize("event", ALL)
def test_nothing_is_owed_that_was_not_asked_for(world: World, event: str) -> None:
    accept(world, [event])
    world.finish(world.claim())
    accept(world, [event])
    world.fail(world.claim())
    accept(world, [event])
    world.cancel(world.claim().job.id)
    expected = 3 if event == "job.started" else 1
    assert pending_types(world) == [event] * expected


def test_a_job_without_a_webhook_owes_nothing(world: World) -> None:
    world.accept()
    world.finish(world.claim())
    assert pending_types(world) == []
    assert world.claim_delivery() is None


def test_a_delivery_tells_the_job_as_it_was(world: World) -> None:
    job_id = accept(world)
    world.finish(world.claim())
    started, succeeded = sorted(drain(world), key=lambda one: one.type)
    assert started.job
    assert succeeded.job
    assert (started.type, started.job.state) == ("job.started", State.CLAIMED)
    assert (succeeded.type, succeeded.job.state) == ("job.succeeded", State.SUCCEEDED)
    assert succeeded.job == world.read(job_id).job
    assert [one.state for one in started.job.history] == [State.QUEUED, State.CLAIMED]
    assert started.job.version < succeeded.job.version
    assert started.id == f"msg_{job_id[4:]}_1_started"
    assert (started.attempt, started.fence) == (1, "1")


@pytest.mark.parametrize("end", ["fail", "cancel", "expire", "succeed"])
def test_no_delivery_holds_the_providers_address(world: World, end: str) -> None:
    job_id = accept(world)
    held = world.checkpoint(world.call(world.claim()))
    if end == "cancel":
        world.cancel(job_id)
    elif end == "expire":
        world.pass_deadline(job_id)
        world.sweep()
    else:
        getattr(world, end)(held)
    snapshots = [
        world.client.hget(key, "snapshot") or "" for key in world.client.keys("[{]dr}:delivery:*")
    ]
    assert len(snapshots) == 2
    assert not any("signature=1" in text or "answer" in orjson.loads(text) for text in snapshots)


def test_a_deadline_and_a_lost_worker_owe_a_failure(world: World) -> None:
    expired = accept(world, ["job.failed"])
    world.pass_deadline(expired)
    world.sweep()
    accept(world, ["job.failed"])
    for _ in range(3):
        world.claim(lease_seconds=0)
        world.rescue()
    assert pending_types(world) == ["job.failed"] * 2


def test_the_secret_of_the_tenant_comes_with_it(world: World) -> None:
    world.client.hset(keys.tenant("acme"), "webhook_secret", "whsec_x")
    accept(world)
    world.claim()
    assert world.delivery().secrets == ("whsec_x",)


@pytest.mark.parametrize("word", ["delivered", "failed"])
def test_a_settled_delivery_is_settled_once(world: World, word: str) -> None:
    accept(world)
    world.claim()
    delivery = world.delivery()
    world.settle(delivery, word)
    world.settle(delivery, word)
    key = keys.delivery(delivery.id)
    assert world.client.hget(key, "state") == word
    assert world.client.hget(keys.counts(), "webhook_pending") == "0"
    assert world.client.ttl(key) == -1
    assert len((world.client.hget(key, "log") or "").splitlines()) == 1
    assert world.claim_delivery() is None
    assert_true(world)


def test_a_released_delivery_gives_its_attempt_back(world: World) -> None:
    accept(world)
    world.claim()
    first = world.delivery()
    world.settle(first, "release")
    world.settle(first, "release")
    second = world.delivery()
    assert (second.id, second.attempt) == (first.id, 1)
    assert_true(world)


def test_a_retried_delivery_waits_and_comes_back(world: World) -> None:
    accept(world)
    world.claim()
    first = world.delivery()
    world.settle(first, "retry", wait_seconds=3600)
    world.settle(first, "retry", wait_seconds=3600)
    assert world.claim_delivery() is None
    key = keys.delivery(first.id)
    assert world.client.hget(key, "due")

    world.come_due(first.id, "deliveries")
    world.sweep()

    assert world.client.hget(key, "due") is None
    assert world.delivery().attempt == 2
    assert_true(world)


def test_the_delivery_of_a_lost_sender_is_sent_again_and_the_lost_one_refused(world: World) -> None:
    accept(world)
    world.claim()
    lost = world.delivery(lease_seconds=0)
    assert world.rescue().rescued == ("delivery",)
    with pytest.raises(LostLease):
        world.settle(lost, "delivered")
    again = world.delivery()
    assert (again.id, again.attempt) == (lost.id, 2)
    with pytest.raises(LostLease):
        world.settle(lost, "delivered")
    assert_true(world)


def test_the_same_claim_gets_the_same_delivery(world: World) -> None:
    accept(world)
    accept(world)
    world.claim()
    world.claim()
    assert world.delivery(nonce="mine") == world.delivery(nonce="mine")
    assert world.client.zcard(keys.queue_leases("deliveries")) == 1


def test_one_host_has_so_many_slots_and_keeps_no_other_waiting(empty_redis_url: str) -> None:
    world = World(empty_redis_url, webhook_max_per_host=2)
    for _ in range(5):
        accept(world, host="slow: host")
        world.claim()
    sending = [world.delivery(), world.delivery()]
    assert world.claim_delivery() is None
    accept(world, host="quick")
    world.claim()
    assert drain(world)[0].webhook == {"url": "https://quick/hook", "events": ALL}
    world.settle(sending[0], "delivered")
    assert isinstance(world.claim_delivery(), deliveries.Delivery)
    assert world.claim_delivery() is None
    assert_true(world)
    world.close()


def settle_and_claim(
    world: World, delivery: deliveries.Delivery, *, nonce: str = "n"
) -> deliveries.Settled:
    settle = deliveries.settle_delivery(delivery, "delivered")
    return world.store.run(deliveries.settle_and_claim(settle, nonce, lease_seconds=15))


def test_the_call_that_settles_a_delivery_claims_the_next_one_once(world: World) -> None:
    # given
    for host in ("one", "two"):
        accept(world, host=host)
        world.claim()
    first = world.delivery()
    # when
    settled = settle_and_claim(world, first)
    # then
    assert isinstance(settled.next, deliveries.Delivery)
    assert (settled.is_lost, settled.next.id == first.id) == (False, False)
    assert settle_and_claim(world, first).next == settled.next
    assert world.claim_delivery() is None
    last = settle_and_claim(world, settled.next, nonce="m")
    assert (last.is_lost, last.next) == (False, None)
    assert world.client.hget(keys.counts(), "webhook_pending") == "0"
    assert_true(world)


def test_a_lost_lease_keeps_no_other_delivery_from_being_claimed(world: World) -> None:
    for host in ("one", "two"):
        accept(world, host=host)
        world.claim()
    settled = settle_and_claim(world, replace(world.delivery(), fence="0"))
    assert settled.is_lost
    assert isinstance(settled.next, deliveries.Delivery)


def test_while_deliveries_are_paused_one_is_settled_and_none_claimed(world: World) -> None:
    for host in ("one", "two"):
        accept(world, host=host)
        world.claim()
    held = world.delivery()
    world.client.hset(keys.gate(), "paused:deliver", "1")
    settled = settle_and_claim(world, held)
    assert (settled.is_lost, settled.next) == (False, transitions.Closed("paused", 1.0))
    assert world.client.hget(keys.counts(), "webhook_pending") == "1"


def test_deliveries_can_be_paused(world: World) -> None:
    accept(world)
    world.claim()
    world.client.hset(keys.gate(), "paused:deliver", "1")
    assert world.claim_delivery() == transitions.Closed("paused", 1.0)
    world.client.hdel(keys.gate(), "paused:deliver")
    world.delivery()
