"""Names for new things: sortable by when they were made, and not to be guessed."""

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


class Ulids:
    """Makes ULIDs that sort in the order of their making, also within one millisecond."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> str:
        """Make one: ten letters of the time in milliseconds, sixteen of chance."""
        now = time.time_ns() // 1_000_000
        # the top bit stays clear, so that counting up never runs over into the time
        fresh = now << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS - 1)
        with self._lock:
            self._last = max(fresh, self._last + 1)
            return _letters(self._last, _TIME_LETTERS + _RANDOM_LETTERS)


_ULIDS = Ulids()


def job_id() -> str:
    """Make a job's id: `job_` and a ULID, whose first ten letters are the time in milliseconds."""
    return JOB_PREFIX + _ULIDS.next()


def batch_id() -> str:
    """Make a batch's id: `batch_` and a ULID."""
    return BATCH_PREFIX + _ULIDS.next()


def message_id() -> str:
    """Make the id of a message that tells of no job."""
    return f"msg_{_ULIDS.next()}"


def time_letters(milliseconds: int) -> str:
    """Write a time (since 1970) as the first ten letters of a ULID: text sorts as time does."""
    return _letters(milliseconds, _TIME_LETTERS)


def is_job_id(text: str) -> bool:
    """Tell whether this could be the id of a job."""
    return _is_id(text, JOB_PREFIX)


def is_batch_id(text: str) -> bool:
    """Tell whether this could be the id of a batch."""
    return _is_id(text, BATCH_PREFIX)


def _is_id(text: str, prefix: str) -> bool:
    letters = text.removeprefix(prefix)
    return (
        text.startswith(prefix)
        and len(letters) == _TIME_LETTERS + _RANDOM_LETTERS
        and set(letters) <= set(ALPHABET)
    )


#: Two letters at a time are twice as fast, and every count of letters here is even.
_PAIRS = tuple(first + second for first in ALPHABET for second in ALPHABET)


def _letters(number: int, count: int) -> str:
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in range(5 * count - 10, -1, -10)])
