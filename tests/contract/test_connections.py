"""Connections that threads keep from one exchange to the next."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from redis.exceptions import ResponseError

from sandbox.wait import wait_until
from shared.settings import Settings
from shared.store.connection import connect
from shared.store.connection_pool import Connections

ID = ("CLIENT", "ID")


@pytest.fixture
def client(empty_redis_url: str) -> Iterator["redis.Redis"]:
    with connect(Settings(redis_url=empty_redis_url), connections=2) as opened:
        yield opened


@pytest.fixture
def other(empty_redis_url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(empty_redis_url, decode_responses=True) as opened:
        yield opened


def two_at_once(connections: Connections, other: "redis.Redis") -> list[object]:
    """Exchange on two threads at the same time; gives by which connections."""

    def wait(name: str) -> object:
        (_, known) = connections.exchange(("BLPOP", name, 0), ID)
        return known

    def are_blocked() -> bool:
        blocked = other.info("clients")["blocked_clients"]
        return bool(blocked == 2)

    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(wait, name) for name in ("a", "b")]
        wait_until(are_blocked, "both to wait")
        for name in ("a", "b"):
            other.rpush(name, "go on")
        return [one.result() for one in waiting]


def test_one_thread_keeps_one_connection(client: "redis.Redis") -> None:
    connections = Connections(client)
    known = [connections.exchange(ID) for _ in range(5)]
    assert known == [known[0]] * 5


def test_commands_go_in_one_piece_and_what_is_refused_is_a_reply(client: "redis.Redis") -> None:
    connections = Connections(client)
    before = connections.exchange(ID)
    one, refused, two = connections.exchange(("INCR", "n"), ("LPUSH", "n", 1), ("INCR", "n"))
    assert (one, two) == (1, 2)
    assert isinstance(refused, ResponseError)
    assert connections.exchange(ID) == before


def test_after_one_broke_all_that_rest_connect_again(
    client: "redis.Redis", other: "redis.Redis"
) -> None:
    connections = Connections(client)
    before = two_at_once(connections, other)
    for known in set(before):
        other.client_kill_filter(_id=str(known))
    with pytest.raises(redis.ConnectionError):
        connections.exchange(ID)
    # the second of them was killed too, and nobody meets that
    after = two_at_once(connections, other)
    assert not {*after} & {*before}


def test_a_reply_that_comes_too_late_is_nobody_elses(
    empty_redis_url: str, other: "redis.Redis"
) -> None:
    hasty = Settings(redis_url=empty_redis_url, redis_timeout_seconds=0.3)
    connections = Connections(connect(hasty, connections=1))
    with pytest.raises(redis.TimeoutError):
        connections.exchange(("BLPOP", "late", 0))
    other.rpush("late", "for the first")

    def answered() -> bool:
        try:
            (answer,) = connections.exchange(("ECHO", "for the second"))
        except redis.TimeoutError:  # the machine is slow
            return False
        assert answer == "for the second"
        return True

    wait_until(answered, "an answer of its own")
