"""The pool's threads, which let Celery know at once when one of them is free.

While all are busy Celery takes no message (`worker_disable_prefetch`), and whether that is still so
it sees only when its loop turns: when something comes in, else once a second. With four threads and
calls of 0.6 s, a third of their time was lost to that.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from celery import bootsteps

P = ParamSpec("P")
T = TypeVar("T")


class Threads(ThreadPoolExecutor):
    """Calls `tell` on the thread that is done, each time that one is."""

    def __init__(self, count: int, on_idle: Callable[[], object]) -> None:
        """Run `count` threads at most."""
        super().__init__(count)
        self._on_idle = on_idle

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run on a thread; what follows from it, Celery's own notes too, is done by `tell`."""
        future = super().submit(fn, *args, **kwargs)
        future.add_done_callback(lambda _: self._on_idle())
        return future


class NotifyHubOnIdle(bootsteps.StartStopStep):
    """Gives the pool such threads before the first message comes."""

    requires = ("celery.worker.components:Hub", "celery.worker.components:Pool")

    def start(self, parent: Any) -> None:  # noqa: ANN401  Celery's worker has no type
        """Turn the loop, from whichever thread, by a call that does nothing."""
        hub, pool = parent.hub, parent.pool
        if hub is not None:
            pool.executor = Threads(pool.limit, lambda: hub.call_soon(_nothing))


def _nothing() -> None:
    pass
