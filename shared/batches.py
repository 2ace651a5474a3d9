"""A batch: many jobs asked for in one request. No I/O here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from shared.jobs import Priority, Status

#: The most jobs of one batch.
JOBS_MAX = 10_000


class BatchStatus(StrEnum):
    """What a client sees."""

    QUEUED = "queued"
    RUNNING = "running"
    #: its jobs are being ended, and none of them is begun any more
    CANCELING = "canceling"
    #: every job is final, whichever way
    COMPLETED = "completed"


class BatchEvent(StrEnum):
    """What the webhook of a batch can tell."""

    COMPLETED = "batch.completed"


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """What was asked for, beside the jobs.

    `webhook` is as in `shared.jobs.Spec`. `tags` stand on each job too, `metadata` does not.
    """

    priority: Priority = Priority.LOW
    webhook: Mapping[str, Any] | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch as the store keeps it. Times ending in `_at` are milliseconds of Redis' clock.

    `counts` has the number of its jobs by status, those that are forgotten by now included.
    `completed_at` is when all of them were final for the first time.
    """

    id: str
    tenant: str
    spec: BatchSpec
    size: int
    counts: Mapping[Status, int]
    created_at: int
    started_at: int | None = None
    canceled_at: int | None = None
    completed_at: int | None = None
    is_canceling: bool = False
    #: a traceparent, where the request was part of a trace
    trace: str | None = None

    @property
    def left(self) -> int:
        """How many jobs are not final."""
        return self.counts[Status.QUEUED] + self.counts[Status.RUNNING]

    @property
    def status(self) -> BatchStatus:
        """The word the client sees."""
        if not self.left:
            return BatchStatus.COMPLETED
        if self.is_canceling:
            return BatchStatus.CANCELING
        is_begun = self.started_at is not None or self.left < self.size
        return BatchStatus.RUNNING if is_begun else BatchStatus.QUEUED

    @property
    def progress(self) -> float:
        """The part of its jobs that is final, from 0 to 1."""
        return (self.size - self.left) / self.size

    def eta_seconds(self, now_ms: int) -> float | None:
        """Estimate from its own pace when the last job will be final; None before any is."""
        done = self.size - self.left
        if not self.left:
            return 0.0
        if not done or self.started_at is None:
            return None
        return round((now_ms - self.started_at) / 1000 / done * self.left, 1)
