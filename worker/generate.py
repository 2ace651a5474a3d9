"""The life of one job, from claim to outcome.

claim → calling → ask the provider → checkpoint its answer → download → verify → store → succeed

`calling` is written before a byte is sent, so a sweep knows which lost workers may have bought a
picture. The checkpoint is written before anything is fetched: from then on the job is resumed at
the download, by whichever worker, and nothing is paid for twice.
"""

import hashlib
import threading
import time
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace

import structlog

from shared import metrics
from shared.errors import (
    ImageExpired,
    ImageNotReady,
    Internal,
    JobError,
    LostLease,
    UnknownOutcome,
)
from shared.jobs import Answer, Image, Job, State
from shared.provider_keys import NO_KEY
from shared.storage import object_name
from shared.store import moves
from shared.store.call import Call
from shared.store.moves import Again, Claim
from shared.tracing.context import logged
from shared.tracing.spans import NOTHING, Fact, Kind, Span, Tracer
from worker import notes
from worker.echo import Request
from worker.leases import Held, Leases
from worker.picture import Picture, inspect
from worker.policy import Failed, answer_age_seconds, decide
from worker.provider import Stopped
from worker.room import Room
from worker.waiting import claim_when_open

QUEUE = "generate"


def do_next_job(room: Room) -> bool:
    """Do one job, whichever is next; return at once when there is none.

    Tells whether another could have been claimed beside it.
    """
    # before the claim: where this process does not serve the queue, nothing may be taken from it
    leases = room.leases[QUEUE]
    with ExitStack() as turn:
        apart = room.has_settled and room.apart.acquire(blocking=False)
        if apart:
            turn.callback(room.apart.release)
        claim, asked_at = _claim(room, apart=apart)
        if claim is None:
            return False
        if not claim.apart:
            turn.close()
        _attempt(room, leases, claim, asked_at)
    return claim.more


def _claim(room: Room, *, apart: bool) -> tuple[Claim | None, int]:
    """Claim a job, and tell when it was asked for, in milliseconds since 1970."""
    lease, keys = room.settings.lease_seconds, room.keys
    asked_at = 0

    def ask(nonce: str) -> Call[Claim | moves.Closed | None]:
        nonlocal asked_at
        asked_at = _now_ms()
        return moves.claim(nonce, lease_seconds=lease, keys=keys, apart=apart)

    return claim_when_open(room, QUEUE, ask), asked_at


def _attempt(room: Room, leases: Leases, claim: Claim, asked_at: int) -> None:
    """Attempt the job that was claimed, under its lease and in its own log context."""
    job = claim.job
    with (
        structlog.contextvars.bound_contextvars(
            job_id=job.id, tenant=job.tenant, attempt=job.attempt, **logged(job.trace)
        ),
        leases.hold(job.id, claim.fence) as held,
        _traced(room.tracer, job, asked_at) as span,
    ):
        Attempt(room, claim, held, span).run()


def _traced(tracer: Tracer, job: Job, asked_at: int) -> AbstractContextManager[Span]:
    """Tell how long the job waited and was claimed; give the step that is the attempt."""
    if job.trace is None:
        return NOTHING
    told: dict[str, Fact] = {
        "job_id": job.id,
        "tenant": job.tenant,
        "model": job.spec.model,
        "attempt": job.attempt,
    }
    queued_at = max(change.at for change in job.history if change.state is State.QUEUED)
    claimed_at = job.claimed_at or asked_at
    tracer.past("wait", job.trace, began_ms=queued_at, ended_ms=claimed_at, **told)
    tracer.past("claim", job.trace, began_ms=asked_at, ended_ms=_now_ms(), **told)
    return tracer.follow("attempt", job.trace, kind=Kind.CONSUMER, **told)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at one job, by the thread that holds it."""

    room: Room
    claim: Claim
    held: Held
    span: Span
    began: float = field(default_factory=time.monotonic)
    #: set when the provider has a record of the call: its outcome can be looked up
    recorded: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Compute what becomes of the attempt, then write it down."""
        self.held.give_back = self._release
        notes.claimed(self.claim.job, with_prompt=self.room.settings.log_prompts)
        if self.claim.job.pending_record is not None:
            self.recorded.set()
        try:
            image, download, store = self._make()
            with self.span.step("finish"):
                self.room.insist(moves.succeed(self.claim, image, download=download, store=store))
        except LostLease:
            self._lost()
        except Stopped:
            self._hand_back()
        except JobError as error:
            self._settle(error)
        except Exception:  # noqa: BLE001  a defect of ours must not leave the job without an outcome
            notes.broken()
            self._settle(Internal("Darkroom failed in a way that it does not know."))
        else:
            self.span.note(outcome="succeeded", bytes=image.bytes)
            notes.succeeded(self.claim.job, image, seconds=time.monotonic() - self.began)

    def _lost(self) -> None:
        self.span.note(outcome="lost")
        notes.lost()

    def _make(self) -> tuple[Image, float, float]:
        """Take the job to a stored picture; give it with the seconds of download and store."""
        job, room = self.claim.job, self.room
        answer = job.answer or self._buy()
        self.held.check()
        began = time.monotonic()
        with self.span.step("download", kind=Kind.CLIENT):
            data = self._fetch(answer)
        picture = inspect(data, job.spec.input, max_pixels=room.settings.image_max_pixels)
        fetched = time.monotonic()
        self.held.check()
        image = self._store(answer, data, picture)
        return image, fetched - began, time.monotonic() - fetched

    def _fetch(self, answer: Answer) -> bytes:
        """Fetch the image; where its URL is not served, ask the provider's record for another.

        Raises ImageNotReady where none is served, and the answer is so new that it may be soon.
        """
        try:
            return self.room.downloader.fetch(answer.url)
        except ImageExpired as error:
            expired = error
        fresh = self._look_up_own(answer.record_id)
        if fresh is not None and fresh.url != answer.url:
            try:
                return self.room.downloader.fetch(fresh.url)
            except ImageExpired as error:
                expired = error
        if answer_age_seconds(self.claim.job) < self.room.settings.image_settle_seconds:
            raise ImageNotReady("The URL of the image is new and not served yet.") from expired
        raise expired

    def _look_up(self, record_id: str | None) -> Answer | None:
        """Ask, for free, what became of an earlier call; any key may."""
        key = self.claim.key if self.claim.key is not NO_KEY else self.room.keys[0]
        if not record_id:
            return None
        asked = Request(self.claim.job.spec.model, self.claim.job.spec.input)
        return self.room.provider.look_up(record_id, key=key.secret, request=asked)

    def _look_up_own(self, record_id: str | None) -> Answer | None:
        """Look up a paid call; None also where what is found is another job's."""
        found = self._look_up(record_id)
        if found is None or self.room.insist(moves.own_answer(self.claim, found)):
            return found
        notes.repeated_answer()
        return None

    def _buy(self) -> Answer:
        """Ask the provider for the picture, and keep its answer before anything else is done."""
        # before the note is sent: from then on, a stop cannot know how far this thread came
        self.held.give_back = self._leave_unknown
        self.room.insist(moves.calling(self.claim))
        began = time.monotonic()
        answer = self._ask()
        keep = moves.checkpoint(self.claim, answer, seconds=time.monotonic() - began)
        self.held.give_back = lambda: self._leave_bought(keep)
        with self.span.step("checkpoint"):
            is_own = self.room.insist(keep)
        if not is_own:
            self.held.give_back = self._leave_unknown
            raise self._repeated()
        self.held.give_back = self._release
        return answer

    def _repeated(self) -> UnknownOutcome:
        """Count an answer that is another job's; no look-up can settle this call any more."""
        notes.repeated_answer()
        self.recorded.clear()
        return UnknownOutcome(
            "1min.ai answered with the record or the image of another job. The image of this job "
            "may have been made."
        )

    def _ask(self) -> Answer:
        job, key = self.claim.job, self.claim.key
        # 1min.ai is not told of the trace: what it has to do with others is not its business
        with (
            metrics.PROVIDER_REQUEST_SECONDS.time(),
            self.span.step("provider", kind=Kind.CLIENT, model=job.spec.model),
        ):
            try:
                answer = self._look_up(job.pending_record) or self.room.provider.generate(
                    job.spec.model, job.spec.input, key=key.secret, on_submitted=self._note_record
                )
            except JobError as error:
                metrics.PROVIDER_REQUESTS.labels(error.code.value).inc()
                raise
        metrics.PROVIDER_REQUESTS.labels("ok").inc()
        name = object_name(job.tenant, job.id, created_at_ms=job.created_at, call=job.calls + 1)
        return replace(answer, object_name=name)

    def _note_record(self, record_id: str) -> None:
        if not self.room.insist(moves.submitted(self.claim, record_id)):
            raise self._repeated()
        self.recorded.set()
        self.held.give_back = self._release

    def _store(self, answer: Answer, data: bytes, picture: Picture) -> Image:
        """Put the picture into the storage under its true type."""
        sha256, job_id = hashlib.sha256(data).hexdigest(), self.claim.job.id
        key, kind = f"{answer.object_name}.{picture.extension}", picture.content_type
        with notes.storage("put"), self.span.step("store", kind=Kind.CLIENT, bytes=len(data)):
            self.room.storage.put(key, data, content_type=kind, sha256=sha256, job_id=job_id)
        return Image(
            key=key,
            content_type=picture.content_type,
            width=picture.width,
            height=picture.height,
            bytes=len(data),
            sha256=sha256,
            warnings=answer.warnings + picture.warnings,
        )

    def _hand_back(self) -> None:
        """Give the job back at a stop: the record that was waited for is noted in it."""
        try:
            self.room.insist(moves.release(self.claim))
        except LostLease:
            self._lost()
        else:
            self.span.note(outcome="released")
            notes.released()

    def _settle(self, error: JobError) -> None:
        """Write down what becomes of an attempt that went wrong."""
        outcome = self._decide(error)
        try:
            with self.span.step("finish"):
                self.room.insist(self._move(error, outcome))
        except LostLease:
            self._lost()
        else:
            self._tell(error, outcome)

    def _decide(self, error: JobError) -> Again | Failed:
        return decide(self.claim.job, error, key=self.claim.key, recorded=self.recorded.is_set())

    def _move(self, error: JobError, outcome: Again | Failed) -> Call[None]:
        if isinstance(outcome, Again):
            return moves.retry(self.claim, error, outcome)
        return moves.fail(
            self.claim,
            outcome.error,
            unknown=outcome.unknown,
            signal=outcome.signal,
            forget_answer=outcome.forget_answer,
        )

    def _tell(self, error: JobError, outcome: Again | Failed) -> None:
        self.span.note(outcome="retried" if isinstance(outcome, Again) else "failed")
        self.span.fail(error.code.value)
        notes.went_wrong(self.claim.job, error, outcome, seconds=time.monotonic() - self.began)

    # What a stop by force does with the job, once, without insisting: see `worker.life`.

    def _release(self) -> None:
        """Give the job back with its attempt: nothing was sent, or all that was sold is kept."""
        self.room.store.run(moves.release(self.claim))
        notes.released()

    def _leave_bought(self, keep: Call[bool]) -> None:
        """Leave with an answer that Redis has not taken yet: keep it first."""
        if self.room.store.run(keep):
            self._release()
        else:
            self.recorded.clear()
            self._leave_unknown()

    def _leave_unknown(self) -> None:
        """Leave while the provider is at work: it may make and bill the picture all the same."""
        error = UnknownOutcome("The worker had to stop before the provider answered.")
        outcome = self._decide(error)
        # that we stop says nothing about the provider
        outcome = replace(outcome, signal=moves.NO_SIGNAL)
        self.room.store.run(self._move(error, outcome))
        self._tell(error, outcome)
