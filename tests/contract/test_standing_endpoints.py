"""Standing endpoints: each gets the events of all jobs that name no webhook of their own."""

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import pytest

from shared.batches import BatchSpec
from shared.jobs import DeliveryState
from shared.store import deliveries, delivery_log, endpoints, erasures, keys
from shared.store.endpoints import EndpointSettings
from tests.contract.test_bulk import audit_context
from tests.contract.test_delivery_log import entry, listed, redeliver, settle, state
from tests.support.queue_invariants import assert_true
from tests.support.store import FAR, World

ENDS = ("job.succeeded", "job.failed", "job.canceled")
ALL = ("job.started", *ENDS, "batch.completed")


def subscribe(
    world: World, name: str = "a", events: Sequence[str] = ENDS, tenant: str = "acme", **how: str
) -> str:
    """Create a standing endpoint at a host of this name; return its id."""
    return world.store.run(
        endpoints.ensure_endpoint(
            tenant,
            api_key="",
            url=f"https://{name}.example/hook{how.pop('query', '')}",
            host=f"{name}.example",
            settings=EndpointSettings(events=events, **how),  # type: ignore[arg-type]  # texts
        )
    )


def update(world: World, endpoint_id: str, settings: EndpointSettings, tenant: str = "acme") -> str:
    return world.store.run(endpoints.update_endpoint(endpoint_id, tenant=tenant, settings=settings))


def delete(world: World, endpoint_id: str, tenant: str = "acme", most: int = 99) -> str:
    return world.store.run(endpoints.delete_endpoint(endpoint_id, tenant=tenant, most=most))


def read(world: World, endpoint_id: str, tenant: str = "acme") -> endpoints.Endpoint | None:
    return world.store.run(endpoints.read_endpoint(endpoint_id, tenant=tenant))


def written(world: World) -> list[tuple[str, str]]:
    """Return type and host of every delivery."""
    return sorted((one.type, one.host) for one in listed(world).entries)


def sent(world: World) -> list[deliveries.Delivery]:
    """Deliver all that can be sent."""
    found = []
    while isinstance(held := world.claim_delivery(), deliveries.Delivery):
        found.append(held)
        settle(world, held, "delivered")
    return found


def test_each_event_is_written_once_to_each_endpoint_that_is_subscribed_to_it(world: World) -> None:
    subscribe(world, "all", ALL)
    subscribe(world, "ends")
    subscribe(world, "failures", ["job.failed"])
    job_id = world.accept()
    world.release(world.claim())
    world.retry(world.claim())
    held = world.checkpoint(world.call(world.claim()))
    world.succeed(held)
    world.succeed(held)
    assert written(world) == [
        ("job.started", "all.example"),
        ("job.succeeded", "all.example"),
        ("job.succeeded", "ends.example"),
    ]
    ids = {one.id for one in listed(world).entries}
    assert len(ids) == 3
    assert all(one.startswith(f"msg_{job_id[4:]}_1_") for one in ids)
    assert {one.id for one in listed(world, job_id=job_id).entries} == ids
    assert_true(world)


@pytest.mark.parametrize("wanted", [None, DeliveryState.FAILED])
def test_pages_of_a_job_s_deliveries_have_each_of_them_once(
    world: World, wanted: DeliveryState | None
) -> None:
    for name in "abcdef":
        subscribe(world, name)
    job_id = world.accept()
    world.cancel(job_id)
    for _ in range(6):
        world.pass_a_millisecond()  # they fail later than they were created
        settle(world, world.delivery(), "failed")
    found: list[delivery_log.Entry] = []
    below = None
    while not found or below:
        page = listed(world, job_id=job_id, state=wanted, limit=1, below=below)
        found += page.entries
        below = page.below
        assert below is None or below == delivery_log.Cursor(found[-1].created_at, found[-1].id)
    assert len(found) == len({one.id for one in found}) == 6


@pytest.mark.parametrize("end", ["cancel", "fail", "deadline", "cancel in a batch"])
def test_every_end_of_a_job_is_written(world: World, end: str) -> None:
    subscribe(world)
    if end == "cancel in a batch":
        world.batch(world.new_job())
        world.cancel(world.claim().job.id)
    elif end == "fail":
        world.accept()
        world.fail(world.claim())
    else:
        job_id = world.accept()
        if end == "deadline":
            world.pass_deadline(job_id)
            world.sweep()
        else:
            world.cancel(job_id)
    assert len(written(world)) == 1
    assert_true(world)


def test_a_job_with_a_webhook_of_its_own_goes_there_alone(world: World) -> None:
    subscribe(world)
    webhook = {"url": "https://own.example/", "events": ["job.failed"]}
    world.cancel(world.accept(webhook=webhook, webhook_host="own.example"))
    assert written(world) == []
    world.accept(webhook=webhook, webhook_host="own.example")
    world.fail(world.claim())
    assert written(world) == [("job.failed", "own.example")]
    assert_true(world)


def test_a_job_is_written_to_endpoints_of_its_own_tenant_as_they_are_then(world: World) -> None:
    subscribe(world, "other", tenant="other")
    first, second = world.accept(), world.accept()
    world.cancel(first)
    assert written(world) == []
    subscribe(world)
    world.cancel(second)
    assert written(world) == [("job.canceled", "a.example")]


def test_the_end_of_a_batch_is_written_once_unless_it_names_a_webhook(world: World) -> None:
    subscribe(world, events=["batch.completed"])
    batch_id = world.batch(world.new_job(), world.new_job())
    ids = [world.claim().job.id for _ in range(2)]
    world.cancel(ids[0])
    assert written(world) == []
    world.cancel(ids[1])
    world.again(ids[1])
    world.cancel(ids[1])
    assert written(world) == [("batch.completed", "a.example")]
    held = world.delivery()
    assert held.batch
    assert held.batch.id == batch_id
    settle(world, held, "delivered")
    own = BatchSpec(webhook={"url": "https://own.example/", "events": ["batch.completed"]})
    world.batch(world.new_job(), spec=own, webhook_host="own.example")
    world.cancel(world.claim().job.id)
    assert written(world) == [
        ("batch.completed", "a.example"),
        ("batch.completed", "own.example"),
    ]
    assert_true(world)


def test_it_is_sent_as_the_endpoint_is_set_then(world: World) -> None:
    found = subscribe(world, query="?key=1", payload="slim")
    world.cancel(world.accept())
    settings = EndpointSettings(headers={"X-Token": "t"})
    assert update(world, found, settings) == "ok"
    held = world.delivery()
    assert held.webhook == {
        "url": "https://a.example/hook?key=1",
        "headers": {"X-Token": "t"},
        "payload": "slim",
    }
    one = entry(world, held.id)
    assert one
    assert one.url == "https://a.example/hook?key=1"


def test_a_newer_event_supersedes_older_ones_at_the_same_endpoint_alone(world: World) -> None:
    ids = [subscribe(world, name, ALL) for name in "ab"]
    job_id = world.accept()
    world.claim()
    marks = [one[3:] for one in ids]
    # the first webhook to both fails, and comes again after the second
    for _ in range(2):
        settle(world, world.delivery(), "retry")
    world.cancel(job_id)
    held = [world.delivery(), world.delivery()]
    a = next(one for one in held if one.webhook["url"].startswith("https://a"))
    b = next(one for one in held if one is not a)
    assert {one.type for one in held} == {"job.canceled"}
    settle(world, a, "delivered")
    settle(world, b, "retry")
    for mark in marks:
        world.come_due(f"msg_{job_id[4:]}_1_started_{mark}", "deliveries")
    world.sweep()
    late = sent(world)
    assert [(one.type, one.id[-24:]) for one in late] == [("job.started", marks[1])]
    assert state(world, f"msg_{job_id[4:]}_1_started_{marks[0]}") == "superseded"
    assert_true(world)


def test_a_failing_endpoint_parks_its_own_deliveries_alone(world: World) -> None:
    bad = subscribe(world, "bad")
    subscribe(world, "good")
    for _ in range(7):
        world.cancel(world.accept())
    delivered = 0
    while isinstance(held := world.claim_delivery(), deliveries.Delivery):
        is_bad = held.webhook["url"].startswith("https://bad")
        settle(world, held, "retry" if is_bad else "delivered")
        delivered += not is_bad
    found = read(world, bad)
    assert found
    assert (delivered, found.state, found.pending, found.parked) == (7, "failing", 7, 2)
    assert_true(world)


def test_a_disabled_endpoint_gets_what_it_missed_once_it_is_enabled(world: World) -> None:
    found = subscribe(world)
    for _ in range(2):
        assert update(world, found, EndpointSettings(enabled=False)) == "ok"
    world.cancel(world.accept())
    one = read(world, found)
    assert one
    assert (one.state, one.disabled_reason, one.parked) == ("disabled", "requested", 1)
    # nobody needs to act on what its owner disabled: no alert counts it
    assert not int(str(world.client.hget(keys.counts(), "endpoints_disabled") or 0))
    assert world.claim_delivery() is None
    assert_true(world)
    for _ in range(2):
        assert update(world, found, EndpointSettings(enabled=True)) == "ok"
    assert len(sent(world)) == 1
    assert_true(world)


def test_an_endpoint_that_an_earlier_version_disabled_and_counted_is_uncounted(
    world: World,
) -> None:
    found = subscribe(world)
    assert update(world, found, EndpointSettings(enabled=False)) == "ok"
    # an earlier version counted those that their owner disabled too
    world.client.hdel(keys.endpoint(found), "uncounted")
    world.client.hincrby(keys.counts(), "endpoints_disabled", 1)
    assert update(world, found, EndpointSettings(enabled=True)) == "ok"
    assert world.client.hget(keys.counts(), "endpoints_disabled") == "0"
    assert_true(world)


def hosts(world: World) -> Counter[str]:
    """Count deliveries by host."""
    return Counter(one.host for one in listed(world).entries)


def test_an_endpoint_that_is_deleted_loses_what_is_pending_and_nothing_else(world: World) -> None:
    # given: a settled delivery, one being sent, one that waits for its next attempt, and more
    lost, stays = subscribe(world, "lost"), subscribe(world, "stays")
    world.cancel(world.accept())
    (settled,) = (one.id for one in sent(world) if one.id.endswith(lost[3:]))
    for name in ("own", "lost"):
        webhook = {"url": f"https://{name}.example/own", "events": ["job.canceled"]}
        world.cancel(world.accept(webhook=webhook, webhook_host=f"{name}.example"))
    jobs = [world.accept() for _ in range(4)]
    for job_id in jobs:
        world.cancel(job_id)
    held = [world.delivery() for _ in range(6)]
    settle(world, next(one for one in held if one.id.endswith(lost[3:])), "retry")
    # when
    assert delete(world, lost, "other") == "missing"
    assert delete(world, lost) == "ok"
    assert delete(world, lost) == "missing"
    # then
    assert_true(world)
    world.cancel(world.accept())
    assert hosts(world) == {"lost.example": 2, "stays.example": 6, "own.example": 1}
    one, found = entry(world, settled), read(world, stays)
    assert one
    assert found
    assert (one.url, found.pending) == ("https://lost.example/hook", 5)
    for job_id in jobs:
        world.delete_job(job_id)
    assert_true(world)


@pytest.mark.parametrize("stops", [False, True])
def test_many_pending_deliveries_are_deleted_step_by_step(world: World, *, stops: bool) -> None:
    found = subscribe(world)
    for _ in range(3):
        world.cancel(world.accept())
    assert delete(world, found, most=2) == "more"
    one = read(world, found)
    assert one
    assert (one.events, one.pending) == ((), 1)
    if stops:  # what is left is not sent
        assert world.claim_delivery() is None
    else:
        assert delete(world, found, most=2) == "ok"
    assert read(world, found) is None
    assert listed(world).entries == ()
    assert_true(world)


def test_a_webhook_of_a_job_to_a_deleted_endpoint_is_sent(world: World) -> None:
    found = subscribe(world)
    webhook = {"url": "https://a.example/hook", "events": ["job.canceled"]}
    world.cancel(world.accept(webhook=webhook, webhook_host="a.example"))
    world.cancel(world.accept())
    assert delete(world, found) == "ok"
    one = read(world, found)
    assert one
    assert (one.events, one.pending) == ((), 1)
    assert_true(world)
    assert len(sent(world)) == 1
    assert read(world, found) is None
    assert world.store.run(endpoints.list_endpoints("acme", limit=9)).endpoints == ()
    assert_true(world)


def test_a_deleted_endpoint_with_webhooks_of_jobs_goes_with_the_last_that_is_deleted(
    world: World,
) -> None:
    found = subscribe(world)
    webhook = {"url": "https://a.example/hook", "events": ["job.canceled"]}
    jobs = [world.accept(webhook=webhook, webhook_host="a.example") for _ in range(2)]
    for job_id in jobs:
        world.cancel(job_id)
    settle(world, world.delivery(), "delivered")
    assert delete(world, found) == "ok"
    assert read(world, found)

    world.delete_job(jobs[1])

    assert read(world, found) is None
    assert_true(world)


def test_a_deleted_endpoint_that_is_created_again_in_time_stays(world: World) -> None:
    found = subscribe(world)
    webhook = {"url": "https://a.example/hook", "events": ["job.canceled"]}
    world.cancel(world.accept(webhook=webhook, webhook_host="a.example"))
    assert delete(world, found) == "ok"
    assert subscribe(world) == found

    assert len(sent(world)) == 1

    assert read(world, found)
    assert_true(world)


def test_what_was_sent_to_a_deleted_endpoint_is_sent_again_once_it_is_back(world: World) -> None:
    found = subscribe(world)
    world.cancel(world.accept())
    held = world.delivery()
    settle(world, held, "failed")
    assert delete(world, found) == "ok"
    assert redeliver(world, held.id) == "deleted"
    call = delivery_log.redeliver_any(replace(audit_context(), dedup_token="t"), held.id)
    assert world.store.run(call) == "deleted"
    failed = entry(world, held.id)
    again = delivery_log.redeliver_failed("acme", since=0, until=None, most=9)
    for _ in range(2):
        answer = world.store.run(again)
        assert (answer.looked, answer.count) == (1, 0)
    of_all = delivery_log.redeliver_all(audit_context(), None, since=0, until=FAR, most=9)
    assert world.store.run(of_all) == delivery_log.RedeliveredChunk(looked=1, moved=0, skipped=1)
    assert world.claim_delivery() is None
    assert entry(world, held.id) == failed
    assert_true(world)
    assert subscribe(world) == found
    assert redeliver(world, held.id) == "ok"
    assert [one.id for one in sent(world)] == [held.id]
    assert_true(world)


def test_what_cannot_be_sent_again_keeps_nothing_else_from_it(world: World) -> None:
    found = subscribe(world)
    for _ in range(3):
        world.cancel(world.accept())
        settle(world, world.delivery(), "failed")
    delete(world, found)
    subscribe(world, "b")
    world.cancel(world.accept())
    settle(world, world.delivery(), "failed")
    chunk = delivery_log.redeliver_failed("acme", since=0, until=None, skipped=2, most=2)
    answer = world.store.run(chunk)
    assert (answer.looked, answer.count) == (2, 1)
    assert [one.webhook["url"] for one in sent(world)] == ["https://b.example/hook"]
    assert_true(world)


def test_a_tenant_has_so_many_standing_endpoints_and_may_set_each_again(world: World) -> None:
    ids = [subscribe(world, f"n{number}") for number in range(endpoints.STANDING_MAX)]
    assert subscribe(world, "more") == "full_standing"
    plain = endpoints.ensure_endpoint("acme", api_key="", url="https://p.example", host="p.example")
    wanted = EndpointSettings(events=ENDS)
    assert update(world, world.store.run(plain), wanted) == "full_standing"
    assert subscribe(world, "n3", ["job.failed"]) == ids[3]
    assert update(world, ids[4], wanted) == "ok"
    assert delete(world, ids[5]) == "ok"
    assert subscribe(world, "more").startswith("ep_")
    assert_true(world)


def test_a_standing_endpoint_is_kept_without_deliveries_and_others_expire(world: World) -> None:
    found = subscribe(world)
    job_id = world.accept()
    world.cancel(job_id)
    sent(world)
    world.delete_job(job_id)
    assert read(world, found)
    assert world.client.zscore(keys.endpoint_expiries(), found) is None
    assert_true(world)


def test_nothing_of_it_is_left_of_a_tenant_that_is_deleted(world: World) -> None:
    found, other = subscribe(world), subscribe(world, tenant="other")
    job_ids = [world.accept() for _ in range(2)]
    for job_id in job_ids:
        world.cancel(job_id)
    settle(world, world.delivery(), "delivered")
    for job_id in job_ids:
        world.delete_job(job_id)
    assert world.store.run(erasures.delete_tenant("acme")) == "ok"
    assert world.client.keys(f"*{found}*") == []
    assert read(world, other, "other")
    assert_true(world)


def test_a_standing_endpoint_that_gets_nothing_costs_no_command(empty_redis_url: str) -> None:
    def commands(world: World) -> int:
        return sum(one["calls"] for one in world.client.info("commandstats").values())

    with closing(World(empty_redis_url)) as world:
        costs = []
        for _ in range(2):
            world.accept()  # what the first of all jobs costs besides is not counted
            world.finish(world.claim())
            before = commands(world)
            world.accept()
            world.finish(world.claim())
            costs.append(commands(world) - before)
            subscribe(world, events=["job.failed"])  # of which there will be none
        assert costs[0] == costs[1]


def test_a_webhook_of_a_job_is_sent_again_to_an_endpoint_that_was_deleted(world: World) -> None:
    webhook = {"url": "https://a.example/hook", "events": ["job.canceled"]}
    world.cancel(world.accept(webhook=webhook, webhook_host="a.example"))
    held = world.delivery()
    settle(world, held, "failed")
    (found,) = world.store.run(endpoints.list_endpoints("acme", limit=9)).endpoints
    assert delete(world, found.id) == "ok"
    assert_true(world)
    assert redeliver(world, held.id) == "ok"
    for _ in range(5):
        settle(world, world.delivery(), "retry")
        world.come_due(held.id, "deliveries")
        world.sweep()
    one = read(world, found.id)
    assert one
    assert (one.state, one.pending) == ("failing", 1)
    assert_true(world)
