"""Events of a tenant that are about no job: each once, for the standing endpoints that want it."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import pytest

from shared.api_keys import OPERATORS, TENANT_SCOPES, new_key
from shared.serializers import View
from shared.signing import ImageUrlSigner, new_webhook_secret
from shared.store import api_keys, deliveries, endpoints, erasures, keys, maintenance, tenants
from shared.store.audit import AuditContext
from shared.store.endpoints import EndpointSettings
from shared.tenant_events import TenantEvent
from tests.contract.test_delivery_log import entry, listed, settle
from tests.contract.test_standing_endpoints import read, subscribe, update
from tests.support.queue_invariants import assert_true
from tests.support.store import World
from worker.webhook_delivery import message

DAY_MS = 86_400_000
VIEW = View("https://darkroom.test", ImageUrlSigner(keys=(b"k" * 32,)))


def operator() -> AuditContext:
    return AuditContext("test", "")


@pytest.fixture
def world(empty_redis_url: str) -> Iterator[World]:
    world = World(empty_redis_url, key_notice_seconds=7 * 86_400)
    create(world, "acme")
    yield world
    assert world.undocumented() == set()
    world.close()


def create(world: World, tenant: str) -> None:
    secret = new_webhook_secret()
    world.store.run(tenants.create_tenant(operator(), tenant, {}, webhook_secret=secret))


def events(world: World) -> list[Mapping[str, Any]]:
    """Deliver all that can be sent; return the bodies, by type and content."""
    found = []
    while isinstance(held := world.claim_delivery(), deliveries.Delivery):
        body = orjson.loads(message(VIEW, held))
        assert body["type"] == held.type
        found.append(body)
        settle(world, held, "delivered")
    return sorted(found, key=lambda body: (body["type"], str(body["data"])))


def spend(world: World, jobs: int = 1, **how: Any) -> None:
    for _ in range(jobs):
        world.accept(credits=2.0, **how)
        world.finish(world.claim())


def make_key(world: World, days: float, tenant: str = "acme") -> str:
    key, ends = new_key(), round(world.store.now_ms() + days * DAY_MS)
    call = api_keys.add_api_key(
        operator(), tenant, key, TENANT_SCOPES, label="shop", expires_at=ends
    )
    assert isinstance(world.store.run(call), api_keys.ApiKeyInfo)
    return key.id


def pass_days(world: World, key_id: str, days: float) -> None:
    """Let a key have been made, and end, so much earlier."""
    for field in ("created", "expires"):
        world.client.hincrby(keys.api_key(key_id), field, -round(days * DAY_MS))
    world.client.zincrby(keys.key_expiries(), -round(days * DAY_MS), key_id)


def test_each_threshold_of_a_budget_is_an_event_once_in_a_period(world: World) -> None:
    subscribe(world, events=["budget.threshold", "budget.exhausted"], payload="slim")
    world.limit(daily_credits=10)
    seen = []
    for _ in range(5):
        spend(world)
        seen.append([(one["type"], one["data"]["threshold"]) for one in events(world)])
    assert seen == [
        [],
        [],
        [("budget.threshold", 50)],
        [("budget.threshold", 80)],
        [("budget.exhausted", 100), ("budget.threshold", 100)],
    ]
    world.limit(daily_credits=1000)
    world.limit(daily_credits=10)
    assert events(world) == []
    assert_true(world)


def test_an_event_of_a_budget_names_it(world: World) -> None:
    found = subscribe(world, events=["budget.exhausted"])
    key = new_key()
    call = api_keys.add_api_key(
        operator(), "acme", key, TENANT_SCOPES, limits={"monthly_credits": 2.0}
    )
    world.store.run(call)
    world.accept(credits=2.0, api_key=key.id)
    held = world.call(world.claim())
    for _ in range(2):
        world.checkpoint(held)
    (one,) = events(world)
    ends = one["data"].pop("resets_at")
    assert ends.endswith("-01T00:00:00.000Z")
    assert one["data"] == {
        "scope": "key",
        "period": "month",
        "action": "refuse",
        "limit": 2,
        "used": 2,
        "threshold": 100,
        "key_id": key.id,
    }
    (logged,) = listed(world).entries
    assert (logged.type, logged.endpoint) == ("budget.exhausted", found)
    assert logged.id.endswith(f"_1_exhausted_{found[3:]}")


@pytest.mark.parametrize("word", ["gone", "failing"])
def test_an_endpoint_that_is_disabled_is_an_event_for_the_others(world: World, word: str) -> None:
    bad = subscribe(world, "bad", ["job.canceled"])
    subscribe(world, "watch", ["endpoint.disabled"])
    for _ in range(5):
        world.cancel(world.accept())
    held = [world.delivery() for _ in range(5)]
    if word == "failing":
        for failing in held[:4]:
            settle(world, failing, "retry")
        world.client.hset(keys.endpoint(bad), "since", 1)
    for _ in range(2):  # the reply is lost
        world.store.run(
            deliveries.settle_delivery(
                held[4], "gone" if word == "gone" else "retry", wait_seconds=60, attempt={}
            )
        )
    (one,) = [body for body in events(world) if body["type"] == "endpoint.disabled"]
    assert one["data"].pop("disabled_at").endswith("Z")
    assert one["data"] == {
        "endpoint_id": bad,
        "url": "https://bad.example/hook",
        "reason": word,
    }
    assert_true(world)


def test_an_endpoint_that_its_tenant_disables_is_no_event(world: World) -> None:
    found = subscribe(world, events=[*TenantEvent])
    update(world, found, EndpointSettings(enabled=False))
    assert listed(world).entries == ()


def test_a_key_that_ends_within_the_notice_is_an_event_once(world: World) -> None:
    subscribe(world, events=["key.expiring"])
    key_id = make_key(world, 30)
    world.sweep()
    assert events(world) == []
    pass_days(world, key_id, 24)
    for _ in range(2):
        world.sweep()
    (one,) = events(world)
    assert one["data"].pop("expires_at").endswith("Z")
    assert one["data"] == {"key_id": key_id, "label": "shop"}
    assert_true(world)


@pytest.mark.parametrize("case", ["short", "revoked", "replaced", "over"])
def test_a_key_whose_end_surprises_no_client_is_no_event(world: World, case: str) -> None:
    subscribe(world, events=["key.expiring"])
    key_id = make_key(world, 1 if case == "short" else 30)
    if case in {"revoked", "replaced", "over"}:
        pass_days(world, key_id, 31 if case == "over" else 24)
    if case == "revoked":
        world.store.run(api_keys.revoke_api_key(operator(), "acme", key_id))
    elif case == "replaced":
        call = api_keys.rotate_api_key(
            operator(), "acme", key_id, new_key(), grace_seconds=60, expires_at=None
        )
        world.store.run(call)
    world.sweep()
    assert listed(world).entries == ()


def test_the_end_of_an_operators_key_is_not_noted(world: World) -> None:
    make_key(world, 30, OPERATORS)
    assert world.client.zcard(keys.key_expiries()) == 0


def test_without_an_endpoint_that_is_subscribed_nothing_is_written(world: World) -> None:
    subscribe(world, events=["job.failed"])
    world.limit(daily_credits=2)
    spend(world)
    pass_days(world, make_key(world, 30), 24)
    world.sweep()
    assert listed(world).entries == ()
    assert world.client.keys("*tenant_event*") == []


def test_an_event_is_kept_for_thirty_days_with_its_deliveries(world: World) -> None:
    found = subscribe(world, events=["budget.exhausted"])
    world.limit(daily_credits=2)
    spend(world)
    held = world.delivery()
    settle(world, held, "failed")
    world.store.run(maintenance.delete_expired(most=9))
    assert entry(world, held.id)
    (event,) = world.client.zrange(keys.tenant_event_expiries(), 0, -1)
    world.client.zadd(keys.tenant_event_expiries(), {str(event): 1})
    world.store.run(maintenance.delete_expired(most=9))
    assert entry(world, held.id) is None
    assert world.client.keys("*tenant_event*") == []
    one = read(world, found)
    assert one
    assert one.pending == 0
    assert_true(world)


def test_events_go_with_their_tenant_and_their_endpoint(world: World) -> None:
    create(world, "other")
    for tenant in ("acme", "other"):
        subscribe(world, events=["budget.exhausted"], tenant=tenant)
        world.limit(tenant, daily_credits=2)
        job_id = world.accept(tenant, credits=2.0)
        world.finish(world.claim())
        world.delete_job(job_id, tenant=tenant)
    assert world.store.run(erasures.delete_tenant("acme")) == "ok"
    (left,) = events(world)
    assert left["type"] == "budget.exhausted"
    assert [str(one) for one in world.client.keys("*tenant_events:*")] == [
        keys.tenant_events("other")
    ]
    assert_true(world)
    (found,) = world.store.run(endpoints.list_endpoints("other", limit=9)).endpoints
    assert world.store.run(endpoints.delete_endpoint(found.id, tenant="other")) == "ok"
    assert_true(world)
