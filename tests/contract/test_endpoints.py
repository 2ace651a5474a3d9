"""How receivers are: slowed, switched off, well again; and which secrets sign for them."""

import time
from typing import Any

import pytest

from shared.store import deliveries, delivery_log, endpoints, events, keys, maintenance
from shared.store.functions import ENDPOINT_PROBE_MS
from tests.contract.test_bulk import audit, audit_context
from tests.contract.test_deliveries import accept
from tests.contract.test_delivery_log import redeliver, settle, state
from tests.support.queue_invariants import assert_true
from tests.support.store import World

FAILURES = 5


def end_jobs(world: World, count: int = 1, tenant: str = "acme", **how: Any) -> list[str]:
    """Let jobs end; return the ids of what is owed, in order."""
    found = []
    for _ in range(count):
        job_id = accept(world, ["job.canceled"], tenant=tenant, **how)
        world.cancel(job_id, tenant)
        found.append(f"msg_{job_id[4:]}_1_canceled")
    return found


def fail(world: World, count: int = FAILURES, word: str = "retry") -> None:
    """Let the next attempts fail; what is tried again is so in a minute."""
    for _ in range(count):
        settle(world, world.delivery(), word)


def endpoint(world: World, tenant: str = "acme") -> endpoints.Endpoint:
    (one,) = world.store.run(endpoints.list_endpoints(tenant, limit=9)).endpoints
    return one


def probe_time(world: World) -> None:
    """Let the time come at which failing endpoints are asked again."""
    for key in map(str, world.client.zrange(keys.endpoint_probes(), 0, -1)):
        world.client.zadd(keys.endpoint_probes(), {key: 1})
        world.client.hset(keys.endpoint(key), "next", 1)
    world.sweep()


def feed_events(world: World, tenant: str = "acme") -> list[str]:
    page = world.store.run(events.read_events(tenant, after=None, most=999))
    assert page
    return [one.fields["type"] for one in page.events if "job" not in one.fields]


def test_an_endpoint_that_keeps_failing_is_asked_one_at_a_time(world: World) -> None:
    end_jobs(world, 12)
    fail(world)
    found = endpoint(world)
    assert (found.state, found.failures, found.pending) == ("failing", FAILURES, 12)
    # the rest waits with it, and costs no attempt
    assert world.claim_delivery() is None
    assert endpoint(world).parked == 7
    assert_true(world)

    probe_time(world)
    probe = world.delivery()
    assert world.claim_delivery() is None
    assert (probe.attempt, endpoint(world).parked) == (1, 6)
    before = endpoint(world).next_probe_at
    settle(world, probe, "retry")
    after = endpoint(world).next_probe_at
    assert before
    assert after
    assert after > before
    assert world.claim_delivery() is None
    assert feed_events(world) == ["webhook.failing"]
    assert_true(world)


def test_an_endpoint_is_failing_since_no_later_than_now_if_the_clock_is_set_back(
    world: World,
) -> None:
    end_jobs(world, 12)
    fail(world)
    world.claim_delivery()
    key = keys.endpoint(endpoint(world).id)
    world.client.hset(key, "since", int(time.time() * 1000) + 3_600_000)
    probe_time(world)
    settle(world, world.delivery(), "retry")
    found = endpoint(world)
    assert found.failing_since == found.failed_at


def test_a_clock_that_is_set_back_does_not_put_off_the_first_probe(world: World) -> None:
    end_jobs(world, FAILURES)
    fail(world)
    found = endpoint(world)
    ahead = int(time.time() * 1000) + 10 * ENDPOINT_PROBE_MS
    world.client.hset(keys.endpoint(found.id), "next", ahead)
    (parked,) = end_jobs(world)
    assert state(world, parked) == "parked"
    at = world.client.zscore(keys.endpoint_probes(), found.id) or 0
    assert time.time() * 1000 < at <= time.time() * 1000 + ENDPOINT_PROBE_MS
    assert_true(world)


def test_what_is_owed_to_a_failing_endpoint_is_parked_at_once(world: World) -> None:
    end_jobs(world, 6)
    fail(world)
    assert world.claim_delivery() is None
    (late,) = end_jobs(world)
    assert state(world, late) == "parked"
    assert_true(world)


def test_a_lone_delivery_keeps_to_its_schedule_however_often_it_failed(world: World) -> None:
    (only,) = end_jobs(world)
    for number in range(1, 9):
        held = world.delivery()
        assert (held.id, held.attempt) == (only, number)
        settle(world, held, "retry")
        world.come_due(only, "deliveries")
        world.sweep()
    assert endpoint(world).state == "failing"
    assert_true(world)


def test_well_again_it_gets_what_it_missed_the_newest_first(world: World) -> None:
    owed = end_jobs(world, 120)
    fail(world)
    while endpoint(world).parked < 115:
        world.claim_delivery()
    # made at times of their own, as jobs are
    for place, one in enumerate(owed):
        key = keys.parked(endpoint(world).id)
        world.client.zadd(key, {one: 1_000_000 * place}, xx=True)
    probe_time(world)
    probe = world.delivery()
    assert probe.id == owed[5]  # the oldest: it is worth least
    settle(world, probe, "delivered")

    found = []
    for _ in range(114):
        if (held := world.claim_delivery()) is None:
            world.sweep()
            held = world.claim_delivery()
        assert isinstance(held, deliveries.Delivery)
        found.append(held.id)
        settle(world, held, "delivered")
    assert found[:50] == owed[:-51:-1]
    assert sorted(found) == sorted(owed[6:])
    assert feed_events(world) == ["webhook.failing", "webhook.recovered"]
    assert endpoint(world).state == "healthy"
    assert_true(world)


def test_the_sweep_sends_on_what_is_left_when_nothing_else_does(world: World) -> None:
    end_jobs(world, 120)
    fail(world)
    while endpoint(world).parked < 115:
        world.claim_delivery()
    probe_time(world)
    settle(world, world.delivery(), "delivered")
    assert endpoint(world).parked == 64
    world.sweep()
    assert endpoint(world).parked == 0
    assert_true(world)


def test_of_a_job_only_the_newest_that_was_missed_is_told(world: World) -> None:
    end_jobs(world, FAILURES)
    fail(world)
    job_id = accept(world, ["job.started", "job.canceled"])
    world.claim()
    world.cancel(job_id)
    assert endpoint(world).parked == 2
    world.store.run(endpoints.enable_endpoint(endpoint(world).id, tenant="acme"))
    # given isolated: the order among those of one millisecond is by id
    held = world.delivery()
    other = world.claim_delivery()
    assert other is None
    settle(world, held, "delivered")
    for one in world.client.zrange(keys.queue_due("deliveries"), 0, -1):
        world.come_due(str(one), "deliveries")
    world.sweep()
    while isinstance(left := world.claim_delivery(), deliveries.Delivery):
        settle(world, left, "delivered")
    mark = job_id[4:]
    if held.type == "job.canceled":
        assert state(world, f"msg_{mark}_1_started") == "superseded"
    assert state(world, f"msg_{mark}_1_canceled") == "delivered"
    assert_true(world)


def test_another_tenant_at_the_same_host_goes_on(world: World) -> None:
    end_jobs(world, 8)
    fail(world)
    assert world.claim_delivery() is None
    (other,) = end_jobs(world, tenant="other")
    held = world.delivery()
    assert held.id == other
    settle(world, held, "delivered")
    assert endpoint(world, "other").state == "healthy"
    assert endpoint(world).state == "failing"
    assert_true(world)


@pytest.mark.parametrize("query", ["", "?order=1"])
def test_gone_ends_deliveries_to_an_address_until_it_is_enabled(world: World, query: str) -> None:
    first, *rest = end_jobs(world, 3)
    held = world.delivery()
    word = deliveries.settle_delivery(held, "gone", attempt={})
    assert world.store.run(word) == "gone"
    assert world.store.run(word) is None
    url = f"https://example.com/hook{query}"
    job_id = world.accept(
        webhook={"url": url, "events": ["job.canceled"]}, webhook_host="example.com"
    )
    world.cancel(job_id)
    assert world.claim_delivery() is None
    found = endpoint(world)
    assert (found.state, found.disabled_reason, found.parked) == ("disabled", "gone", 3)
    assert state(world, first) == "failed"
    assert redeliver(world, first) == "off"
    assert feed_events(world) == ["webhook.disabled"]
    assert_true(world)

    assert world.store.run(endpoints.enable_endpoint(found.id, tenant="other")) is False
    assert world.store.run(endpoints.enable_endpoint(found.id, tenant="acme")) is True

    assert {world.delivery().id for _ in range(3)} == {*rest, f"msg_{job_id[4:]}_1_canceled"}
    assert endpoint(world).state == "healthy"
    assert feed_events(world) == ["webhook.disabled", "webhook.enabled"]
    assert_true(world)


def test_an_operator_switches_any_endpoint_on_once_and_it_is_noted(world: World) -> None:
    _, *rest = end_jobs(world, 3)
    settle(world, world.delivery(), "gone")
    call = endpoints.enable_any_endpoint(audit_context(), endpoint(world).id)
    assert [world.store.run(call), world.store.run(call)] == ["acme", "acme"]
    assert {world.delivery().id for _ in rest} == set(rest)
    assert world.store.run(endpoints.enable_any_endpoint(audit_context(), "ep_none")) is None
    (noted,) = audit(world)
    assert (noted.action, noted.target) == ("endpoint.enable", endpoint(world).id)
    assert noted.detail == {"tenant": "acme"}
    assert_true(world)


def test_an_operator_gives_any_endpoint_a_secret_once_and_it_is_noted(world: World) -> None:
    end_jobs(world, 1)
    found = endpoint(world)
    call = endpoints.rotate_any_secret(audit_context(), found.id, "whsec_own")
    assert [world.store.run(call), world.store.run(call)] == ["acme", "acme"]
    assert endpoint(world).has_secret
    assert world.delivery().secrets[0] == "whsec_own"
    assert (
        world.store.run(endpoints.rotate_any_secret(audit_context(), "ep_none", "whsec_x")) is None
    )
    (noted,) = audit(world)
    assert (noted.action, noted.target) == ("endpoint.rotate", found.id)
    assert_true(world)


def test_an_endpoint_has_the_error_of_the_last_attempt_that_failed(world: World) -> None:
    end_jobs(world, 2)
    assert endpoint(world).last_error is None
    error = {"status": 500, "code": "status", "error": ""}
    held = world.delivery()
    attempt = {**error, "number": 1, "answer": "x" * 1000}
    world.store.run(deliveries.settle_delivery(held, "failed", attempt=attempt))
    assert endpoint(world).last_error == error
    settle(world, world.delivery(), "delivered")
    assert endpoint(world).last_error == error


def test_an_endpoint_that_only_failed_for_days_is_switched_off(world: World) -> None:
    end_jobs(world, 7)
    fail(world, FAILURES - 1)
    key = keys.endpoint(endpoint(world).id)
    since = int(world.client.hget(key, "since") or 0)
    world.client.hset(key, "since", since - 5 * 86_400_000)
    held = world.delivery()
    assert world.store.run(deliveries.settle_delivery(held, "retry", attempt={})) == "failing"
    assert endpoint(world).disabled_reason == "failing"
    assert feed_events(world) == ["webhook.disabled"]
    probe_time(world)
    assert world.claim_delivery() is None
    assert world.client.hget(keys.counts(), "endpoints_disabled") == "1"
    assert_true(world)


def test_one_success_in_between_keeps_an_endpoint_well(world: World) -> None:
    end_jobs(world, 12)
    fail(world, FAILURES - 1)
    settle(world, world.delivery(), "delivered")
    fail(world, FAILURES - 1)
    assert endpoint(world).state == "healthy"
    assert endpoint(world).failures == FAILURES - 1
    assert_true(world)


def test_a_lost_probe_is_replaced(world: World) -> None:
    owed = end_jobs(world, 8)
    fail(world)
    world.claim_delivery()
    probe_time(world)
    probe = world.delivery()
    world.delete_job(f"job_{probe.id.split('_')[1]}")
    probe_time(world)
    assert world.delivery().id in set(owed) - {probe.id}
    assert_true(world)


def test_an_owner_may_try_a_failing_endpoint_at_once(world: World) -> None:
    owed = end_jobs(world, 7)
    fail(world)
    world.claim_delivery()
    assert redeliver(world, owed[6]) == "ok"
    settle(world, world.delivery(), "delivered")
    assert endpoint(world).state == "healthy"
    assert_true(world)


def test_a_claim_passes_over_so_many_and_says_that_there_may_be_more(world: World) -> None:
    end_jobs(world, 40)
    fail(world)
    closed = world.claim_delivery()
    assert closed
    assert not isinstance(closed, deliveries.Delivery)
    assert (closed.reason, closed.seconds) == ("passing", 0)
    assert world.claim_delivery() is None
    assert endpoint(world).parked == 35
    assert_true(world)


def test_endpoints_are_listed_page_by_page_and_only_ones_own(world: World) -> None:
    for name in "abcde":
        end_jobs(world, host=f"{name}.example")
    end_jobs(world, tenant="other")
    first = world.store.run(endpoints.list_endpoints("acme", limit=3))
    second = world.store.run(endpoints.list_endpoints("acme", limit=3, before=first.before))
    found = [one.url for one in (*first.endpoints, *second.endpoints)]
    assert sorted(found) == [f"https://{name}.example/hook" for name in "abcde"]
    assert second.before is None
    one = first.endpoints[0].id
    assert world.store.run(endpoints.read_endpoint(one, tenant="other")) is None


def test_an_endpoint_that_is_off_is_forgotten_when_it_was_not_used_for_long(world: World) -> None:
    (only,) = end_jobs(world)
    settle(world, world.delivery(), "gone")
    world.delete_job(f"job_{only.split('_')[1]}")
    assert endpoint(world).state == "disabled"
    world.client.zadd(keys.endpoint_expiries(), {endpoint(world).id: 1})
    world.store.run(maintenance.delete_expired(most=9))
    assert world.store.run(endpoints.list_endpoints("acme", limit=9)).endpoints == ()
    assert not world.client.keys("[{]dr}:endpoint*")
    assert world.client.hget(keys.counts(), "endpoints_disabled") == "0"


# secrets ---------------------------------------------------------------------------------------


def rotate(world: World, secret: str, endpoint_id: str | None = None) -> bool:
    call = endpoints.rotate_secret("acme", secret, endpoint_id=endpoint_id)
    found = world.store.run(call)
    assert world.store.run(call) == found  # a reply that was lost rotates nothing twice
    return found == "ok"


def signing(world: World) -> tuple[str, ...]:
    end_jobs(world)
    held = world.delivery()
    settle(world, held, "delivered")
    return held.secrets


def test_while_a_secret_rotates_the_old_ones_sign_along_for_a_day(world: World) -> None:
    world.client.hset(keys.tenant("acme"), "webhook_secret", "whsec_a+/=")
    for secret in ("whsec_b", "whsec_c"):
        assert rotate(world, secret)
    assert signing(world) == ("whsec_c", "whsec_b", "whsec_a+/=")
    world.client.hset(keys.tenant("acme"), "webhook_old", "whsec_b 1 whsec_a+/= 1")
    assert signing(world) == ("whsec_c",)
    for number in range(9):
        rotate(world, f"whsec_{number}")
    assert signing(world) == tuple(f"whsec_{number}" for number in (8, 7, 6, 5, 4))


def test_an_endpoint_may_have_a_secret_of_its_own(world: World) -> None:
    world.client.hset(keys.tenant("acme"), "webhook_secret", "whsec_t")
    url = "https://example.com/hook?x=1"
    found = world.store.run(
        endpoints.ensure_endpoint("acme", api_key="", url=url, host="example.com")
    )
    assert found == world.store.run(
        endpoints.ensure_endpoint("acme", api_key="", url=url, host="example.com")
    )
    assert found
    assert rotate(world, "whsec_e", found)
    assert signing(world) == ("whsec_e", "whsec_t")
    assert endpoint(world).has_secret
    assert rotate(world, "", found)
    assert signing(world) == ("whsec_t", "whsec_e")
    assert not endpoint(world).has_secret
    other = endpoints.rotate_secret("other", "whsec_x", endpoint_id=found)
    assert world.store.run(other) == "missing"


def test_an_endpoint_with_its_own_secret_outlives_its_deliveries(world: World) -> None:
    (only,) = end_jobs(world)
    rotate(world, "whsec_e", endpoint(world).id)
    world.delete_job(f"job_{only.split('_')[1]}")
    assert endpoint(world).has_secret
    assert_true(world)


def test_a_test_event_is_signed_as_the_endpoint_s_webhooks_are(world: World) -> None:
    end_jobs(world)
    rotate(world, "whsec_e", endpoint(world).id)
    hook = {"url": "https://example.com/hook?y=2", "events": []}
    world.store.run(
        delivery_log.send_test("msg_t", tenant="acme", host="example.com", webhook=hook, data={})
    )
    assert world.delivery().secrets == ("whsec_e",)
