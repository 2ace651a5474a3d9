"""What becomes of an attempt that went wrong: a value, computed here, acted on in `generate`.

Paid calls of a job are at most 1 + unknown outcomes + regenerated, and those two together are at
most one: so never more than two, whatever happens.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile

from shared.errors import (
    ContentRejected,
    FetchFailed,
    ImageExpired,
    ImageInvalid,
    Internal,
    JobError,
    ModelGone,
    ProviderAuth,
    ProviderBusy,
    ProviderCredits,
    ProviderDown,
    ProviderRejected,
    ProviderTimeout,
    StorageDown,
    UnknownOutcome,
)
from shared.jobs import Change, Job, OnUnknown, State
from shared.store.moves import ALIVE, DOWN, GONE, NOTHING, Again, Lesson

#: Gives a number from 0 to 1 each time.
Chance = Callable[[], float]

#: Waits before the next attempt double from the first to the last of these, in seconds.
BACKOFF_FIRST_SECONDS = 1.0
BACKOFF_LAST_SECONDS = 60.0
#: Even the luckiest waits this long.
BACKOFF_LEAST_SECONDS = 0.05
#: How long the queue is held when the provider says "too fast" without saying for how long. A
#: random part of it is added, to this and to what the provider says.
BUSY_SECONDS = 1.0
#: How often an account without credits is probed.
CREDITS_PROBE_SECONDS = 30.0
#: How long no new picture is bought after the storage failed; what is bought is tried again.
#: Above the time that an attempt at a dead storage takes, else the hold would run out meanwhile;
#: the first picture that is stored ends it.
STORAGE_HOLD_SECONDS = 30.0
STORAGE_AGAIN_SECONDS = 5.0
#: A picture that does not come over whole is fetched this often before it counts as invalid.
FETCHES = 3
#: What asked-for waits are cut to; "0" would have us ask again and again without a pause.
HOLD_LEAST_SECONDS = 0.5
RETRY_AFTER_MOST_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Failed:
    """The job ends, because of `error`."""

    error: JobError
    unknown: bool = False
    lesson: Lesson = NOTHING


def decide(
    job: Job,
    error: JobError,
    *,
    key_id: str,
    recorded: bool = False,
    chance: Chance = random.random,
) -> Again | Failed:
    """Say what becomes of `job` (as it was claimed) after `error`; `key_id` is the key it used.

    `recorded`: the provider has a record of the call, so what became of it can be looked up.
    `chance` spreads the waits: it gives a number from 0 to 1 each time.
    """
    lesson = lesson_of(error, key_id=key_id, chance=chance)
    if isinstance(error, UnknownOutcome | ProviderTimeout):
        if recorded and job.attempt < job.max_attempts:
            return Again(_backoff(job.attempt, chance), lesson=lesson)
        return _unknown(job, error, lesson, chance)
    if isinstance(error, ImageExpired):
        return Again(0, regenerate=True) if _has_spare_call(job) else Failed(error)
    if not error.retryable or _is_last(job, error):
        return Failed(_named(error), lesson=lesson)
    return Again(_wait(job, error, chance), give_back=not error.costs_attempt, lesson=lesson)


def lesson_of(error: JobError, *, key_id: str, chance: Chance = random.random) -> Lesson:
    """Say what an error taught about the provider or the storage."""
    if isinstance(error, ProviderAuth):
        return Lesson.dead_key(key_id)
    seconds = _HOLDS.get(type(error))
    if seconds is not None:
        asked = error.retry_after if error.retry_after is not None else seconds
        held = min(max(asked, HOLD_LEAST_SECONDS), RETRY_AFTER_MOST_SECONDS)
        return _hold(error, held + _spread(error, chance))
    return _LESSONS.get(type(error), NOTHING)


def _spread(error: JobError, chance: Chance) -> float:
    """Give the seconds added to a hold for "too fast": others were told to wait as long.

    Equal jitter where the provider named no time; what it named stays the least.
    """
    return BUSY_SECONDS * chance() if isinstance(error, ProviderBusy) else 0


_HOLDS: Mapping[type[JobError], float] = {
    ProviderBusy: BUSY_SECONDS,
    ProviderCredits: CREDITS_PROBE_SECONDS,
    StorageDown: STORAGE_HOLD_SECONDS,
}
_LESSONS: Mapping[type[JobError], Lesson] = {
    ProviderDown: DOWN,
    UnknownOutcome: DOWN,
    # still being made when its time was over: it may be billed as well
    ProviderTimeout: DOWN,
    # it answered, and understood what it was asked
    ProviderRejected: ALIVE,
    ModelGone: GONE,
    ContentRejected: ALIVE,
}


def _hold(error: JobError, seconds: float) -> Lesson:
    if isinstance(error, ProviderCredits) and error.needed is not None and error.has is not None:
        return Lesson.without_credits(seconds, needed=error.needed, has=error.has)
    return Lesson.hold(_HELD_AS[type(error)], seconds)


_HELD_AS: Mapping[type[JobError], str] = {
    ProviderBusy: "provider_rate",
    ProviderCredits: "provider_credits",
    StorageDown: "storage",
}


def _unknown(job: Job, error: JobError, lesson: Lesson, chance: Chance) -> Again | Failed:
    if job.spec.on_unknown is OnUnknown.FAIL or not _has_spare_call(job):
        return Failed(error, unknown=True, lesson=lesson)
    return Again(_backoff(job.attempt, chance), unknown=True, lesson=lesson)


def _has_spare_call(job: Job) -> bool:
    return job.unknown_outcomes + job.regenerated == job.spent and job.attempt < job.max_attempts


def _is_last(job: Job, error: JobError) -> bool:
    if isinstance(error, FetchFailed) and _fetches(job) >= FETCHES:
        return True
    if isinstance(error, Internal) and job.last_trouble is error.code:
        return True
    return error.costs_attempt and job.attempt >= job.max_attempts


def _fetches(job: Job) -> int:
    """Count the attempts, this one too, that have fetched the picture last bought.

    One that was given back (the storage was away, a worker stopped) keeps its number and so does
    not count again.
    """
    since = [change.attempt for change in _since_bought(job) if change.state is State.FETCHING]
    return len({*since, job.attempt})


def _since_bought(job: Job) -> Iterator[Change]:
    if job.answer is None:
        return iter(())
    return takewhile(lambda change: not _begins(change.state), reversed(job.history))


def _begins(state: State) -> bool:
    return state is State.CALLING or state.is_final


def _named(error: JobError) -> JobError:
    """Call a picture that never came over whole what it is in the end: no picture."""
    return ImageInvalid(str(error)) if isinstance(error, FetchFailed) else error


def _wait(job: Job, error: JobError, chance: Chance) -> float:
    """Give the seconds to the next attempt: 0 where the gate does the waiting."""
    if isinstance(error, ProviderBusy | ProviderCredits | ProviderAuth):
        return 0
    if isinstance(error, StorageDown):
        return STORAGE_AGAIN_SECONDS * (0.5 + chance() / 2)
    return max(_backoff(job.attempt, chance), error.retry_after or 0)


def _backoff(attempt: int, chance: Chance) -> float:
    """Wait a random part of a time that doubles (full jitter), but never nothing."""
    most = min(BACKOFF_FIRST_SECONDS * 2.0 ** (attempt - 1), BACKOFF_LAST_SECONDS)
    return max(chance() * most, BACKOFF_LEAST_SECONDS)
