"""Whose webhook is sent next, and how many threads hosts that do not answer may hold."""

from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from shared.errors import LostLease
from shared.store import delivery_log, erasures, keys, maintenance
from shared.store.deliveries import Delivery
from tests.support.growth import commands
from tests.support.queue_invariants import assert_true
from tests.support.store import World

STATE = keys.queue_state("deliveries")


@pytest.fixture
def world(empty_redis_url: str) -> Iterator[World]:
    world = World(empty_redis_url, webhook_max_per_host=2)
    yield world
    world.close()


def end_jobs(world: World, tenant: str, *hosts: str) -> None:
    """Let a job of the tenant end for each of these hosts."""
    for host in hosts:
        webhook = {"url": f"https://{host}/{tenant}", "events": ["job.canceled"]}
        world.cancel(world.accept(tenant, webhook=webhook, webhook_host=host), tenant)


def many(name: str, count: int) -> list[str]:
    return [f"{name}{number}" for number in range(count)]


def live(world: World, threads: int, worker: str = "d") -> None:
    """Let a process with so many threads say that it lives."""
    call = maintenance.renew(worker, queue="deliver", threads=threads, lease_seconds=60, held=[])
    world.store.run(call)
    world.sweep()


def current_tenant(delivery: Delivery) -> str:
    assert delivery.job
    return delivery.job.tenant


def host_of(delivery: Delivery) -> str:
    return str(delivery.webhook["url"]).split("/")[2]


def claim_all(world: World) -> list[Delivery]:
    """Claim all that may be sent beside each other."""
    found = []
    while isinstance(one := world.claim_delivery(), Delivery):
        found.append(one)
    return found


def send_all(world: World) -> list[Delivery]:
    """Send one after the other, each answered in time."""
    found = []
    while isinstance(one := world.claim_delivery(), Delivery):
        world.settle(one, "delivered", in_time=True)
        found.append(one)
    return found


def send_test(world: World, number: int = 1, *, tenant: str = "acme", host: str = "a.test") -> str:
    """Queue a test event; return its id."""
    name = f"msg_test_{number}"
    call = delivery_log.send_test(
        name, tenant=tenant, host=host, webhook={"url": f"https://{host}/hook"}, data={}
    )
    world.store.run(call)
    return name


def delete_tenant(world: World, tenant: str) -> None:
    """Delete what a tenant has in shared keys, then its own keys, as a worker does."""
    while world.store.run(erasures.delete_tenant(tenant, most=2)) == "more":
        pass
    world.store.delete_keys(erasures.keys_of_tenant(tenant).fullmatch)


def prove(world: World, tenant: str, *hosts: str) -> None:
    """Let each of these hosts answer the tenant in time."""
    end_jobs(world, tenant, *hosts)
    assert len(send_all(world)) == len(hosts)


def settle_all(world: World, sent: Sequence[Delivery], *, in_time: bool) -> None:
    for one in sent:
        world.settle(one, "retry", wait_seconds=3600, in_time=in_time)


def test_tenants_take_turns_however_many_hosts_one_of_them_names(world: World) -> None:
    end_jobs(world, "crowd", *many("host", 40))
    end_jobs(world, "plain", *["example.com"] * 20)
    taken = [current_tenant(one) for one in send_all(world)[:40]]
    assert all(set(taken[at : at + 2]) == {"crowd", "plain"} for at in range(0, 40, 2))
    assert_true(world)


def test_a_tenant_with_one_webhook_is_next_beside_a_backlog_of_many(world: World) -> None:
    end_jobs(world, "busy", *["busy.test"] * 50)
    first = [world.delivery(), world.delivery()]
    end_jobs(world, "single", "single.test", "busy.test")
    assert [host_of(one) for one in claim_all(world)] == ["single.test"]
    # both post to the same host, and take turns at its slots
    for one in first:
        world.settle(one, "delivered", in_time=True)
    assert sorted(current_tenant(one) for one in claim_all(world)) == ["busy", "single"]
    assert_true(world)


def test_weights_are_shares_of_deliveries_too(world: World) -> None:
    world.limit("heavy", weight=3)
    for tenant in ("light", "heavy"):
        end_jobs(world, tenant, *many(tenant, 40))
    assert Counter(current_tenant(one) for one in send_all(world)[:40]) == {
        "heavy": 30,
        "light": 10,
    }


def test_a_weight_that_is_raised_counts_at_once(world: World) -> None:
    world.limit("a", weight=0.001)
    for tenant in ("a", "b"):
        end_jobs(world, tenant, *many(tenant, 20))
    for _ in range(4):
        world.settle(world.delivery(), "delivered", in_time=True)
    world.limit("a", weight=1)
    taken = Counter(current_tenant(one) for one in send_all(world)[:12])
    assert taken["a"] >= 5
    assert_true(world)


def test_the_hosts_of_one_tenant_take_turns(world: World) -> None:
    end_jobs(world, "acme", *["deep.test"] * 10, "other.test", "third.test")
    assert [host_of(one) for one in send_all(world)[:4]] == [
        "deep.test",
        "other.test",
        "third.test",
        "deep.test",
    ]


def test_tenants_take_turns_at_the_slots_of_one_host(world: World) -> None:
    for tenant in "abc":
        end_jobs(world, tenant, *["shared.test"] * 4)
    sending = claim_all(world)
    assert len(sending) == 2
    while sending:
        world.settle(sending.pop(0), "delivered", in_time=True)
        sending += claim_all(world)
        assert len(sending) <= 2
    ends = world.client.zrange(keys.deliveries(""), 0, -1)
    assert len(ends) == 12
    assert_true(world)


def test_hosts_that_were_never_seen_hold_half_of_the_threads_at_most(world: World) -> None:
    live(world, 8)
    for tenant in "abcdefgh":
        end_jobs(world, tenant, *many(f"{tenant}-", 20))
    held = claim_all(world)
    assert len(held) == 4
    assert_true(world)
    settle_all(world, held, in_time=False)
    assert len(claim_all(world)) == 4
    assert_true(world)


def test_of_that_half_a_tenant_leaves_room_for_the_next(world: World) -> None:
    live(world, 16)
    end_jobs(world, "flood", *many("hang", 400))
    flood = claim_all(world)
    assert len(flood) == 4
    for tenant in ("b", "c"):
        end_jobs(world, tenant, f"{tenant}.test")
        assert [current_tenant(one) for one in claim_all(world)] == [tenant]
    assert_true(world)


def test_a_host_that_answers_is_not_delayed_by_hundreds_that_do_not(world: World) -> None:
    live(world, 16)
    end_jobs(world, "flood", *many("hang", 400))
    hanging = claim_all(world)
    end_jobs(world, "plain", *["plain.test"] * 30)
    assert [current_tenant(one) for one in send_all(world)] == ["plain"] * 30
    # nor when they have timed out, and more of them wait
    settle_all(world, hanging, in_time=False)
    claim_all(world)
    end_jobs(world, "plain", *["plain.test"] * 30)
    assert [current_tenant(one) for one in send_all(world)] == ["plain"] * 30
    assert_true(world)


def test_hosts_that_answer_use_every_thread(world: World) -> None:
    live(world, 8)
    hosts = many("well", 10)
    prove(world, "acme", *hosts)
    end_jobs(world, "acme", *hosts)
    assert len(claim_all(world)) == 10


@pytest.mark.parametrize("word", ["delivered", "retry", "failed"])
def test_a_host_that_answers_late_or_not_at_all_is_unproven_again(world: World, word: str) -> None:
    live(world, 4)
    hosts = many("was-well", 6)
    prove(world, "acme", *hosts)
    end_jobs(world, "acme", *hosts)
    for one in claim_all(world):
        world.settle(one, word, wait_seconds=3600, in_time=False)
    end_jobs(world, "acme", *hosts)
    assert len(claim_all(world)) == 1
    assert_true(world)


def test_a_host_that_answers_again_gets_the_rest_at_once(world: World) -> None:
    live(world, 4)
    end_jobs(world, "acme", *["back.test"] * 6)
    first = world.delivery()
    assert world.claim_delivery() is None
    world.settle(first, "retry", wait_seconds=3600, in_time=True)
    assert len(claim_all(world)) == 2
    assert_true(world)


def test_a_host_is_trusted_for_some_minutes_only(world: World) -> None:
    live(world, 4)
    prove(world, "acme", "a.test", "b.test")
    key = keys.host_answered("acme", "a.test")
    assert 0 < world.client.ttl(key) <= 600
    end_jobs(world, "acme", *["a.test"] * 2, *["b.test"] * 2)
    world.client.delete(key)
    assert Counter(host_of(one) for one in claim_all(world)) == {"a.test": 1, "b.test": 2}
    assert_true(world)


def test_what_one_tenant_does_at_a_host_is_not_held_against_another(world: World) -> None:
    live(world, 4)
    prove(world, "acme", "shared.test")
    end_jobs(world, "bad", *many("hang", 5), "shared.test")
    settle_all(world, [world.delivery()], in_time=False)
    end_jobs(world, "bad", "shared.test")
    end_jobs(world, "acme", *["shared.test"] * 2)
    assert Counter(current_tenant(one) for one in claim_all(world)) == {"acme": 2, "bad": 1}


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_few_threads_still_get_on_with_hosts_that_were_never_seen(
    world: World, threads: int
) -> None:
    live(world, threads)
    for tenant in "ab":
        end_jobs(world, tenant, *many(f"{tenant}-", 5))
    sent = send_all(world)
    assert Counter(current_tenant(one) for one in sent) == {"a": 5, "b": 5}
    assert_true(world)


def test_everyone_who_waits_for_a_thread_of_that_half_has_a_turn(world: World) -> None:
    live(world, 2)
    tenants = many("t", 6)
    for tenant in tenants:
        end_jobs(world, tenant, *many(f"{tenant}-", 3))
    turns = []
    for _ in range(18):
        one = world.delivery()
        assert world.claim_delivery() is None
        turns.append(current_tenant(one))
        settle_all(world, [one], in_time=False)
    rounds = [sorted(turns[at : at + 6]) for at in (0, 6, 12)]
    assert rounds == [tenants] * 3
    assert_true(world)


def test_a_thread_that_came_is_used_and_one_that_went_no_longer_counts(world: World) -> None:
    for tenant in "abcd":
        end_jobs(world, tenant, *many(f"{tenant}-", 4))
    live(world, 2)
    assert len(claim_all(world)) == 1
    live(world, 4, "more")
    assert len(claim_all(world)) == 2
    world.store.run(maintenance.deregister_worker("more"))
    world.sweep()
    assert world.client.hget(STATE, "threads") == "2"
    assert world.claim_delivery() is None


def test_a_process_that_has_just_begun_counts_before_the_next_sweep(world: World) -> None:
    call = maintenance.renew("d", queue="deliver", threads=4, lease_seconds=60, held=[])
    for _ in range(2):
        world.store.run(call)
    end_jobs(world, "acme", *many("new", 5))
    assert len(claim_all(world)) == 1


def test_a_webhook_that_is_forgotten_leaves_its_place_to_the_next(world: World) -> None:
    live(world, 2)
    for tenant in "abc":
        end_jobs(world, tenant, f"{tenant}.test")
    (first,) = claim_all(world)
    settle_all(world, [first], in_time=False)
    # the next has the place now, and goes
    (tag,) = world.client.zrange(keys.delivery_tenants(), 0, -1)
    following = str(tag)[16:]
    (job,) = world.client.zrange(keys.tenant_jobs(following), 0, -1)
    assert world.delete_job(str(job), tenant=following) is True
    assert current_tenant(world.delivery()) not in {current_tenant(first), following}
    assert_true(world)


def test_slots_and_threads_of_a_lost_process_are_free_again(world: World) -> None:
    live(world, 2)
    end_jobs(world, "acme", *["a.test"] * 3)
    world.delivery(lease_seconds=0)
    assert world.rescue().rescued == ("delivery",)
    assert_true(world)
    assert world.client.hlen(keys.sending()) == 0
    assert world.client.hget(STATE, "unproven") == "0"


def test_a_test_event_goes_before_all_else_of_its_tenant(world: World) -> None:
    live(world, 2)
    end_jobs(world, "acme", *many("a", 5), "tried.test")
    send_test(world, host="tried.test")
    assert world.delivery().is_test


def test_a_tenant_that_is_deleted_with_test_events_delays_nobody(world: World) -> None:
    live(world, 8)
    for number in range(4):
        send_test(world, number, tenant="gone", host="b0")
    sending = [world.delivery(), world.delivery()]
    send_test(world, 4, tenant="gone", host="gone.test")
    # the others wait for a slot and for a thread
    assert world.client.zrange(keys.full_host("b0"), 0, -1) == ["gone"]
    delete_tenant(world, "gone")
    assert world.client.keys("*msg_test_*") == []
    for one in sending:
        with pytest.raises(LostLease):
            world.settle(one, "release")
    assert not [one for one in world.client.keys("*") if "gone" in str(one)]
    end_jobs(world, "acme", *many("b", 3))
    assert len(send_all(world)) == 3
    assert_true(world)


def test_a_tenant_without_a_record_in_the_queue_loses_its_turn(world: World) -> None:
    live(world, 4)
    send_test(world, tenant="gone")
    # as versions did that deleted a tenant's keys only
    world.store.delete_keys(erasures.keys_of_tenant("gone").fullmatch)
    world.client.delete(keys.delivery("msg_test_1"))
    end_jobs(world, "acme", *many("b", 3))
    assert len(send_all(world)) == 3
    assert_true(world)


def test_a_test_event_that_expires_while_its_worker_is_lost_frees_its_thread(
    world: World,
) -> None:
    live(world, 2)
    name = send_test(world)
    world.delivery()
    world.client.delete(keys.delivery(name))
    world.lose_lease(name, "deliveries")
    assert world.rescue().rescued == ()
    assert world.client.hlen(keys.sending()) == 0
    assert world.client.hget(STATE, "unproven") == "0"
    assert_true(world)


def keep_as_before(world: World, host: str) -> list[str]:
    """Keep what is ready for a host as versions did that had one line a host; gives the members."""
    lines = world.client.keys("[{]dr}:q:deliveries:line:*")
    members = [str(one) for line in lines for one in world.client.zrange(line, 0, -1)]
    world.client.delete(*lines, *world.client.keys("[{]dr}:q:deliveries:[tur]*"))
    world.client.hset(STATE, "claimable", 0)
    world.client.zadd(f"{{dr}}:q:deliveries:ready:{host}", dict.fromkeys(members, 1))
    return members


def test_a_claim_costs_the_same_whatever_waits(world: World) -> None:
    def cost() -> dict[str, int]:
        held: list[Delivery] = []
        told = commands(world, lambda: held.append(world.delivery()))
        told |= {
            f"settle {name}": count
            for name, count in commands(
                world, lambda: world.settle(held[0], "delivered", in_time=True)
            ).items()
        }
        return told

    live(world, 64)
    for tenant in many("t", 3):
        end_jobs(world, tenant, *many(f"{tenant}-", 2), "shared.test")
    few = cost()
    for tenant in many("t", 60):
        end_jobs(world, tenant, *many(f"{tenant}-", 20), *["shared.test"] * 2)
    assert cost() == few
