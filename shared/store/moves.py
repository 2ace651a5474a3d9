"""What a worker does with a job: claim it, move it on, and what that taught of the provider."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.errors import JobError, LostLease
from shared.jobs import DOUBTFUL, MOVES, Answer, Image, Job, State
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
    """A job that this worker thread holds, and the provider key it may use ('' for none)."""

    job: Job
    fence: str
    key_id: str
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
class Lesson:
    """What one call taught about the provider or the storage, for all workers."""

    word: str = ""

    @classmethod
    def hold(cls, reason: str, seconds: float) -> "Lesson":
        """Let nobody ask again for this long."""
        return cls(f"hold {reason} {seconds * 1000:.0f}")

    @classmethod
    def without_credits(cls, seconds: float, *, needed: float, has: float) -> "Lesson":
        """Let nobody ask again for this long, and note the credits that one call needs."""
        return cls(f"{cls.hold('provider_credits', seconds).word} {needed:g} {has:g}")

    @classmethod
    def dead_key(cls, key_id: str) -> "Lesson":
        """Take a key out of use."""
        return cls(f"dead {key_id}")

    @classmethod
    def living_key(cls, key_id: str) -> "Lesson":
        """Take a key into use again."""
        return cls(f"living {key_id}")


NOTHING = Lesson("none")
ALIVE = Lesson("alive")
DOWN = Lesson("down")
#: the provider is up, and does not offer the job's model; a good call of it takes that back
GONE = Lesson("gone")


def claim(
    nonce: str, *, lease_seconds: float, key_ids: Sequence[str], apart: bool = True
) -> Call[Claim | Closed | None]:
    """Claim the fairest job; None when there is none.

    `apart` says whether it may be one that was lost with its worker: of those, a process does one
    at a time.
    """
    sources = MOVES["claim"].sources | MOVES["resume"].sources
    return Call(
        "claim",
        (f"{PREFIX}claim:{nonce}",),
        (words(sources), lease_seconds * 1000, "1" if apart else "", *key_ids),
        _claimed,
    )


def _claimed(reply: Sequence[str]) -> Claim | Closed | None:
    if reply[0] == "job":
        _, job_id, fence, key_id, more, *flat = reply
        record = pairs(flat)
        return Claim(job_of(job_id, record), fence, key_id, more == "1", "apart" in record)
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
    known_by, record_id = identities(held.job.id, answer), answer.record_id or ""
    args = (answer_json(answer), record_id, f"{seconds:.4f}", answer.object_name, known_by)
    move = _move("checkpoint", held, *args)
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
    lesson: Lesson = NOTHING


def retry(held: Claim, error: JobError, again: Again) -> Call[None]:
    """Queue the job again because of `error`."""
    return _move(
        "retry",
        held,
        round(again.wait_seconds * 1000),
        int(again.give_back),
        int(again.unknown),
        int(again.regenerate),
        again.lesson.word,
        error.code.value,
        str(error),
        said_json(error),
    )


def release(held: Claim) -> Call[None]:
    """Give the job back untouched, with its attempt."""
    return _move("release", held)


def fail(
    held: Claim, error: JobError, *, unknown: bool = False, lesson: Lesson = NOTHING
) -> Call[None]:
    """End the job because of `error`; `unknown` counts one more unknown outcome."""
    return _move(
        "fail",
        held,
        error.code.value,
        str(error),
        int(error.retryable),
        int(unknown),
        lesson.word,
        said_json(error),
    )


def _move(name: str, held: Claim, *args: Argument) -> Call[None]:
    sources = words(MOVES[name].sources)
    return Call(name, (job_key(held.job.id),), (held.job.id, held.fence, sources, *args), moved)


def moved(reply: str) -> None:
    """Read the answer of a move; raises LostLease."""
    if reply == "lost":
        raise LostLease
