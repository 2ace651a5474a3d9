"""What a worker does with a job: claim it, move it on, and report what that taught."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.errors import JobError, LostLease
from shared.jobs import DOUBTFUL, MOVES, Answer, Image, Job, State
from shared.provider_keys import NO_KEY, ProviderKey
from shared.store.answers import identities
from shared.store.call import PREFIX, Argument, Call, job_key, words
from shared.store.records import (
    answer_json,
    image_json,
    job_of,
    pairs,
    request_known_by,
    said_json,
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that this worker thread holds, and the provider key it may use."""

    job: Job
    fence: str
    #: NO_KEY where the job needs none: its image is paid already
    key: ProviderKey
    #: whether there was another to be claimed
    more: bool = field(default=False, compare=False)
    #: whether the job was lost with its worker: of those, a process does one at a time
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """The gate is closed, why, and for how many seconds at least."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Signal:
    """What one call taught about the provider or the storage, for all workers.

    The words are those of `dr.apply_signal` in `shared/lua/prelude_gate.lua`.
    """

    words: str = "none"

    @classmethod
    def healthy(cls, key: ProviderKey) -> "Signal":
        """Report a call that the provider answered as it should."""
        return cls(f"healthy {key.id} {key.team}")

    @classmethod
    def failed(cls, key: ProviderKey) -> "Signal":
        """Report a call that failed: it counts against the key, or against the job's model."""
        return cls(f"failed {key.id} {key.team}")

    @classmethod
    def model_removed(cls, key: ProviderKey) -> "Signal":
        """Report that the provider answers, and does not offer the job's model."""
        return cls(f"model_removed {key.id} {key.team}")

    @classmethod
    def hold_key(cls, key: ProviderKey, seconds: float) -> "Signal":
        """Hold one key, which was too fast."""
        return cls(f"hold provider_rate:key:{key.id} {seconds * 1000:.0f}")

    @classmethod
    def hold_team(
        cls, key: ProviderKey, seconds: float, *, needed: float | None, has: float | None
    ) -> "Signal":
        """Hold the keys of a team that is out of credits; note what one call needs, if known."""
        known = "" if needed is None or has is None else f" {needed:g} {has:g}"
        return cls(f"hold provider_credits:team:{key.team} {seconds * 1000:.0f}{known}")

    @classmethod
    def hold_model(cls, seconds: float) -> "Signal":
        """Hold the job's model."""
        return cls(f"hold provider_down:model {seconds * 1000:.0f}")

    @classmethod
    def hold_storage(cls, seconds: float) -> "Signal":
        """Hold all new calls: what they buy could not be stored."""
        return cls(f"hold storage {seconds * 1000:.0f}")

    @classmethod
    def unfetched(cls, host: str) -> "Signal":
        """Report that the job's image could not be fetched from this host."""
        return cls(f"unfetched {host}")

    @classmethod
    def key_dead(cls, key_id: str) -> "Signal":
        """Take a key out of use."""
        return cls(f"key_dead {key_id}")

    @classmethod
    def key_alive(cls, key_id: str) -> "Signal":
        """Take a key into use again."""
        return cls(f"key_alive {key_id}")


NO_SIGNAL = Signal()
#: the job's image has to be made again, because its URL is no longer served
REGENERATED = Signal("regenerated")


def claim(
    nonce: str, *, lease_seconds: float, keys: Sequence[ProviderKey], apart: bool = True
) -> Call[Claim | Closed | None]:
    """Claim the fairest job; None when there is none.

    `apart` says whether it may be one that was lost with its worker: of those, a process does one
    at a time.
    """
    sources = MOVES["claim"].sources | MOVES["resume"].sources
    return Call(
        "claim",
        (f"{PREFIX}claim:{nonce}",),
        (words(sources), lease_seconds * 1000, "1" if apart else "", *map(_with_team, keys)),
        lambda reply: _claimed(reply, keys),
    )


def _with_team(key: ProviderKey) -> str:
    return f"{key.id} {key.team}"


def _claimed(reply: Sequence[str], keys: Sequence[ProviderKey]) -> Claim | Closed | None:
    if reply[0] == "job":
        _, job_id, fence, key_id, more, *flat = reply
        record = pairs(flat)
        key = next((key for key in keys if key.id == key_id), NO_KEY)
        return Claim(job_of(job_id, record), fence, key, more == "1", "apart" in record)
    return closed(reply)


def closed(reply: Sequence[str]) -> Closed | None:
    """Read the answer of a claim that got nothing."""
    return Closed(reply[1], int(reply[2]) / 1000) if reply[0] == "closed" else None


def calling(held: Claim) -> Call[None]:
    """Note that the provider is being asked. Raises LostLease, as all moves below do."""
    return _move("calling", held, 0 if held.job.pending_record else 1)


def submitted(held: Claim, record_id: str) -> Call[bool]:
    """Note the provider's record of a call that it now works on; False for another job's."""
    sources = words(frozenset({State.CALLING}))
    known_by = identities(held.job.id, Answer(record_id, ""))
    args = (held.job.id, held.fence, sources, record_id, known_by)
    return Call("submitted", (job_key(held.job.id),), args, _is_own)


def checkpoint(held: Claim, answer: Answer, *, seconds: float) -> Call[bool]:
    """Keep the provider's answer, which took `seconds`; False where it is another job's."""
    move = _move(
        "checkpoint",
        held,
        answer_json(answer),
        answer.record_id or "",
        f"{seconds:.4f}",
        answer.object_name,
        Signal.healthy(held.key).words,
        identities(held.job.id, answer),
    )
    return Call(move.script, move.keys, move.args, _is_own)


def own_answer(held: Claim, answer: Answer) -> Call[bool]:
    """Return whether what a look-up gave a paid job is its own, and not another job's."""
    args = (held.job.id, held.fence, words(frozenset({State.FETCHING})))
    known_by = identities(held.job.id, answer)
    return Call("own_answer", (job_key(held.job.id),), (*args, known_by), _is_own)


def _is_own(reply: str) -> bool:
    moved(reply)
    return reply != "repeated"


def succeed(held: Claim, image: Image, *, download: float, store: float) -> Call[None]:
    """End the job well; `download` and `store` are the seconds that those steps took."""
    # what may be the image of another request is not given to those who ask for this one again
    known_by = "" if DOUBTFUL & set(image.warnings) else request_known_by(held.job.spec)
    return _move("succeed", held, image_json(image), f"{download:.4f}", f"{store:.4f}", known_by)


@dataclass(frozen=True, slots=True)
class Again:
    """How a job is to be tried again: when, and what the attempt counts as."""

    wait_seconds: float
    give_back: bool = False
    unknown: bool = False
    regenerate: bool = False
    signal: Signal = NO_SIGNAL
    #: whether another key should try next, where there is one
    key_failed: bool = False


def retry(held: Claim, error: JobError, again: Again) -> Call[None]:
    """Queue the job again because of `error`."""
    return _move(
        "retry",
        held,
        round(again.wait_seconds * 1000),
        int(again.give_back),
        int(again.unknown),
        int(again.regenerate),
        again.signal.words,
        error.code.value,
        str(error),
        said_json(error),
        held.key.id if again.key_failed else "",
    )


def release(held: Claim) -> Call[None]:
    """Give the job back untouched, with its attempt."""
    return _move("release", held)


def fail(
    held: Claim,
    error: JobError,
    *,
    unknown: bool = False,
    signal: Signal = NO_SIGNAL,
    forget_answer: bool = False,
) -> Call[None]:
    """End the job because of `error`; `unknown` counts one more unknown outcome.

    `forget_answer`: what the provider sold is of no use, so that a retry has to buy again.
    """
    return _move(
        "fail",
        held,
        error.code.value,
        str(error),
        int(error.retryable),
        int(unknown),
        signal.words,
        said_json(error),
        int(forget_answer),
    )


def _move(name: str, held: Claim, *args: Argument) -> Call[None]:
    sources = words(MOVES[name].sources)
    return Call(name, (job_key(held.job.id),), (held.job.id, held.fence, sources, *args), moved)


def moved(reply: str) -> None:
    """Read the answer of a move; raises LostLease."""
    if reply == "lost":
        raise LostLease
