"""A clock that is off, for one process: what Python tells of the time of day is shifted."""

import datetime as dt
import time


def shift_clock(seconds: float) -> None:
    """Shift `time.time`, `time.time_ns` and `datetime.now` for modules imported from now on."""
    true_time, true_time_ns = time.time, time.time_ns

    class Shifted(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> "Shifted":
            return cls.fromtimestamp(time.time(), tz)

        @classmethod
        def utcnow(cls) -> "Shifted":
            return cls.fromtimestamp(time.time(), dt.UTC).replace(tzinfo=None)

    time.time = lambda: true_time() + seconds
    time.time_ns = lambda: true_time_ns() + int(seconds * 1e9)
    dt.datetime = Shifted  # type: ignore[misc]
