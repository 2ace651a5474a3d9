"""Batches: many jobs created in one request. No I/O here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from shared.jobs import Priority, Status

#: The maximum number of jobs in a batch.
JOBS_MAX = 10_000


class BatchStatus(StrEnum):
    """The status that clients see."""

    QUEUED = "queued"
    RUNNING = "running"
    #: its jobs are being canceled, and none starts any more
    CANCELING = "canceling"
    #: every job is final
    COMPLETED = "completed"


class BatchEvent(StrEnum):
    """The webhook events of a batch."""

    COMPLETED = "batch.completed"


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """What was requested, besides the jobs.

    `webhook` is as in `shared.jobs.JobSpec`. `tags` are also on each job, `metadata` is not.
    """

    priority: Priority = Priority.LOW
    webhook: Mapping[str, Any] | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as stored. Times ending in `_at` are milliseconds of Redis' clock.

    `counts` is the number of its jobs by status, including those deleted since. `completed_at` is
    when all of them were final for the first time.
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
    #: a traceparent, if the request was part of a trace
    trace: str | None = None

    @property
    def left(self) -> int:
        """The number of jobs that are not final."""
        return self.counts[Status.QUEUED] + self.counts[Status.RUNNING]

    @property
    def status(self) -> BatchStatus:
        """The status that clients see."""
        if not self.left:
            return BatchStatus.COMPLETED
        if self.is_canceling:
            return BatchStatus.CANCELING
        is_begun = self.started_at is not None or self.left < self.size
        return BatchStatus.RUNNING if is_begun else BatchStatus.QUEUED

    @property
    def progress(self) -> float:
        """The share of final jobs, from 0 to 1."""
        return (self.size - self.left) / self.size

    def eta_seconds(self, now_ms: int) -> float | None:
        """Estimate from its own pace when the last job will be final; None before any is."""
        done = self.size - self.left
        if not self.left:
            return 0.0
        if not done or self.started_at is None:
            return None
        return round((now_ms - self.started_at) / 1000 / done * self.left, 1)
