"""Hearing of the end before it comes.

The server waits for open requests before it ends the app's lifespan, and held requests wait for
news: somebody has to tell them when the signal comes.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def on_stop_signal(callback: Callable[[], object]) -> Iterator[None]:
    """Call `tell` when the process is asked to stop, and then whoever was to hear it before.

    Only the main thread hears signals: elsewhere nothing is done. `tell` runs inside a signal
    handler, so it must only hand on.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def hear(number: int, frame: FrameType | None) -> None:
        callback()
        then = before[signal.Signals(number)]
        if callable(then):
            then(number, frame)

    chained = {number for number, then in before.items() if callable(then)}
    for number in chained:
        signal.signal(number, hear)
    try:
        yield
    finally:
        for number in chained:
            signal.signal(number, before[number])
