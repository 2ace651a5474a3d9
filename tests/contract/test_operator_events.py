"""Events of the service for operators: each condition once at its begin and once at its end."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from shared.api_keys import OPERATORS
from shared.model_catalog import DEFAULT_MODEL
from shared.operator_events import DEFAULT_EVENTS, ENDS, OperatorEvent
from shared.provider_keys import ProviderKey
from shared.store import deliveries, endpoints, keys, maintenance, provider_models, tenants
from shared.store.audit import AuditContext, read_audit
from shared.store.endpoints import EndpointSettings
from shared.store.provider_models import ACTIVE, ListedModel
from shared.store.transitions import Signal
from tests.contract.test_delivery_log import settle
from tests.contract.test_gate import end_hold, report
from tests.contract.test_standing_endpoints import subscribe as subscribe_tenant
from tests.contract.test_tenant_events import VIEW as VIEW_OF_TEST
from tests.contract.test_tenant_events import events
from tests.support.queue_invariants import assert_true, hash_of
from tests.support.store import World
from worker.webhook_delivery import message

ALL = DEFAULT_EVENTS
KEY, OTHER = ProviderKey("key-a", "team-a", "secret-abcd"), ProviderKey("key-b", "b", "secret-efgh")
AFTER_SECONDS = 60
SECRET = "whsec_c2VjcmV0"


def operator() -> AuditContext:
    return AuditContext("test", "")


@pytest.fixture
def world(empty_redis_url: str) -> Iterator[World]:
    world = World(empty_redis_url, notify_after_seconds=AFTER_SECONDS, queue_delayed_seconds=600)
    world.store.run(maintenance.register_keys([KEY, OTHER]))
    yield world
    assert world.undocumented() == set()
    assert_true(world)
    world.close()


def subscribe(world: World, name: str = "ops", wanted: Sequence[str] = ALL, **how: Any) -> str:
    """Create an operators' endpoint at a host of this name; return its id."""
    call = endpoints.ensure_operator_endpoint(
        operator(),
        url=f"https://{name}.example/hook",
        host=f"{name}.example",
        secret=SECRET,
        settings=EndpointSettings(events=wanted, **how),
    )
    return world.store.run(call)[0]


def sweep(world: World, seconds: float = 0) -> None:
    """Sweep after so many seconds, which each condition has lasted longer, or been over longer."""
    world.client.hdel(keys.sweep(), "conditions")
    for name, written in hash_of(world, keys.episodes()).items():
        episode = orjson.loads(written)
        since = "cleared" if "cleared" in episode else "began"
        if since == "cleared" or not episode.get("opened"):
            episode[since] -= seconds * 1000
            world.client.hset(keys.episodes(), name, orjson.dumps(episode))
    world.sweep()


def pass_through(world: World) -> None:
    """Let a condition that holds, or has ended, do so for long enough."""
    sweep(world)
    sweep(world, AFTER_SECONDS)


def signal(world: World, *signals: Signal) -> None:
    for one in signals:
        world.store.run(maintenance.report_signal(one))


def list_models(world: World, status: str) -> None:
    found = [
        ListedModel(name, status if name == DEFAULT_MODEL else ACTIVE, None)
        for name in world.settings.models
    ]
    world.store.run(provider_models.record_provider_models(found))


def call_healthy(world: World, *holds: str) -> None:
    """End these holds by a successful call, the probe."""
    for name in holds:
        end_hold(world, name)
        world.client.hset(keys.gate(), f"probe:{name}", 1)
    report(world, Signal.healthy(KEY))


def open_circuit_of_key(world: World) -> None:
    """Let calls of one key fail while another can do the work."""
    world.client.hset(keys.gate(), "tat:key-b", round(world.store.now_ms()))
    report(world, *[Signal.failed(KEY)] * 5)


def store_image(world: World, hold: str) -> None:
    end_hold(world, hold)
    world.accept()
    world.finish(world.claim())


def miss_image(world: World) -> None:
    report(world, Signal.unfetched("images.example"))


def delay_job(world: World) -> None:
    world.client.hincrby(keys.job(world.accept()), "created", -601_000)


def disable_endpoint(world: World) -> None:
    subscribe_tenant(world, "bad", ["job.canceled"])
    world.cancel(world.accept())
    settle(world, world.delivery(), "gone")


def enable_endpoint(world: World) -> None:
    for one in world.store.run(endpoints.list_endpoints("acme", limit=9)).endpoints:
        world.store.run(endpoints.enable_endpoint(one.id, tenant="acme"))


@dataclass(frozen=True)
class Condition:
    """How a condition begins and ends, and what its events say."""

    event: str
    begin: Callable[[World], object]
    end: Callable[[World], object]
    data: dict[str, object]
    says: str


def held(**known: object) -> dict[str, object]:
    absent = ("model", "key", "key_id", "team", "credits_needed", "credits_left", "image_host")
    return {**dict.fromkeys(absent), **known}


CONDITIONS = {
    "circuit of a model": Condition(
        "provider.held",
        lambda world: report(world, *[Signal.failed(KEY), Signal.failed(OTHER)] * 5),
        call_healthy,
        held(reason="provider_down", model="m"),
        "Calls of the model m fail at 1min.ai.",
    ),
    "circuit of a key": Condition(
        "provider.held",
        open_circuit_of_key,
        call_healthy,
        held(reason="provider_down", key="…abcd", key_id="key-a"),
        "Calls of the provider key …abcd fail at 1min.ai.",
    ),
    "rate limit": Condition(
        "provider.held",
        lambda world: signal(world, Signal.hold_key(KEY, 600)),
        lambda world: end_hold(world, "provider_rate:key:key-a"),
        held(reason="provider_rate", key="…abcd", key_id="key-a"),
        "1min.ai keeps limiting the rate of the provider key …abcd.",
    ),
    "credits": Condition(
        "provider.held",
        lambda world: signal(world, Signal.hold_team(KEY, 60, needed=105, has=35)),
        lambda world: call_healthy(world, "provider_credits:team:team-a"),
        held(reason="provider_credits", team="team-a", credits_needed=105, credits_left=35),
        "The 1min.ai team team-a is out of credits: a call needs 105 and 35 are left.",
    ),
    "image host": Condition(
        "provider.held",
        miss_image,
        lambda world: store_image(world, "image_host"),
        held(reason="image_host", image_host="images.example"),
        "Generated images cannot be downloaded from images.example",
    ),
    "key": Condition(
        "provider.key_failed",
        lambda world: signal(world, Signal.key_dead("key-a")),
        lambda world: signal(world, Signal.key_alive("key-a")),
        {"key": "…abcd", "key_id": "key-a"},
        "1min.ai rejects the provider key …abcd.",
    ),
    "storage": Condition(
        "storage.unavailable",
        lambda world: signal(world, Signal.hold_storage(60)),
        lambda world: store_image(world, "storage"),
        {},
        "Images cannot be stored",
    ),
    "queue": Condition(
        "queue.delayed",
        delay_job,
        lambda world: world.finish(world.claim()),
        {"queue": "generate", "oldest_age_seconds": 601, "blocked_by": None},
        "The oldest job that could run has waited for 10 min 1 s.",
    ),
    "refused model": Condition(
        "model.removed",
        lambda world: world.client.hset(keys.gate(), f"gone:{DEFAULT_MODEL}", 1),
        lambda world: world.client.hdel(keys.gate(), f"gone:{DEFAULT_MODEL}"),
        {"model": DEFAULT_MODEL, "reason": "refused"},
        f"1min.ai refuses calls of the model {DEFAULT_MODEL}",
    ),
    "disabled model": Condition(
        "model.removed",
        lambda world: list_models(world, "disabled"),
        lambda world: list_models(world, ACTIVE),
        {"model": DEFAULT_MODEL, "reason": "disabled"},
        f"1min.ai lists the model {DEFAULT_MODEL} as disabled.",
    ),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_each_condition_has_an_event_when_it_begins_and_one_when_it_ends(
    world: World, name: str
) -> None:
    condition = CONDITIONS[name]
    subscribe(world)
    condition.begin(world)
    sweep(world)
    assert events(world) == []
    sweep(world, AFTER_SECONDS)
    (begun,) = events(world)
    for _ in range(3):
        sweep(world, AFTER_SECONDS)
    assert events(world) == []

    condition.end(world)
    sweep(world)
    assert events(world) == []
    sweep(world, AFTER_SECONDS)
    (ended,) = events(world)
    sweep(world, AFTER_SECONDS)
    assert events(world) == []

    assert (begun["type"], ended["type"]) == (condition.event, ENDS[OperatorEvent(condition.event)])
    assert begun["data"]["message"].startswith(condition.says)
    assert begun["data"]["action"]
    assert (begun["data"]["ended_at"], begun["data"]["duration_seconds"]) == (None, None)
    assert ended["data"]["began_at"].endswith("Z")
    assert ended["data"]["ended_at"].endswith("Z")
    assert condition.data.items() <= begun["data"].items()
    assert condition.data.items() <= ended["data"].items()
    assert not world.client.exists(keys.episodes())


def test_the_conditions_cover_every_event() -> None:
    begun = {one.event for one in CONDITIONS.values()} | {"endpoint.disabled"}
    assert begun == {*ENDS}
    assert {*ENDS} | {*ENDS.values()} == {*DEFAULT_EVENTS}


def test_a_disabled_endpoint_of_a_tenant_is_an_episode_until_it_is_enabled(world: World) -> None:
    subscribe(world)
    disable_endpoint(world)
    pass_through(world)
    (begun,) = events(world)
    enable_endpoint(world)
    pass_through(world)
    (ended,) = events(world)
    assert (begun["type"], ended["type"]) == ("endpoint.disabled", "endpoint.enabled")
    assert (begun["data"]["tenant"], begun["data"]["reason"]) == ("acme", "gone")
    assert begun["data"]["url"] == "https://bad.example/hook"


def test_an_endpoint_that_is_disabled_again_stays_one_episode_until_it_is_deleted(
    world: World,
) -> None:
    subscribe(world)
    disable_endpoint(world)
    pass_through(world)
    assert [body["type"] for body in events(world)] == ["endpoint.disabled"]
    enable_endpoint(world)
    sweep(world)
    world.cancel(world.accept())
    settle(world, world.delivery(), "gone")
    pass_through(world)
    assert events(world) == []
    (one,) = world.store.run(endpoints.list_endpoints("acme", limit=9)).endpoints
    world.store.run(endpoints.delete_endpoint(one.id, tenant="acme"))
    pass_through(world)
    assert [body["type"] for body in events(world)] == ["endpoint.enabled"]


def test_a_disabled_endpoint_is_not_watched_beside_200_episodes(world: World) -> None:
    subscribe(world)
    pending = orjson.dumps({"began": 1, "off": "1", "data": {}})
    names = [f"endpoint.disabled ep_{number}" for number in range(200)]
    world.client.hset(keys.episodes(), mapping=dict.fromkeys(names, pending))
    disable_endpoint(world)
    assert world.client.hlen(keys.episodes()) == len(names)
    pass_through(world)
    assert events(world) == []


def test_an_endpoint_of_operators_that_is_disabled_is_an_event_for_the_others_without_its_url(
    world: World,
) -> None:
    bad = subscribe(world, "bad", ["storage.unavailable"])
    subscribe(world, "good", ["endpoint.disabled"])
    signal(world, Signal.hold_storage(60))
    pass_through(world)
    settle(world, world.delivery(), "gone")
    pass_through(world)
    (one,) = events(world)
    assert (one["data"]["endpoint_id"], one["data"]["tenant"], one["data"]["url"]) == (
        *(bad, None, None),
    )


def test_all_keys_rejected_hold_the_provider(world: World) -> None:
    subscribe(world, wanted=["provider.held", "provider.resumed"])
    signal(world, Signal.key_dead("key-a"))
    pass_through(world)
    assert events(world) == []
    signal(world, Signal.key_dead("key-b"))
    pass_through(world)
    (one,) = events(world)
    assert one["data"]["reason"] == "provider_auth"
    signal(world, Signal.key_alive("key-b"))
    pass_through(world)
    assert [body["type"] for body in events(world)] == ["provider.resumed"]


def test_a_condition_that_ends_too_soon_has_no_event(world: World) -> None:
    subscribe(world)
    signal(world, Signal.key_dead("key-a"))
    sweep(world)
    sweep(world, AFTER_SECONDS / 2)
    signal(world, Signal.key_alive("key-a"))
    pass_through(world)
    assert events(world) == []
    assert not world.client.exists(keys.episodes())


def test_gaps_do_not_end_an_episode(world: World) -> None:
    subscribe(world)
    for alive in (False, True) * 3:
        signal(world, (Signal.key_alive if alive else Signal.key_dead)("key-a"))
        sweep(world)
        sweep(world, AFTER_SECONDS / 2)
    signal(world, Signal.key_dead("key-a"))
    pass_through(world)
    assert [body["type"] for body in events(world)] == ["provider.key_failed"]


def test_a_second_episode_has_events_of_its_own(world: World) -> None:
    subscribe(world)
    for _ in range(2):
        signal(world, Signal.key_dead("key-a"))
        pass_through(world)
        signal(world, Signal.key_alive("key-a"))
        pass_through(world)
    kinds = [body["type"] for body in events(world)]
    assert sorted(kinds) == sorted(["provider.key_failed", "provider.key_recovered"] * 2)


def test_the_beginning_is_not_sent_after_the_end(world: World) -> None:
    subscribe(world)
    signal(world, Signal.key_dead("key-a"))
    pass_through(world)
    first = world.delivery()
    signal(world, Signal.key_alive("key-a"))
    pass_through(world)
    assert events(world) == []  # the end waits while the beginning is being sent
    (last,) = world.client.zrange(keys.queue_due("deliveries"), 0, -1)
    settle(world, first, "retry")
    for one, sent in ((str(last), ["provider.key_recovered"]), (first.id, [])):
        world.client.zadd(keys.queue_due("deliveries"), {one: 1}, xx=True)
        world.sweep()
        assert [body["type"] for body in events(world)] == sent
    assert world.client.hget(keys.delivery(first.id), "state") == "superseded"


def test_an_endpoint_that_is_created_during_an_episode_gets_its_beginning(world: World) -> None:
    subscribe(world, "first")
    signal(world, Signal.key_dead("key-a"), Signal.hold_storage(60))
    pass_through(world)
    assert len(events(world)) == 2
    subscribe(world, "second", ["provider.key_failed", "provider.key_recovered"])
    subscribe(world, "second", ["provider.key_failed", "provider.key_recovered"])
    (one,) = events(world)
    assert one["type"] == "provider.key_failed"
    signal(world, Signal.key_alive("key-a"))
    pass_through(world)
    assert [body["type"] for body in events(world)] == ["provider.key_recovered"] * 2


def test_without_an_endpoint_nothing_is_watched_or_written(world: World) -> None:
    signal(world, Signal.key_dead("key-a"))
    disable_endpoint(world)
    world.sweep()
    assert not world.client.exists(keys.episodes())
    assert not world.client.hexists(keys.sweep(), "conditions")
    assert events(world) == []


def test_the_last_endpoint_takes_the_episodes_with_it(world: World) -> None:
    found = subscribe(world)
    signal(world, Signal.key_dead("key-a"))
    sweep(world)
    assert world.client.exists(keys.episodes())
    call = endpoints.delete_operator_endpoint(operator(), found)
    assert [world.store.run(call) for _ in range(2)] == ["ok", "ok"]  # the reply was lost
    assert not world.client.exists(keys.episodes())
    again = endpoints.delete_operator_endpoint(operator(), found)
    assert world.store.run(again) == "missing"


def test_conditions_are_compared_once_a_second(world: World) -> None:
    subscribe(world)
    checked = []
    for _ in range(30):
        world.sweep()
        checked.append(int(world.client.hget(keys.sweep(), "conditions") or 0))
    waits = {later - earlier for earlier, later in itertools.pairwise(checked)}
    assert all(wait == 0 or wait >= 1000 for wait in waits)
    # a clock that was set back does not stop them
    world.client.hset(keys.sweep(), "conditions", checked[-1] + 10**9)
    signal(world, Signal.key_dead("key-a"))
    world.sweep()
    assert world.client.exists(keys.episodes())


def test_a_sweep_that_is_sent_again_repeats_no_event(world: World) -> None:
    subscribe(world)
    signal(world, Signal.key_dead("key-a"))
    sweep(world)
    call = maintenance.sweep("w", lock_seconds=5, lease_seconds=15, most=100)
    for name, written in hash_of(world, keys.episodes()).items():
        episode = orjson.loads(written)
        episode["began"] -= AFTER_SECONDS * 1000
        world.client.hset(keys.episodes(), name, orjson.dumps(episode))
    for _ in range(3):
        world.client.hdel(keys.sweep(), "conditions")
        world.store.run(call)
    assert [body["type"] for body in events(world)] == ["provider.key_failed"]


def test_slack_gets_a_sentence_and_nothing_else(world: World) -> None:
    subscribe(world, format="slack")
    signal(world, Signal.hold_team(ProviderKey("key-a", "team-a", ""), 60, needed=1, has=0))
    list_models(world, "a<b & c")
    pass_through(world)
    texts = []
    while isinstance(held_now := world.claim_delivery(), deliveries.Delivery):
        body = orjson.loads(message(VIEW_OF_TEST, held_now))
        assert set(body) == {"text"}
        texts.append(body["text"])
        settle(world, held_now, "delivered")
    model, team = sorted(texts)
    assert model.startswith(
        f"*model.removed* 1min.ai lists the model {DEFAULT_MODEL} as a&lt;b &amp; c."
    )
    assert "Since 20" in team
    assert "Buy credits" in team
    assert team.endswith("Console: https://darkroom.test/ops")


def test_operators_are_no_tenant(world: World) -> None:
    subscribe(world)
    signal(world, Signal.key_dead("key-a"))
    pass_through(world)
    events(world)
    assert world.store.run(tenants.list_tenants(after=None, limit=9)) == ()
    assert world.store.run(tenants.read_tenant(OPERATORS)) == ()
    assert subscribe_tenant(world, "ops", ["job.failed"]) != subscribe(world)


def test_many_events_at_once_are_written_over_several_checks(world: World) -> None:
    subscribe(world)
    pool = [ProviderKey(f"key-{number}", "team", f"secret-{number}") for number in range(30)]
    world.store.run(maintenance.register_keys(pool))
    signal(world, *(Signal.key_dead(key.id) for key in pool))
    pass_through(world)
    first = len(events(world))
    sweep(world)
    assert (first, first + len(events(world))) == (20, 30)


def test_each_change_of_an_endpoint_is_audited_without_its_secrets(world: World) -> None:
    found = subscribe(world, headers={"X-Token": "hush"})
    call = endpoints.update_operator_endpoint(operator(), found, EndpointSettings(enabled=False))
    assert [world.store.run(call) for _ in range(2)] == ["ok", "ok"]
    world.store.run(endpoints.delete_operator_endpoint(operator(), found))
    entries = world.store.run(read_audit(limit=9)).entries
    assert [one.action for one in entries] == [
        "endpoint.delete",
        "endpoint.update",
        "endpoint.create",
    ]
    assert {one.target for one in entries} == {found}
    assert "hush" not in str(entries)


def test_each_entry_of_the_audit_is_an_event(world: World) -> None:
    subscribe(world, wanted=(OperatorEvent.AUDIT_RECORDED,))
    limits = {"weight": 2.0}
    world.store.run(
        tenants.create_tenant(
            AuditContext("user:ann@example.com", "req_1"), "shop", limits, webhook_secret=SECRET
        )
    )

    entry = world.store.run(read_audit(limit=1)).entries[0]
    [event] = [one for one in events(world) if one["data"].get("action") == "tenant.create"]
    assert event["type"] == "audit.recorded"
    assert event["data"] == {
        "id": str(entry.id),
        "at": event["data"]["at"],
        "by": "user:ann@example.com",
        "action": "tenant.create",
        "target": "shop",
        "detail": dict(entry.detail),
        "request_id": "req_1",
        "message": "user:ann@example.com performed tenant.create on shop.",
    }


def test_an_endpoint_gets_no_entries_of_the_audit_unless_it_asks_for_them(world: World) -> None:
    subscribe(world, wanted=())
    pending = len(events(world))
    world.store.run(tenants.create_tenant(operator(), "shop", {}, webhook_secret=SECRET))

    assert len(events(world)) == pending
