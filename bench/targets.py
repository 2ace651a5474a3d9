"""Darkroom and its peers as targets of bursts."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import redis

from bench.burst import Target
from bench.peer_environments import API_KEY
from bench.peer_services import image_peer
from bench.service import Service
from sandbox.devstack.plan import Kind

_DONE = """
local done = 0
for _, key in ipairs(redis.call('KEYS', 'job:*')) do
  if redis.call('HGET', key, 'status') == 'succeeded' then done = done + 1 end
end
return done
"""


def ours(running: Service) -> Target:
    """Return Darkroom as a target."""
    (worker,) = running.pids(Kind.WORKER)
    others = running.pids(Kind.API, Kind.REDIS)
    done = partial(running.count, "succeeded")
    return Target(running.url, "/v1/jobs", running.api_key, worker, others, done)


@contextmanager
def theirs(
    directory: Path, kind: str, beside: Service, *words: str, **told: object
) -> Iterator[Target]:
    """Run a peer, and yield it as a target."""
    with (
        image_peer(directory, kind, beside, *words, **told) as running,
        running.peer.client() as client,
    ):
        others = [running.front.pid, int(client.info("server")["process_id"])]
        done = partial(_done, client)
        yield Target(running.url, "/jobs", API_KEY, running.worker.pid, others, done)


def _done(client: "redis.Redis") -> int:
    return int(client.eval(_DONE, 0))
