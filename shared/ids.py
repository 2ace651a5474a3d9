"""Ids that sort by creation time and cannot be guessed."""

import secrets
import threading
import time

#: Crockford's base 32 in lower case: no i, l, o, u.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME_LETTERS = 10
_RANDOM_LETTERS = 16
_RANDOM_BITS = 80
JOB_PREFIX = "job_"
BATCH_PREFIX = "batch_"
ERASURE_PREFIX = "erasure_"


class Ulids:
    """Generate ULIDs that sort in order of creation, even within a millisecond."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> str:
        """Return a new one: ten characters of time in milliseconds, sixteen random ones."""
        now = time.time_ns() // 1_000_000
        # the top bit stays clear, so that increments never overflow into the time
        fresh = now << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS - 1)
        with self._lock:
            self._last = max(fresh, self._last + 1)
            return _letters(self._last, _TIME_LETTERS + _RANDOM_LETTERS)


_ULIDS = Ulids()


def job_id() -> str:
    """Return a new job id: `job_` and a ULID, which starts with ten characters of time."""
    return JOB_PREFIX + _ULIDS.next()


def batch_id() -> str:
    """Return a new batch id: `batch_` and a ULID."""
    return BATCH_PREFIX + _ULIDS.next()


def message_id() -> str:
    """Return a new id for a message that is not about a job."""
    return f"msg_{_ULIDS.next()}"


def time_letters(milliseconds: int) -> str:
    """Encode a time (ms since 1970) as the first ten characters of a ULID; they sort like times."""
    return _letters(milliseconds, _TIME_LETTERS)


def is_job_id(text: str) -> bool:
    """Return whether this could be a job id."""
    return _is_id(text, JOB_PREFIX)


def is_batch_id(text: str) -> bool:
    """Return whether this could be a batch id."""
    return _is_id(text, BATCH_PREFIX)


def _is_id(text: str, prefix: str) -> bool:
    letters = text.removeprefix(prefix)
    return (
        text.startswith(prefix)
        and len(letters) == _TIME_LETTERS + _RANDOM_LETTERS
        and set(letters) <= set(ALPHABET)
    )


#: Two characters at a time are twice as fast, and all lengths here are even.
_PAIRS = tuple(first + second for first in ALPHABET for second in ALPHABET)


def _letters(number: int, count: int) -> str:
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in range(5 * count - 10, -1, -10)])
