"""A Redis that would lose or evict jobs is named, with what is wrong with it."""

from typing import Any

import pytest

from shared.store.health import health_problems, is_durable, is_full

FIT: dict[str, Any] = {
    "maxmemory_policy": "noeviction",
    "maxmemory": 1000,
    "used_memory": 849,
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
    "appendfsync": "always",
    "cluster_enabled": 0,
    "role": "master",
    "loading": 0,
}


def test_a_primary_with_a_log_that_never_evicts_is_fit() -> None:
    assert health_problems(FIT) == []


def test_a_redis_that_tells_little_is_not_suspected() -> None:
    assert health_problems({}) == []


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, "allkeys-lru"),
        ({"maxmemory_policy": "volatile-ttl"}, "volatile-ttl"),
        ({"aof_enabled": 0}, "appendonly"),
        ({"appendfsync": "everysec"}, "appendfsync"),
        ({"cluster_enabled": 1}, "cluster"),
        ({"role": "slave"}, "replica"),
        ({"aof_last_write_status": "err"}, "disk"),
        ({"loading": 1}, "loading"),
        ({"schema": "3"}, "empty Redis"),
        ({"schema": "5"}, "newer version"),
        ({"schema": "4.1"}, "newer version"),
        ({"used_memory": 850}, "memory"),
    ],
)
def test_each_unfitness_has_its_sentence(changed: dict[str, Any], word: str) -> None:
    (sentence,) = health_problems({**FIT, **changed})
    assert word in sentence


def test_all_reasons_are_told_at_once() -> None:
    assert len(health_problems({**FIT, "aof_enabled": 0, "role": "slave", "used_memory": 999})) == 3


def test_without_a_limit_memory_is_never_full() -> None:
    assert not is_full({"maxmemory": 0, "used_memory": 10**12})


@pytest.mark.parametrize(
    ("fact", "told", "durable"),
    [
        ("maxmemory_policy", "allkeys-lru", False),
        ("aof_enabled", 0, False),
        ("appendfsync", "everysec", False),
        ("aof_last_write_status", "err", False),
        ("loading", 1, True),
        ("used_memory", 850, True),
    ],
)
def test_a_redis_that_could_lose_what_it_answered_is_not_durable(
    fact: str, told: object, *, durable: bool
) -> None:
    assert is_durable(FIT)
    assert is_durable({**FIT, fact: told}) is durable
