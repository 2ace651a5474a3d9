"""A burst of jobs through an API, and the resources used until the last image is stored."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench import load
from bench.client import INPUT
from bench.completion_times import steady_rate, stored_at
from bench.results import must_equal
from bench.service import Provider, Service
from bench.usage import cpu_seconds, memory_bytes

#: Jobs created per second: more than any worker here finishes, and few enough for one API process.
RATE = 400.0
POLL_INTERVAL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Target:
    """The API that creates jobs, and the processes that run them."""

    url: str
    path: str
    key: str
    worker: int
    #: front and Redis
    others: Sequence[int]
    #: counts the jobs that are recorded as done
    done: Callable[[], int]

    @property
    def pids(self) -> list[int]:
        """Return the ids of all processes that work on a job here."""
        return [self.worker, *self.others]


@dataclass(frozen=True, slots=True)
class Burst:
    """The result of a burst: when each image was stored, and the resources used."""

    times: list[float]
    cpu_seconds: float
    worker_bytes: int

    @property
    def rate(self) -> float:
        """Images per second, without the first and the last fifth."""
        return steady_rate(self.times)


def burst(
    door: Target, beside: Service, provider: Provider, count: int, **changes: object
) -> Burst:
    """Create `count` jobs at once and wait for all; check that each image was made once."""
    provider.delete_records()
    began, cpu, done = time.time(), cpu_seconds(door.pids), door.done()
    body = json.dumps({"input": {**INPUT, **changes}}).encode()
    requests = load.posts(door.url, door.path, {"Authorization": f"Bearer {door.key}"}, body)
    asked = load.opened(door.url, requests, rate=RATE, count=count, most=16)
    must_equal(asked.statuses, {202: count}, "answers")
    memory = 0
    deadline = time.monotonic() + 180
    while door.done() - done < count:
        memory = max(memory, memory_bytes([door.worker]))
        if time.monotonic() > deadline:
            raise TimeoutError(f"{door.done() - done} of {count} jobs were done in 180 s.")
        time.sleep(POLL_INTERVAL_SECONDS)
    used = cpu_seconds(door.pids) - cpu
    times = stored_at(beside.plan.bucket_folder, since=began)
    must_equal(len(times), count, "objects in the storage")
    must_equal(len(provider.calls("generate")), count, "calls of the provider")
    must_equal(door.done() - done, count, "jobs that are done")
    return Burst(times, used, memory)
