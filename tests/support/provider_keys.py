"""Provider keys that operators add, as tests store them."""

from collections.abc import Iterator

import redis

from shared.provider_keys import read_key
from shared.sealing import Seal
from shared.store.audit import AuditContext
from shared.store.job_queries import service_stats
from shared.store.provider_keys import KeyState, add_provider_key
from tests.support.store import World

#: How the values of each type of key are read, with their fields.
_READS = {
    "string": ("GET",),
    "hash": ("HGETALL",),
    "list": ("LRANGE", 0, -1),
    "set": ("SMEMBERS",),
    "zset": ("ZRANGE", 0, -1),
    "stream": ("XRANGE", "-", "+"),
}
SEAL_KEY = "a-seal-key-of-the-tests-0123456789"


def operator() -> AuditContext:
    """Return a new request of an operator."""
    return AuditContext("test", "")


def add(world: World, secret: str, *, seal_key: str = SEAL_KEY, **changes: str) -> str:
    """Store a provider key; return its id."""
    key = read_key(secret)
    world.store.run(add_provider_key(operator(), key, Seal([seal_key]).seal(secret), changes))
    return key.id


def states(world: World) -> dict[str, KeyState]:
    """Return the state of all provider keys by id."""
    return dict(world.store.run(service_stats()).keys)


def values_of(client: redis.Redis) -> Iterator[str]:
    """Return everything that Redis has, as text: what a dump would show."""
    for name in client.scan_iter():
        command, *rest = _READS[str(client.type(name))]
        yield f"{name} {client.execute_command(command, name, *rest)}"
