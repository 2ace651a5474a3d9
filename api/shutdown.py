"""React to stop signals early.

The server waits for open requests before it ends the app's lifespan, and long-polling requests wait
for changes: they must be woken when the signal arrives.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def on_stop_signal(callback: Callable[[], object]) -> Iterator[None]:
    """Call `callback` when the process is asked to stop, then the previous handler.

    Signals reach only the main thread; elsewhere this does nothing. `callback` runs inside a signal
    handler, so it must return at once.
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
