"""Counts of ended runs, as tests read and age them."""

import math

import redis

from shared.store import keys, run_counts
from shared.store.run_counts import Kind, Sums
from tests.support.store import World

#: Beyond every day.
LAST = 10**6


def counted(world: World, tenant: str = "acme") -> dict[Kind, Sums]:
    """Return all counts of a tenant that are in Redis."""
    found = world.store.run(run_counts.list_run_counts(tenant, first=0, last=LAST))
    return dict(world.store.run(run_counts.read_run_counts(found.names)))


def let_days_pass(client: "redis.Redis", days: int = 2) -> None:
    """Move all counts to earlier days, by `days`.

    A day that has just ended is not written yet: after two days the time of day does not matter.
    """
    for name in [str(one) for one in client.zrange(keys.counted_days(), 0, -1)]:
        day, _, tenant = name.partition(" ")
        score = float(str(client.zscore(keys.counted_days(), name)))
        earlier = int(day) - days
        client.rename(keys.run_counts(tenant, day), keys.run_counts(tenant, earlier))
        client.zrem(keys.counted_days(), name)
        client.zadd(keys.counted_days(), {f"{earlier} {tenant}": math.copysign(earlier, score)})
