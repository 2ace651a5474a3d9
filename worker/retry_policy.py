"""Decide what follows a failed attempt: a value, computed here, executed in `generate`.

The paid calls of one run of a job are at most 1 + unknown outcomes + regenerations. The last two
together are at most one, so a run pays for at most two calls. A retry by the client is a new run.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from shared.errors import (
    ContentRejected,
    EndpointMissing,
    FetchFailed,
    ImageDamaged,
    ImageExpired,
    ImageHostDown,
    ImageHostForbidden,
    ImageInvalid,
    ImageNotReady,
    Internal,
    JobError,
    LookUpFailed,
    ModelGone,
    ProviderAuth,
    ProviderBusy,
    ProviderCredits,
    ProviderDown,
    ProviderRejected,
    ProviderTimeout,
    RecordFailed,
    RecordLost,
    RequestBlocked,
    StorageDown,
    UnknownOutcome,
)
from shared.jobs import Job, OnUnknown, State, StateChange
from shared.provider_keys import ProviderKey
from shared.store.transitions import NO_SIGNAL, REGENERATED, Requeue, Signal

#: Returns a random number from 0 to 1.
Chance = Callable[[], float]

#: Waits before the next attempt double from the first to the last of these, in seconds.
BACKOFF_FIRST_SECONDS = 1.0
BACKOFF_LAST_SECONDS = 60.0
#: The minimum wait.
BACKOFF_LEAST_SECONDS = 0.05
#: How long a key is held after a rate-limit reply without a time. Random jitter is added, to this
#: and to what the provider asks for.
BUSY_SECONDS = 1.0
#: How often a team without credits is probed.
CREDITS_PROBE_SECONDS = 30.0
#: How long a model is held whose calls find no endpoint at the provider's URL.
ENDPOINT_HOLD_SECONDS = 30.0
#: The longest wait of a job whose record cannot be read with the key that made the call.
LOOK_UP_RETRY_SECONDS = 15.0
#: How long no new image is paid for after the storage failed; paid ones are stored later. It
#: exceeds the time of an upload attempt to a dead storage, so that the hold does not expire until
#: then; the first stored image ends it.
STORAGE_HOLD_SECONDS = 30.0
STORAGE_RETRY_SECONDS = 5.0
#: A paid image whose host is unavailable is downloaded later, after waits that double up to this:
#: half of `IMAGE_HOLD_MS` (`shared.store.functions`), so that the waiting jobs keep new calls held.
IMAGE_LATER_MOST_SECONDS = 30.0
#: The same for an image whose record cannot be read: hundreds of such jobs stay below the rate
#: limit of 1min.ai, which their look-ups share with new calls.
LOOK_UP_LATER_MOST_SECONDS = 300.0
#: Downloads of an image that is not served yet, after which new calls are held.
NOT_READY_FETCHES = 3
#: An image whose download is incomplete is downloaded this often before it counts as invalid.
FETCHES = 3
#: Limits of the waits that others ask for; "0" would mean retrying without a pause.
HOLD_LEAST_SECONDS = 0.5
RETRY_AFTER_MOST_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Fail:
    """The job fails because of `error`.

    `discard_answer`: the provider's answer is useless, so that a retry pays again.
    """

    error: JobError
    unknown: bool = False
    signal: Signal = NO_SIGNAL
    discard_answer: bool = False


def decide(
    job: Job,
    error: JobError,
    *,
    key: ProviderKey,
    recorded: bool = False,
    chance: Chance = random.random,
) -> Requeue | Fail:
    """Return what follows for `job` (as claimed) after `error`; `key` is the key it used.

    `recorded`: the provider has a record of the call, so its outcome can be looked up. `chance`
    spreads the waits: it returns a random number from 0 to 1.
    """
    signal = signal_for(job, error, key=key, chance=chance)
    if isinstance(error, UnknownOutcome | ProviderTimeout):
        if recorded and job.attempt < job.max_attempts:
            return Requeue(_backoff(job.attempt, chance), signal=signal, key_failed=True)
        return _unknown(job, error, signal, chance)
    if isinstance(error, ModelGone):
        # another key may offer the model; if none does, the sweep fails the waiting jobs
        return Requeue(0, refund_attempt=True, signal=signal, key_failed=True)
    if isinstance(error, ImageExpired) and _has_spare_call(job):
        return Requeue(0, regenerate=True, signal=signal)
    if not error.retryable or _is_last(job, error):
        discard = isinstance(error, ImageDamaged | ImageExpired)
        return Fail(_named(error), signal=signal, discard_answer=discard)
    return Requeue(
        _wait(job, error, chance),
        refund_attempt=not error.costs_attempt,
        forget_record=isinstance(error, RecordLost | RecordFailed),
        signal=signal,
        key_failed=isinstance(error, ProviderDown | RecordFailed),
    )


def signal_for(
    job: Job, error: JobError, *, key: ProviderKey, chance: Chance = random.random
) -> Signal:
    """Return what an error revealed about the provider, its keys and models, or the storage."""
    if isinstance(error, ProviderBusy):
        # others wait as long; what the provider named is the minimum
        return Signal.hold_key(key, _retry_wait(error, BUSY_SECONDS) + BUSY_SECONDS * chance())
    if isinstance(error, ImageNotReady) and _tries_to_fetch(job) >= NOT_READY_FETCHES:
        return Signal.unfetched("")
    if isinstance(error, RequestBlocked) and job.attempt > 1:
        # several jobs that are refused hold the model; the attempts of one job do not
        return NO_SIGNAL
    build = _SIGNALS.get(type(error))
    return build(error, key) if build else NO_SIGNAL


def _without_credits(error: ProviderCredits, key: ProviderKey) -> Signal:
    seconds = _retry_wait(error, CREDITS_PROBE_SECONDS)
    return Signal.hold_team(key, seconds, needed=error.needed, has=error.has)


def _unfetched(error: ImageHostDown, _: ProviderKey) -> Signal:
    return Signal.unfetched(error.host)


_SIGNALS: Mapping[type[JobError], Callable[[Any, ProviderKey], Signal]] = {
    ProviderAuth: lambda _, key: Signal.key_dead(key.id),
    ProviderCredits: _without_credits,
    StorageDown: lambda error, _: Signal.hold_storage(_retry_wait(error, STORAGE_HOLD_SECONDS)),
    EndpointMissing: lambda _, __: Signal.hold_model(ENDPOINT_HOLD_SECONDS),
    ProviderDown: lambda _, key: Signal.failed(key),
    RecordFailed: lambda _, key: Signal.failed(key),
    RequestBlocked: lambda _, key: Signal.failed(key),
    UnknownOutcome: lambda _, key: Signal.failed(key),
    # still running at the time limit: it may be billed as well
    ProviderTimeout: lambda _, key: Signal.failed(key),
    # it responded, and understood the request
    ProviderRejected: lambda _, key: Signal.healthy(key),
    ContentRejected: lambda _, key: Signal.healthy(key),
    ModelGone: lambda _, key: Signal.model_removed(key),
    ImageHostDown: _unfetched,
    ImageHostForbidden: _unfetched,
    ImageExpired: lambda _, __: REGENERATED,
}


def _retry_wait(error: JobError, seconds: float) -> float:
    """Return how long to hold: what was asked for, within limits, or else `seconds`."""
    seconds_ = error.retry_after if error.retry_after is not None else seconds
    return min(max(seconds_, HOLD_LEAST_SECONDS), RETRY_AFTER_MOST_SECONDS)


def _unknown(job: Job, error: JobError, signal: Signal, chance: Chance) -> Requeue | Fail:
    if job.spec.on_unknown is OnUnknown.FAIL or not _has_spare_call(job):
        return Fail(error, unknown=True, signal=signal)
    return Requeue(_backoff(job.attempt, chance), unknown=True, signal=signal, key_failed=True)


def _has_spare_call(job: Job) -> bool:
    return (
        job.unknown_outcomes + job.regenerated == job.spare_calls_used
        and job.attempt < job.max_attempts
    )


def _is_last(job: Job, error: JobError) -> bool:
    if isinstance(error, FetchFailed | ImageDamaged) and _fetches(job) >= FETCHES:
        return True
    if isinstance(error, ImageExpired):  # it must not be paid for again
        return True
    if isinstance(error, Internal) and job.last_error_code is error.code:
        return True
    return error.costs_attempt and job.attempt >= job.max_attempts


def _fetches(job: Job) -> int:
    """Count the attempts of this run, with this one, that downloaded the last paid image.

    An attempt that was returned (storage unavailable, worker stopped) keeps its number and so does
    not count again.
    """
    since = [change.attempt for change in _of_this_run(job) if change.state is State.FETCHING]
    return len({*since, job.attempt})


def _tries_to_fetch(job: Job) -> int:
    """Count the downloads of the last paid image in this run, including this one."""
    return max(sum(change.state is State.FETCHING for change in _of_this_run(job)), 1)


def answer_age_seconds(job: Job) -> float:
    """Return how long the provider's answer was already stored when `job` was claimed."""
    fetches = [change.at for change in _since_paid(job) if change.state is State.FETCHING]
    return ((job.claimed_at or 0) - min(fetches)) / 1000 if fetches else 0.0


def _of_this_run(job: Job) -> Iterator[StateChange]:
    """Return the changes of a paid job since its last call or retry, latest first."""
    return takewhile(lambda change: not change.state.is_final, _since_paid(job))


def _since_paid(job: Job) -> Iterator[StateChange]:
    """Return the changes of a paid job since its last call, also those of earlier runs."""
    if job.answer is None:
        return iter(())
    return takewhile(lambda change: change.state is not State.CALLING, reversed(job.history))


def _named(error: JobError) -> JobError:
    """Return the final error for an image that never arrived complete: ImageInvalid."""
    return ImageInvalid(str(error)) if isinstance(error, FetchFailed | ImageDamaged) else error


def _wait(job: Job, error: JobError, chance: Chance) -> float:
    """Return the seconds to the next attempt: 0 if the gate does the waiting."""
    if isinstance(error, ProviderBusy | ProviderAuth) and job.pending_record is not None:
        # the next claim may have another key, for which the gate is open
        return max(LOOK_UP_RETRY_SECONDS * (0.5 + chance() / 2), error.retry_after or 0)
    if isinstance(error, ProviderBusy | ProviderCredits | ProviderAuth | EndpointMissing):
        return 0
    if isinstance(error, ImageHostForbidden):
        return IMAGE_LATER_MOST_SECONDS * (0.5 + chance() / 2)
    if isinstance(error, ImageHostDown | ImageNotReady | LookUpFailed):
        return max(_fetch_later(job, error, chance), error.retry_after or 0)
    if isinstance(error, StorageDown):
        return STORAGE_RETRY_SECONDS * (0.5 + chance() / 2)
    return max(_backoff(job.attempt, chance), error.retry_after or 0)


def _fetch_later(job: Job, error: JobError, chance: Chance) -> float:
    """Return the seconds to the next download of a paid image: doubling, half of it random."""
    is_look_up = isinstance(error, LookUpFailed)
    longest = LOOK_UP_LATER_MOST_SECONDS if is_look_up else IMAGE_LATER_MOST_SECONDS
    # limited before it overflows: a host may be unavailable for days
    most = min(2.0 ** min(_tries_to_fetch(job) - 1, 10), longest)
    return most * (0.5 + chance() / 2)


def _backoff(attempt: int, chance: Chance) -> float:
    """Wait a random part of a time that doubles (full jitter), but never nothing."""
    most = min(BACKOFF_FIRST_SECONDS * 2.0 ** (attempt - 1), BACKOFF_LAST_SECONDS)
    return max(chance() * most, BACKOFF_LEAST_SECONDS)
