"""What a worker does with a job: claim it, move it on, and report what that taught."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.errors import JobError, LostLease
from shared.jobs import DOUBTFUL, Image, Job, ProviderResult
from shared.provider_keys import NO_KEY, ProviderKey
from shared.store import operations
from shared.store.answers import identities
from shared.store.codec import answer_json, excerpt_json, image_json, job_of, pairs, request_hash
from shared.store.command import Command


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
    isolated: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """The gate is closed, why, and for how many seconds at least."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Signal:
    """What one call taught about the provider or the storage, for all workers.

    The words are those of `signals.apply` in `shared/lua/lib/signals.lua`.
    """

    text: str = "none"

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
        amounts = "" if needed is None or has is None else f" {needed:g} {has:g}"
        return cls(f"hold provider_credits:team:{key.team} {seconds * 1000:.0f}{amounts}")

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
    nonce: str, *, lease_seconds: float, keys: Sequence[ProviderKey], isolated: bool = True
) -> Command[Claim | Closed | None]:
    """Claim the fairest job; None when there is none.

    `isolated` allows a job that lost its worker before: of those, a process does one
    at a time.
    """
    operation = operations.Claim(
        nonce=nonce,
        lease_ms=lease_seconds * 1000,
        allow_isolated=isolated,
        keys=tuple(map(_with_team, keys)),
    )
    return Command(operation, lambda reply: _claimed(reply, keys))


def _with_team(key: ProviderKey) -> str:
    return f"{key.id} {key.team}"


def _claimed(reply: Sequence[str], keys: Sequence[ProviderKey]) -> Claim | Closed | None:
    if reply[0] == "job":
        _, job_id, fence, key_id, more, *flat = reply
        record = pairs(flat)
        key = next((key for key in keys if key.id == key_id), NO_KEY)
        return Claim(job_of(job_id, record), fence, key, more == "1", "isolated" in record)
    return closed(reply)


def closed(reply: Sequence[str]) -> Closed | None:
    """Read the answer of a claim that got nothing."""
    return Closed(reply[1], int(reply[2]) / 1000) if reply[0] == "closed" else None


def start_call(held: Claim) -> Command[None]:
    """Note that the provider is being asked. Raises LostLease, as all moves below do."""
    is_lookup = held.job.pending_record is not None
    operation = operations.StartCall(
        id=held.job.id,
        fence=held.fence,
        images=0 if is_lookup else 1,
        key="" if is_lookup else held.key.id,
    )
    return Command(operation, moved)


def record_submitted(held: Claim, record_id: str) -> Command[bool]:
    """Note the provider's record of a call that it now works on; False for another job's."""
    operation = operations.RecordSubmitted(
        id=held.job.id,
        fence=held.fence,
        record_id=record_id,
        identities=identities(held.job.id, ProviderResult(record_id, "")),
    )
    return Command(operation, _is_own)


def checkpoint(held: Claim, answer: ProviderResult, *, seconds: float) -> Command[bool]:
    """Keep the provider's answer, which took `seconds`; False where it is another job's."""
    operation = operations.Checkpoint(
        id=held.job.id,
        fence=held.fence,
        answer=answer_json(answer),
        record_id=answer.record_id or "",
        provider_seconds=f"{seconds:.4f}",
        object_name=answer.object_name,
        signal=Signal.healthy(held.key).text,
        identities=identities(held.job.id, answer),
    )
    return Command(operation, _is_own)


def claim_answer(held: Claim, answer: ProviderResult) -> Command[bool]:
    """Return whether what a look-up gave a paid job is its own, and not another job's."""
    identity = identities(held.job.id, answer)
    return Command(operations.ClaimAnswer(held.job.id, held.fence, identity), _is_own)


def _is_own(reply: str) -> bool:
    moved(reply)
    return reply != "repeated"


def succeed(held: Claim, image: Image, *, download: float, store: float) -> Command[None]:
    """End the job well; `download` and `store` are the seconds that those steps took."""
    # what may be the image of another request is not given to those who ask for this one again
    operation = operations.Succeed(
        id=held.job.id,
        fence=held.fence,
        image=image_json(image),
        download_seconds=f"{download:.4f}",
        store_seconds=f"{store:.4f}",
        request_hash="" if DOUBTFUL & set(image.warnings) else request_hash(held.job.spec),
    )
    return Command(operation, moved)


@dataclass(frozen=True, slots=True)
class Requeue:
    """How a job is to be tried again: when, and what the attempt counts as."""

    wait_seconds: float
    refund_attempt: bool = False
    unknown: bool = False
    regenerate: bool = False
    signal: Signal = NO_SIGNAL
    #: whether another key should try next, where there is one
    key_failed: bool = False


def requeue(held: Claim, error: JobError, outcome: Requeue) -> Command[None]:
    """Queue the job again because of `error`."""
    operation = operations.Requeue(
        id=held.job.id,
        fence=held.fence,
        wait_ms=round(outcome.wait_seconds * 1000),
        refund_attempt=outcome.refund_attempt,
        unknown=outcome.unknown,
        regenerate=outcome.regenerate,
        signal=outcome.signal.text,
        code=error.code.value,
        message=str(error),
        excerpt=excerpt_json(error),
        failed_key=held.key.id if outcome.key_failed else "",
    )
    return Command(operation, moved)


def release(held: Claim) -> Command[None]:
    """Give the job back untouched, with its attempt."""
    return Command(operations.Release(held.job.id, held.fence), moved)


def fail(
    held: Claim,
    error: JobError,
    *,
    unknown: bool = False,
    signal: Signal = NO_SIGNAL,
    discard_answer: bool = False,
) -> Command[None]:
    """End the job because of `error`; `unknown` counts one more unknown outcome.

    `discard_answer`: what the provider sold is of no use, so that a retry has to buy again.
    """
    operation = operations.Fail(
        id=held.job.id,
        fence=held.fence,
        code=error.code.value,
        message=str(error),
        retryable=int(error.retryable),
        unknown=unknown,
        signal=signal.text,
        excerpt=excerpt_json(error),
        discard_answer=discard_answer,
    )
    return Command(operation, moved)


def moved(reply: str) -> None:
    """Read the answer of a move; raises LostLease."""
    if reply == "lost":
        raise LostLease
