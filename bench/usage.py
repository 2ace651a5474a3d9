"""The resources that processes use."""

from collections.abc import Iterable, Iterator

import psutil


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU seconds that processes and their children have used so far."""
    return sum(
        times.user + times.system for times in (one.cpu_times() for one in _with_children(pids))
    )


def memory_bytes(pids: Iterable[int]) -> int:
    """Return the memory that processes and their children hold; shared memory is split."""
    return sum(int(one.memory_full_info().pss) for one in _with_children(pids))


def _with_children(pids: Iterable[int]) -> Iterator[psutil.Process]:
    for pid in pids:
        one = psutil.Process(pid)
        yield one
        yield from one.children(recursive=True)
