"""Workers' operations on jobs: claim, transitions, and signals about the provider."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

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
    #: NO_KEY if the job needs none, because its image is already paid for
    key: ProviderKey
    #: whether there was another to claim
    more: bool = field(default=False, compare=False)
    #: whether the job lost a worker before: a process runs one of those at a time
    isolated: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """The gate is closed, why, and for how many seconds at least."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Signal:
    """What one call revealed about the provider or the storage, for all workers.

    The words are those of `signals.apply` in `shared/lua/lib/signals.lua`.
    """

    text: str = "none"

    @classmethod
    def healthy(cls, key: ProviderKey) -> "Signal":
        """Report a call that the provider answered as expected."""
        return cls(f"healthy {key.id} {key.team}")

    @classmethod
    def failed(cls, key: ProviderKey) -> "Signal":
        """Report a failed call: it counts against the key, or against the job's model."""
        return cls(f"failed {key.id} {key.team}")

    @classmethod
    def model_removed(cls, key: ProviderKey) -> "Signal":
        """Report that the provider does not offer the job's model."""
        return cls(f"model_removed {key.id} {key.team}")

    @classmethod
    def hold_key(cls, key: ProviderKey, seconds: float) -> "Signal":
        """Hold one key, which reached its rate limit."""
        return cls(f"hold provider_rate:key:{key.id} {seconds * 1000:.0f}")

    @classmethod
    def hold_team(
        cls, key: ProviderKey, seconds: float, *, needed: float | None, has: float | None
    ) -> "Signal":
        """Hold the keys of a team without credits; record what one call needs, if known."""
        amounts = "" if needed is None or has is None else f" {needed:g} {has:g}"
        return cls(f"hold provider_credits:team:{key.team} {seconds * 1000:.0f}{amounts}")

    @classmethod
    def hold_model(cls, seconds: float) -> "Signal":
        """Hold the job's model."""
        return cls(f"hold provider_down:model {seconds * 1000:.0f}")

    @classmethod
    def hold_storage(cls, seconds: float) -> "Signal":
        """Hold all new calls, because their images could not be stored."""
        return cls(f"hold storage {seconds * 1000:.0f}")

    @classmethod
    def unfetched(cls, host: str) -> "Signal":
        """Report that the job's image could not be downloaded from this host."""
        return cls(f"unfetched {host}")

    @classmethod
    def key_dead(cls, key_id: str) -> "Signal":
        """Stop using a key."""
        return cls(f"key_dead {key_id}")

    @classmethod
    def key_alive(cls, key_id: str) -> "Signal":
        """Use a key again."""
        return cls(f"key_alive {key_id}")


NO_SIGNAL = Signal()
#: the job's image must be generated again, because its URL is no longer served
REGENERATED = Signal("regenerated")


def claim(
    nonce: str, *, lease_seconds: float, keys: Sequence[ProviderKey], isolated: bool = True
) -> Command[Claim | Closed | None]:
    """Claim the fairest job; None if there is none.

    `isolated` allows a job that lost a worker before: a process runs one of those at a time.
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


def _claimed(reply: Sequence[Any], keys: Sequence[ProviderKey]) -> Claim | Closed | None:
    if reply[0] == "job":
        _, job_id, fence, key_id, more, flat = reply
        record = pairs(flat)
        key = next((key for key in keys if key.id == key_id), NO_KEY)
        return Claim(job_of(job_id, record), fence, key, more == "1", "isolated" in record)
    return closed(reply)


def closed(reply: Sequence[str]) -> Closed | None:
    """Parse the reply of a claim without a job."""
    return Closed(reply[1], int(reply[2]) / 1000) if reply[0] == "closed" else None


def start_call(held: Claim) -> Command[None]:
    """Record that the provider is being called. Raise LostLease, like all transitions below."""
    is_lookup = held.job.pending_record is not None
    operation = operations.StartCall(
        id=held.job.id,
        fence=held.fence,
        images=0 if is_lookup else 1,
        key="" if is_lookup else held.key.id,
    )
    return Command(operation, moved)


def record_submitted(held: Claim, record_id: str) -> Command[bool]:
    """Record the provider's record of a running call; return False if it belongs to another job."""
    operation = operations.RecordSubmitted(
        id=held.job.id,
        fence=held.fence,
        record_id=record_id,
        identities=identities(held.job.id, ProviderResult(record_id, "")),
    )
    return Command(operation, _is_own)


def checkpoint(held: Claim, answer: ProviderResult, *, seconds: float) -> Command[bool]:
    """Store the provider's answer, which took `seconds`; False if it belongs to another job."""
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
    """Return whether a looked-up answer belongs to this paid job, and not to another."""
    identity = identities(held.job.id, answer)
    return Command(operations.ClaimAnswer(held.job.id, held.fence, identity), _is_own)


def _is_own(reply: str) -> bool:
    moved(reply)
    return reply != "repeated"


def succeed(held: Claim, image: Image, *, download: float, store: float) -> Command[None]:
    """End the job successfully; `download` and `store` are the seconds of those steps."""
    # an image that may belong to another request is not reused
    operation = operations.Succeed(
        id=held.job.id,
        fence=held.fence,
        image=image_json(image),
        download_seconds=f"{download:.4f}",
        store_seconds=f"{store:.4f}",
        request_hash=""
        if DOUBTFUL & set(image.warnings)
        else request_hash(held.job.spec, held.job.model),
    )
    return Command(operation, moved)


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The result of ending a job and claiming the next in one call.

    The next one is claimed even if the lease of the first is lost.
    """

    is_lost: bool
    #: the reply of the claim, and the keys that it could choose from
    claimed: Sequence[Any]
    keys: Sequence[ProviderKey]

    @property
    def next(self) -> Claim | Closed | None:
        """What `claim` returns; parsed late, because its record may be damaged."""
        return _claimed(self.claimed, self.keys)


def succeed_and_claim(
    succeed: Command[None], nonce: str, *, lease_seconds: float, keys: Sequence[ProviderKey]
) -> Command[Succeeded]:
    """Run a `succeed`, and claim the next job, which is no isolated one, in one call."""
    operation = replace(
        cast("operations.Succeed", succeed.operation),
        nonce=nonce,
        lease_ms=lease_seconds * 1000,
        keys=tuple(map(_with_team, keys)),
    )
    return Command(operation, lambda reply: Succeeded(reply[0] == "lost", reply[1], keys))


@dataclass(frozen=True, slots=True)
class Requeue:
    """How to retry a job: when, and whether the attempt counts."""

    wait_seconds: float
    refund_attempt: bool = False
    unknown: bool = False
    regenerate: bool = False
    #: whether the next attempt calls the provider, because it lost the record of the last call
    forget_record: bool = False
    signal: Signal = NO_SIGNAL
    #: whether to prefer another key for the next attempt
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
        forget_record=outcome.forget_record,
        signal=outcome.signal.text,
        code=error.code.value,
        message=str(error),
        excerpt=excerpt_json(error),
        failed_key=held.key.id if outcome.key_failed else "",
    )
    return Command(operation, moved)


def release(held: Claim) -> Command[None]:
    """Release the job to the queue; the attempt does not count."""
    return Command(operations.Release(held.job.id, held.fence), moved)


def fail(
    held: Claim,
    error: JobError,
    *,
    unknown: bool = False,
    signal: Signal = NO_SIGNAL,
    discard_answer: bool = False,
) -> Command[None]:
    """Fail the job because of `error`; `unknown` counts one more unknown outcome.

    `discard_answer`: the provider's answer is useless, so that a retry pays again.
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
    """Parse the reply of a transition; raise LostLease."""
    if reply == "lost":
        raise LostLease
