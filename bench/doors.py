"""The doors of Darkroom and of its peers, for bursts."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import redis

from bench.burst import Door
from bench.peers_at import API_KEY
from bench.peers_with import pictures
from bench.service import Service
from sandbox.stack.plan import Kind

_DONE = """
local done = 0
for _, key in ipairs(redis.call('KEYS', 'job:*')) do
  if redis.call('HGET', key, 'status') == 'succeeded' then done = done + 1 end
end
return done
"""


def ours(running: Service) -> Door:
    """Give Darkroom's own door."""
    (worker,) = running.pids(Kind.WORKER)
    others = running.pids(Kind.API, Kind.REDIS)
    done = partial(running.count, "succeeded")
    return Door(running.url, "/v1/jobs", running.api_key, worker, others, done)


@contextmanager
def theirs(
    directory: Path, kind: str, beside: Service, *words: str, **told: object
) -> Iterator[Door]:
    """Run a peer, and give its door."""
    with (
        pictures(directory, kind, beside, *words, **told) as running,
        running.peer.client() as client,
    ):
        others = [running.front.pid, int(client.info("server")["process_id"])]
        done = partial(_done, client)
        yield Door(running.url, "/jobs", API_KEY, running.worker.pid, others, done)


def _done(client: "redis.Redis") -> int:
    return int(client.eval(_DONE, 0))
