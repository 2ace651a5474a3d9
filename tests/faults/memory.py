"""How far the memory of a process grows while something is done to it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

POLL_INTERVAL_SECONDS = 0.005


@dataclass
class Growth:
    """The most that was in memory beyond what was there at first."""

    bytes: int = 0

    def __str__(self) -> str:
        return f"{self.bytes / 1e6:.0f} MB"


@contextmanager
def growing(pid: int | None) -> Iterator[Growth]:
    """Watch the memory of a process until the block ends."""
    growth, over = Growth(), threading.Event()
    process = psutil.Process(pid)
    began = process.memory_info().rss

    def watch() -> None:
        while not over.wait(POLL_INTERVAL_SECONDS):
            growth.bytes = max(growth.bytes, process.memory_info().rss - began)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield growth
    finally:
        over.set()
        watcher.join()
