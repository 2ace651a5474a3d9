"""Jobs of one request on their way into a batch: validated as they arrive, staged in chunks."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from api.admission_errors import refusal
from api.batches.ndjson_parser import Unreadable, too_many
from api.batches.schemas import BatchOptions
from api.context import AppContext
from api.jobs.parsing import JobRequestContext, build_job, fingerprint, stored_webhook, validate_job
from api.jobs.schemas import TAGS_MAX, JobBody
from api.problems import FieldError, Problem, invalid, pointer
from api.webhooks.url_validation import delivery_host
from shared import ids
from shared.batches import JOBS_MAX, BatchSpec
from shared.errors import OutcomeUnknown, StoreDown
from shared.jobs import Retention
from shared.model_catalog import FAULTS_MAX
from shared.store.batches import CHUNK_JOBS, NewBatch, stage_jobs
from shared.store.job_submission import NewJob, NotAccepted

#: A chunk is sent before its bodies exceed this size, however few jobs it has.
CHUNK_BYTES = 256 * 1024
#: Turns of the event loop after which a chunk is written to Redis: one for its task, the
#: committer's, and redis-py's. Without them it would wait until the next one has been validated.
TURNS_UNTIL_SENT = 3
#: Job options that decide whether or how a job is queued; a batch is queued as a whole.
_ALONE = ("fail_fast", "dry_run", "reuse")

Path_ = Sequence[str | int]


class BatchStager:
    """Stage one job after another; validate the next chunk while Redis processes one."""

    def __init__(self, parts: AppContext, context: JobRequestContext) -> None:
        """Take jobs for the tenant of `context.principal`; nothing is staged yet."""
        self.batch_id = ids.batch_id()
        self.options = BatchOptions()
        self._parts = parts
        self.context = replace(context, idempotency_key=None)
        self._key = context.idempotency_key
        self._digest = hashlib.sha256()
        #: number of jobs by model and priority
        self.by_kind: Counter[tuple[str, str]] = Counter()
        self._chunk: list[NewJob] = []
        self._bytes = 0
        self._chunks = 0
        self._staging: asyncio.Task[NotAccepted | None] | None = None
        self._faults: list[FieldError] = []
        self._unlisted = 0
        self.size = 0

    def refuse(self, faults: Sequence[FieldError]) -> None:
        """Record a fault; stop staging and discard what was staged."""
        if not self._faults:
            self._chunk.clear()
            self.discard()
        free = FAULTS_MAX - len(self._faults)
        self._faults += faults[:free]
        self._unlisted += len(faults[free:])

    def discard(self) -> None:
        """Discard everything staged, soon."""
        if self._chunks:
            self._parts.batch_finalizer.discard(self.batch_id)

    async def add_body(self, raw: bytes, path: Path_) -> None:
        """Validate one job, and stage it if possible.

        `path` is its position in the request. Faults are recorded and reported at the end. Raise
        Unreadable for one job too many, and a Problem if the queue has no room.
        """
        if self.size == JOBS_MAX:
            raise Unreadable(too_many(pointer(*path[:1])))
        found = validate_job(raw, self.context)
        faults = found if isinstance(found, list) else self._misplaced(found[0])
        if faults:
            self.refuse([_under(path, fault) for fault in faults])
        if self._faults or isinstance(found, list):
            self.size += 1
            return
        self.update_fingerprint(raw)
        await self.add(*found, len(raw))

    async def add(self, body: JobBody, complete: dict[str, Any], size_bytes: int) -> None:
        """Stage a validated job whose body has the given size."""
        self.size += 1
        job = self._job(body, complete)
        self._buffer(job)
        # its input is stored for each of its models
        self._bytes += size_bytes * (1 + len(job.fallbacks))
        if len(self._chunk) == CHUNK_JOBS or self._bytes >= CHUNK_BYTES:
            await self._send()

    def update_fingerprint(self, raw: bytes) -> None:
        """Add a part of the body to the fingerprint, to detect other requests with its key."""
        if self._key:
            self._digest.update(fingerprint(raw).encode())

    async def finish(self) -> NewBatch:
        """Wait until everything is staged; return the batch to commit. Raise a Problem."""
        if not self.size and not self._faults:
            self.refuse([FieldError("", "contains no jobs")])
        if self._faults:
            raise self._all()
        if self._chunk:
            await self._send()
        await self._staged()
        webhook = self.options.webhook
        return NewBatch(
            id=self.batch_id,
            tenant=self.context.principal.tenant,
            spec=BatchSpec(
                priority=self.options.priority,
                webhook=stored_webhook(webhook),
                metadata=self.options.metadata,
                tags=self.options.tags,
            ),
            size=self.size,
            webhook_host=delivery_host(webhook.url) if webhook else "",
            idempotency_key=self._key,
            fingerprint=self._digest.hexdigest() if self._key else "",
            trace=self.context.trace,
        )

    def _all(self) -> Problem:
        """List the faults, and how many more there are."""
        problem = invalid(self._faults)
        if self._unlisted:
            listed, count = len(self._faults), len(self._faults) + self._unlisted
            problem.detail = f"The request has {count:,} errors; the first {listed} are listed."
            problem.more = {"errors_left_out": self._unlisted}
        return problem

    def _misplaced(self, body: JobBody) -> list[FieldError]:
        faults = [
            FieldError(pointer(name), "is not for a job of a batch")
            for name in _ALONE
            if getattr(body, name)
        ]
        if not self._adds_to_specs:
            return faults
        if len({*self.options.tags, *body.tags}) > TAGS_MAX:
            message = f"must have at most {TAGS_MAX} entries, with the tags of the batch"
            faults.append(FieldError("/tags", message))
        if fault := self._retention(body).image_fault("record_seconds"):
            message = f"does not fit that of the batch: `image_seconds` {fault}"
            faults.append(FieldError("/retention", message))
        return faults

    def _retention(self, body: JobBody) -> Retention:
        return body.retention.stored.or_else(self.options.retention.stored)

    def _job(self, body: JobBody, complete: dict[str, Any]) -> NewJob:
        job, options = build_job(body, complete, self.context), self.options
        changes: dict[str, Any] = {}
        if options.priority is not body.priority and "priority" not in body.model_fields_set:
            changes["priority"] = options.priority
        if body.deadline_seconds is None and options.deadline_seconds is not None:
            changes["deadline_seconds"] = options.deadline_seconds
        if self._adds_to_specs:
            tags = tuple(dict.fromkeys((*options.tags, *job.spec.tags)))
            changes["spec"] = replace(job.spec, tags=tags, retention=self._retention(body))
        # a copy takes a third of the time in which the job is built
        return replace(job, **changes) if changes else job

    @property
    def _adds_to_specs(self) -> bool:
        """Whether the batch has tags or a retention for its jobs."""
        return not self.options.model_fields_set.isdisjoint(("tags", "retention"))

    def _buffer(self, job: NewJob) -> None:
        self._chunk.append(job)
        self.by_kind[job.spec.model, job.priority.value] += 1

    async def _send(self) -> None:
        """Send a chunk, once the previous one is staged."""
        await self._staged()
        self._parts.redis_monitor.ensure_capacity()
        call = stage_jobs(
            self.batch_id,
            tenant=self.context.principal.tenant,
            number=self._chunks,
            jobs=tuple(self._chunk),
            idempotency_key=self._key,
        )
        self._staging = asyncio.create_task(self._parts.committer.run(call))
        self._staging.add_done_callback(_hear)
        self._chunk.clear()
        self._bytes = 0
        self._chunks += 1
        for _ in range(TURNS_UNTIL_SENT):
            await asyncio.sleep(0)

    async def _staged(self) -> None:
        if self._staging is None:
            return
        try:
            found = await self._staging
        except OutcomeUnknown as error:
            # whatever happened to it, it will never be committed
            raise StoreDown("Redis did not answer in time; nothing was accepted.") from error
        finally:
            self._staging = None
        if found:
            raise refusal(found)


def _hear(staging: "asyncio.Task[Any]") -> None:
    """Retrieve the exception, so that asyncio does not report it if no client waits."""
    if not staging.cancelled():
        staging.exception()


def _under(path: Path_, fault: FieldError) -> FieldError:
    return FieldError(pointer(*path) + fault.pointer, fault.message)
