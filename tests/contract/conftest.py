"""The store's promises do not depend on the disk: here Valkey writes none, which is quicker."""

from collections.abc import Iterator

import pytest
import redis

from tests.support.history import HistoryWorld
from tests.support.servers import redis_server
from tests.support.store import World


@pytest.fixture(scope="session")
def diskless_redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("valkey"), "--appendonly", "no") as server:
        yield server.url


@pytest.fixture
def empty_redis_url(diskless_redis_url: str) -> str:
    with redis.Redis.from_url(diskless_redis_url) as client:
        client.flushall()
    return diskless_redis_url


@pytest.fixture
def world(empty_redis_url: str) -> Iterator[World]:
    world = World(empty_redis_url)
    yield world
    assert world.undocumented() == set()
    world.close()


@pytest.fixture
def history(empty_redis_url: str, history_url: str) -> Iterator[HistoryWorld]:
    history = HistoryWorld(empty_redis_url, history_url)
    yield history
    assert history.world.undocumented() == set()
    history.close()
