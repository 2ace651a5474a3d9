"""A deliver worker's threads within the test, for a store that an API serves."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sandbox.wait import wait_until
from tests.support.store import World
from tests.support.worker_harness import close_context
from worker.lifecycle import build_context
from worker.webhook_delivery import do_next_deliveries

KEYS = {"onemin_api_key": "k", "s3_access_key": "access-key", "s3_secret_key": "secret-key"}


@contextmanager
def delivering(redis_url: str, *, threads: int = 2, **changes: Any) -> Iterator[World]:
    """Deliver what is pending, and sweep, until the block ends; yield the world of the worker."""
    world = World(redis_url, **{**KEYS, "webhook_allow_hosts": "127.0.0.1", **changes})
    context = build_context(world.settings, world.scripts, ["deliver"])
    over = threading.Event()

    def deliver() -> None:
        while not over.wait(0.01):
            do_next_deliveries(context)

    def sweep() -> None:
        while not over.wait(0.05):
            world.sweep()

    running = [threading.Thread(target=deliver) for _ in range(threads)]
    running.append(threading.Thread(target=sweep))
    for thread in running:
        thread.start()
    try:
        yield world
    finally:
        over.set()
        context.stopping.set()
        for thread in running:
            thread.join(20)
        wait_until(lambda: not any(thread.is_alive() for thread in running), "the threads' end")
        close_context(context)
        world.close()
