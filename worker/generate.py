"""Run one job, from claim to outcome.

claim → start_call → call the provider → checkpoint its answer → download → verify → store → succeed

`start_call` is recorded before a byte is sent, so the sweep knows which lost workers may have paid
for an image. The checkpoint is recorded before the download: from then on any worker resumes the
job at the download, and nothing is paid for twice.
"""

import hashlib
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import structlog

from shared import metrics
from shared.errors import (
    ContentRejected,
    ImageExpired,
    ImageHostDown,
    ImageInvalid,
    ImageNotReady,
    ImageTooLarge,
    Internal,
    JobError,
    LookUpFailed,
    LostLease,
    ProviderAuth,
    ProviderBusy,
    ProviderDown,
    ProviderRejected,
    RecordFailed,
    RecordLost,
    RecordUnreadable,
    RequestBlocked,
    StoreError,
    UnknownOutcome,
)
from shared.jobs import Image, Job, ProviderResult, State
from shared.model_catalog import NOTHING_EXPECTED
from shared.provider_keys import NO_KEY, ProviderKey
from shared.storage.object_names import object_name
from shared.store import transitions
from shared.store.command import Command
from shared.store.transitions import Claim, Closed, Requeue, Succeeded
from shared.tracing.context import logged
from shared.tracing.spans import NOTHING, Fact, Kind, Span, Tracer
from worker import job_telemetry
from worker.claiming import claim_when_open
from worker.context import WorkerContext
from worker.image_inspection import InspectedImage, inspect
from worker.leases import Held, Leases
from worker.provider.client import Stopped
from worker.provider.echo import Request
from worker.retry_policy import Fail, answer_age_seconds, decide

QUEUE = "generate"


class _Turn(NamedTuple):
    """A claimed job to attempt."""

    claim: Claim
    #: when it was claimed, in milliseconds since 1970
    sent_at: int
    #: what the thread holds until the attempt ends
    holds: ExitStack


def do_next_jobs(context: WorkerContext, most: int = 1) -> None:
    """Run the next jobs, up to `most`; return at once if there is none.

    After a success, the next is claimed in the call that records it, which saves a round trip.
    """
    # before the claim: if this process does not serve the queue, nothing may be taken from it
    leases = context.leases[QUEUE]
    turn = _claim(context)
    for left in reversed(range(most)):
        if turn is None:
            return
        claims_next = left > 0 and turn.claim.more
        with turn.holds:
            ended = _attempt(context, leases, turn, claims_next=claims_next)
        turn = _next(context, ended) if claims_next else None


def _next(context: WorkerContext, ended: "_Ended | None") -> _Turn | None:
    """Return the job that was claimed when the last one ended; if none was, claim one."""
    if ended is None:
        return _claim(context)
    claim = ended.result.next
    if isinstance(claim, Closed):
        return _claim(context)
    if claim is None:
        return None
    if context.stopping.is_set():
        # it was claimed while the process began to stop; if this fails, its lease expires
        with suppress(StoreError, LostLease):
            context.store.run(transitions.release(claim))
        return None
    return _Turn(claim, ended.sent_at, ExitStack())


def _claim(context: WorkerContext) -> _Turn | None:
    """Claim a job; an isolated one only if no other thread of this process has one."""
    lease = context.settings.lease_seconds
    sent_at = 0
    with ExitStack() as holds:
        isolated = context.is_past_first_lease and context.isolation_lock.acquire(blocking=False)
        if isolated:
            holds.callback(context.isolation_lock.release)

        def build_claim(nonce: str) -> Command[Claim | Closed | None]:
            nonlocal sent_at
            sent_at = _now_ms()
            # as they are now: keys are added and removed while a thread waits for the gate
            keys = context.keys
            return transitions.claim(nonce, lease_seconds=lease, keys=keys, isolated=isolated)

        claim = claim_when_open(context, QUEUE, build_claim)
        if claim is None:
            return None
        return _Turn(claim, sent_at, holds.pop_all() if claim.isolated else ExitStack())


def _attempt(
    context: WorkerContext, leases: Leases, turn: _Turn, *, claims_next: bool
) -> "_Ended | None":
    """Run an attempt of the claimed job, under its lease and in its own log context."""
    claim = turn.claim
    job = claim.job
    if job.pending_record is not None or claim.key is NO_KEY:
        # the last call may be looked up; what that shows is true of the key that it uses
        claim = replace(claim, key=_look_up_key(claim, context.keys))
    with (
        structlog.contextvars.bound_contextvars(
            job_id=job.id, tenant=job.tenant, attempt=job.attempt, **logged(job.trace)
        ),
        leases.hold(job.id, claim.fence) as held,
        _traced(context.tracer, job, turn.sent_at) as span,
    ):
        return Attempt(context, claim, held, span, claims_next).run()


def _call_key(job: Job, keys: Sequence[ProviderKey]) -> ProviderKey | None:
    """Return the key that made the job's last call, if it is still in use."""
    return next((one for one in keys if one.id == job.call_key), None)


def _look_up_key(claim: Claim, keys: Sequence[ProviderKey]) -> ProviderKey:
    """Return the key with which to look up the job's last call; NO_KEY if there is none.

    Records belong to a team: the key of the claim, which may be used now, reads those of its team.
    """
    made, claimed = _call_key(claim.job, keys), claim.key
    if claimed is not NO_KEY and (made is None or made.team == claimed.team):
        return claimed
    return made or next(iter(keys), NO_KEY)


def _traced(tracer: Tracer, job: Job, claim_sent_at: int) -> AbstractContextManager[Span]:
    """Record the time the job was queued and claimed; return the span of the attempt."""
    if job.trace is None:
        return NOTHING
    attributes: dict[str, Fact] = {
        "job_id": job.id,
        "tenant": job.tenant,
        "model": job.model,
        "attempt": job.attempt,
    }
    queued_at = max(change.at for change in job.history if change.state is State.QUEUED)
    claimed_at = job.claimed_at or claim_sent_at
    tracer.past("wait", job.trace, began_ms=queued_at, ended_ms=claimed_at, **attributes)
    tracer.past("claim", job.trace, began_ms=claim_sent_at, ended_ms=_now_ms(), **attributes)
    return tracer.follow("attempt", job.trace, kind=Kind.CONSUMER, **attributes)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class _Ended(NamedTuple):
    """A job that has ended in the call that claims the next one."""

    result: Succeeded
    #: when this was requested, in milliseconds since 1970
    sent_at: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a job, by the thread that holds it."""

    context: WorkerContext
    claim: Claim
    held: Held
    span: Span
    #: whether to claim the next job in the call that records a success
    claims_next: bool = False
    began: float = field(default_factory=time.monotonic)
    #: set when the provider has a record of the call, so that its outcome can be looked up
    recorded: threading.Event = field(default_factory=threading.Event)

    def run(self) -> _Ended | None:
        """Run the attempt, decide what follows, and record it; return the next claim, if any."""
        self.held.release = self._release
        job_telemetry.claimed(self.claim.job, with_prompt=self.context.settings.log_prompts)
        if self.claim.job.pending_record is not None:
            self.recorded.set()
        try:
            image, download, store = self._produce_image()
            call = transitions.succeed(self.claim, image, download=download, store=store)
            with self.span.step("finish"):
                ended = self._end(call)
        except LostLease:
            self._lost()
        except Stopped:
            self._release_for_stop()
        except JobError as error:
            self._settle(error)
        except Exception:  # noqa: BLE001  a defect of ours must not leave the job without an outcome
            job_telemetry.broken()
            self._settle(Internal("Internal error of Darkroom; its log has the details."))
        else:
            if ended and ended.result.is_lost:
                self._lost()
                return ended
            self.span.note(outcome="succeeded", bytes=image.bytes)
            job_telemetry.succeeded(self.claim.job, image, seconds=time.monotonic() - self.began)
            return ended
        return None

    def _end(self, succeed: Command[None]) -> _Ended | None:
        """Record the success, and claim the next job unless the process stops. Raise LostLease."""
        context, sent_at = self.context, _now_ms()
        if not self.claims_next or context.stopping.is_set():
            context.run_until_acknowledged(succeed)
            return None
        call = transitions.succeed_and_claim(
            succeed,
            uuid.uuid4().hex,
            lease_seconds=context.settings.lease_seconds,
            keys=context.keys,
        )
        return _Ended(context.run_until_acknowledged(call), sent_at)

    def _lost(self) -> None:
        self.span.note(outcome="lost")
        job_telemetry.lost()

    def _produce_image(self) -> tuple[Image, float, float]:
        """Produce the stored image; return it with the seconds of download and store."""
        answer = self.claim.job.answer or self._request_image()
        self.held.check()
        began = time.monotonic()
        with self.span.step("download", kind=Kind.CLIENT):
            data, inspected = self._fetch(answer)
        fetched = time.monotonic()
        self.held.check()
        image = self._store(answer, data, inspected)
        return image, fetched - began, time.monotonic() - fetched

    def _fetch(self, answer: ProviderResult) -> tuple[bytes, InspectedImage]:
        """Download and inspect the image.

        Raise ImageNotReady if the URL is new and may soon serve the image.
        """
        try:
            return self._fetch_any(answer)
        except (ImageHostDown, ImageInvalid, ImageTooLarge):
            raise
        except JobError as error:
            if answer_age_seconds(self.claim.job) < self.context.settings.image_settle_seconds:
                raise ImageNotReady(f"The URL of the image is new. {error}") from error
            raise

    def _fetch_any(self, answer: ProviderResult) -> tuple[bytes, InspectedImage]:
        """Download the image; if its URL is not served, look for another in the record."""
        try:
            return self._fetch_from(answer.url)
        except ImageExpired:
            fresh = self._look_up_own(answer.record_id)
            if fresh is None or fresh.url == answer.url:
                raise
        return self._fetch_from(fresh.url)

    def _fetch_from(self, url: str) -> tuple[bytes, InspectedImage]:
        data = self.context.downloader.fetch(url)
        job, settings = self.claim.job, self.context.settings
        # another version of the service may have accepted a model that this one does not know
        model = settings.models.get(job.model)
        expected = model.expected(job.spec.input) if model else NOTHING_EXPECTED
        return data, inspect(data, expected, max_pixels=settings.image_max_pixels)

    def _look_up(self, record_id: str | None, *, wait: bool = True) -> ProviderResult | None:
        """Look up the result of an earlier call, for free; also None if there is no key to use."""
        job, key = self.claim.job, self.claim.key
        if not record_id or key is NO_KEY:
            return None
        request = Request.of(job.model, job.spec.input, self.context.settings.models)
        return self.context.provider.look_up(record_id, key=key.secret, request=request, wait=wait)

    def _look_up_pending(self, record_id: str) -> ProviderResult:
        """Look up a call whose outcome is not known yet.

        Raise RecordLost if it made nothing, RecordUnreadable if no key can show that.
        """
        is_own = _call_key(self.claim.job, self.context.keys) is not None
        try:
            found = self._look_up(record_id)
        except RequestBlocked:
            if is_own:
                raise
            found = None
        if found is not None:
            return found
        if is_own:
            raise RecordLost(
                "1min.ai has no record of the call any more, so it made no image. The image is "
                "requested again."
            )
        self.recorded.clear()
        raise RecordUnreadable(
            "The API key of this call is no longer in use, and another one does not find its "
            "record: the image may have been made."
        )

    def _look_up_own(self, record_id: str | None) -> ProviderResult | None:
        """Look up a paid call, once; also None if its record names no image of this job.

        Raise LookUpFailed if the record cannot be read, which says nothing about the image.
        """
        try:
            found = self._look_up(record_id, wait=False)
        except (UnknownOutcome, ProviderRejected, ContentRejected, RecordFailed, RequestBlocked):
            # the call is paid for, whatever its record says now: only its image is gone
            return None
        except (ProviderAuth, ProviderBusy, ProviderDown) as error:
            failure = LookUpFailed(
                "The URL of the image is not served, and the record of the call cannot be read. "
                f"{error}",
                retry_after=error.retry_after,
            )
            failure.evidence = error.evidence
            raise failure from error
        if found is None or self.context.run_until_acknowledged(
            transitions.claim_answer(self.claim, found)
        ):
            return found
        job_telemetry.repeated_answer()
        return None

    def _request_image(self) -> ProviderResult:
        """Request the image from the provider, and store its answer before anything else."""
        # before the record is sent: from then on, a stop cannot know how far this thread came
        self.held.release = self._leave_unknown
        self.context.run_until_acknowledged(transitions.start_call(self.claim))
        began = time.monotonic()
        answer = self._call_provider()
        checkpoint = transitions.checkpoint(self.claim, answer, seconds=time.monotonic() - began)
        self.held.release = lambda: self._leave_paid(checkpoint)
        with self.span.step("checkpoint"):
            is_own = self.context.run_until_acknowledged(checkpoint)
        if not is_own:
            self.held.release = self._leave_unknown
            raise self._repeated()
        self.held.release = self._release
        return answer

    def _repeated(self) -> UnknownOutcome:
        """Record an answer that belongs to another job; no look-up can settle this call now."""
        job_telemetry.repeated_answer()
        self.recorded.clear()
        return UnknownOutcome(
            "1min.ai answered with the record or the image of another job. The image of this job "
            "may have been made."
        )

    def _call_provider(self) -> ProviderResult:
        job, key = self.claim.job, self.claim.key
        request = Request.of(job.model, job.spec.input, self.context.settings.models)
        # 1min.ai gets no trace context: it is not part of the traced system
        with (
            metrics.PROVIDER_REQUEST_SECONDS.time(),
            self.span.step("provider", kind=Kind.CLIENT, model=job.model),
        ):
            try:
                if job.pending_record is not None:
                    answer = self._look_up_pending(job.pending_record)
                else:
                    answer = self.context.provider.generate(
                        request, key=key.secret, on_submitted=self._note_record
                    )
            except JobError as error:
                metrics.PROVIDER_REQUESTS.labels(error.code.value).inc()
                raise
        metrics.PROVIDER_REQUESTS.labels("ok").inc()
        name = object_name(
            job.tenant,
            job.id,
            created_at_ms=job.created_at,
            # a look-up settles the last call, which is counted already
            call=job.calls + (job.pending_record is None),
            prefix=self.context.settings.s3_prefix,
        )
        return replace(answer, object_name=name)

    def _note_record(self, record_id: str) -> None:
        if not self.context.run_until_acknowledged(
            transitions.record_submitted(self.claim, record_id)
        ):
            raise self._repeated()
        self.recorded.set()
        self.held.release = self._release

    def _store(self, answer: ProviderResult, data: bytes, inspected: InspectedImage) -> Image:
        """Upload the image with its real type."""
        sha256, job_id = hashlib.sha256(data).hexdigest(), self.claim.job.id
        key, kind = f"{answer.object_name}.{inspected.extension}", inspected.content_type
        with (
            job_telemetry.storage("put"),
            self.span.step("store", kind=Kind.CLIENT, bytes=len(data)),
        ):
            self.context.storage.put(key, data, content_type=kind, sha256=sha256, job_id=job_id)
        return Image(
            key=key,
            content_type=inspected.content_type,
            width=inspected.width,
            height=inspected.height,
            bytes=len(data),
            sha256=sha256,
            warnings=answer.warnings + inspected.warnings,
        )

    def _release_for_stop(self) -> None:
        """Release the job because the process stops; the id of its provider record is stored."""
        try:
            self.context.run_until_acknowledged(transitions.release(self.claim))
        except LostLease:
            self._lost()
        else:
            self.span.note(outcome="released")
            job_telemetry.released()

    def _settle(self, error: JobError) -> None:
        """Record the outcome of a failed attempt."""
        outcome = self._decide(error)
        try:
            with self.span.step("finish"):
                self.context.run_until_acknowledged(self._move(error, outcome))
        except LostLease:
            self._lost()
        else:
            self._log_outcome(error, outcome)

    def _decide(self, error: JobError) -> Requeue | Fail:
        return decide(self.claim.job, error, key=self.claim.key, recorded=self.recorded.is_set())

    def _move(self, error: JobError, outcome: Requeue | Fail) -> Command[None]:
        if isinstance(outcome, Requeue):
            return transitions.requeue(self.claim, error, outcome)
        return transitions.fail(
            self.claim,
            outcome.error,
            unknown=outcome.unknown,
            signal=outcome.signal,
            discard_answer=outcome.discard_answer,
        )

    def _log_outcome(self, error: JobError, outcome: Requeue | Fail) -> None:
        self.span.note(outcome="retried" if isinstance(outcome, Requeue) else "failed")
        self.span.fail(error.code.value)
        job_telemetry.attempt_failed(
            self.claim.job, error, outcome, seconds=time.monotonic() - self.began
        )

    # How a forced stop leaves the job, with a single attempt: see `worker.lifecycle`.

    def _release(self) -> None:
        """Release the job: nothing was sent, or the answer is stored. No attempt is counted."""
        self.context.store.run(transitions.release(self.claim))
        job_telemetry.released()

    def _leave_paid(self, checkpoint: Command[bool]) -> None:
        """Leave with an answer that is not stored yet: store it first."""
        if self.context.store.run(checkpoint):
            self._release()
        else:
            self.recorded.clear()
            self._leave_unknown()

    def _leave_unknown(self) -> None:
        """Leave while the provider is working: it may still generate and bill the image."""
        error = UnknownOutcome("The worker had to stop before the provider answered.")
        outcome = self._decide(error)
        # our stop says nothing about the provider
        outcome = replace(outcome, signal=transitions.NO_SIGNAL)
        self.context.store.run(self._move(error, outcome))
        self._log_outcome(error, outcome)
