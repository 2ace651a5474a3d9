"""How far the memory of a process grows while something is done to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event

import psutil

from tests.support.background import in_background

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
    growth = Growth()
    process = psutil.Process(pid)
    began = process.memory_info().rss

    def watch(over: Event) -> None:
        while not over.wait(POLL_INTERVAL_SECONDS):
            growth.bytes = max(growth.bytes, process.memory_info().rss - began)

    with in_background(watch):
        yield growth
