"""Claim and settle webhook deliveries: the workers' operations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import orjson

from shared.api_keys import OPERATORS
from shared.batches import Batch
from shared.ids import is_batch_id
from shared.jobs import Job
from shared.store import operations
from shared.store.codec import batch_of, job_of, pairs
from shared.store.command import Command
from shared.store.transitions import Closed, closed, moved

#: The event type of a test.
TEST_TYPE = "webhook.test"
_SWITCHED_OFF = frozenset({"gone", "failing"})


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook to send now.

    `attempt` counts from 1 over all attempts, `round_attempt` since it was last requested;
    `secrets` are the signing secrets, the current one first; `webhook` is `{"url", "headers"?,
    "payload"?}`. Its subject is `job` or `batch`, as of the event, or else `data`, in which members
    that end in `_at` are times in milliseconds.
    """

    id: str
    fence: str
    secrets: tuple[str, ...]
    type: str
    attempt: int
    round_attempt: int
    created_at: int
    webhook: Mapping[str, Any]
    job: Job | None = None
    batch: Batch | None = None
    data: Mapping[str, Any] | None = None
    #: whose endpoint it goes to
    tenant: str = ""
    #: the last attempt in its log, as the worker recorded it
    last_attempt: Mapping[str, Any] = field(default_factory=dict)
    #: whether there was another to claim
    more: bool = field(default=False, compare=False)

    @property
    def trace(self) -> str | None:
        """The traceparent of its subject."""
        snapshot = self.job or self.batch
        return snapshot.trace if snapshot else None

    @property
    def is_for_operators(self) -> bool:
        """Whether it goes to an endpoint of the operators."""
        return self.tenant == OPERATORS

    @property
    def is_test(self) -> bool:
        """Whether it is a test event, sent once while a client waits."""
        return self.type == TEST_TYPE


def claim_delivery(nonce: str, *, lease_seconds: float) -> Command[Delivery | Closed | None]:
    """Claim the next delivery; None if there is none."""
    return Command(operations.ClaimDelivery(nonce, lease_seconds * 1000), _delivery)


def _delivery(reply: Sequence[Any]) -> Delivery | Closed | None:
    if reply[0] != "delivery":
        return closed(reply)
    _, delivery_id, fence, secrets, more, lasting, flat, standing = reply
    record = pairs(flat)
    snapshot = orjson.loads(record["snapshot"])
    subject = record["subject"]
    job = _job_then(subject, pairs(lasting), pairs(snapshot)) if lasting else None
    batch = batch_of(subject, pairs(snapshot)) if is_batch_id(subject) else None
    attempt = int(record["attempt"])
    return Delivery(
        id=delivery_id,
        fence=fence,
        secrets=tuple(secrets.split()),
        type=record["type"],
        attempt=attempt,
        round_attempt=attempt - int(record.get("schedule_base", 0)),
        created_at=int(record["created"]),
        webhook=_standing_webhook(*standing) if standing else _webhook(record, job or batch),
        job=job,
        batch=batch,
        data=None if job or batch else snapshot,
        tenant=record["tenant"],
        last_attempt=orjson.loads(record.get("log", "{}").rpartition("\n")[2]),
        more=more == "1",
    )


def _job_then(job_id: str, lasting: Mapping[str, str], then: Mapping[str, str]) -> Job:
    """Reconstruct a job as of an event: its history is cut at that time."""
    job = job_of(job_id, {**lasting, **then})
    history = tuple(change for change in job.history if change.version <= job.version)
    # usually nothing has happened since, and copying a job costs as much as building it
    return job if history == job.history else replace(job, history=history)


def _webhook(record: Mapping[str, str], subject: Job | Batch | None) -> Mapping[str, Any]:
    if "webhook" in record:
        written: dict[str, Any] = orjson.loads(record["webhook"])
        return written
    return (subject and subject.spec.webhook) or {}


def _standing_webhook(
    url: str, query: str, headers: str, payload: str, form: str
) -> Mapping[str, Any]:
    """Return the webhook of a standing endpoint, as it is now."""
    webhook: dict[str, Any] = {"url": url + query}
    if headers:
        webhook["headers"] = orjson.loads(headers)
    if payload:
        webhook["payload"] = payload
    if form:
        webhook["format"] = form
    return webhook


def settle_delivery(
    delivery: Delivery,
    outcome: str,
    *,
    wait_seconds: float = 0,
    attempt: Mapping[str, Any] | None = None,
    in_time: bool | None = None,
) -> Command[str | None]:
    """Record how an attempt ended: `delivered`, `failed`, `gone`, `retry` (later) or `release`.

    A released one does not count: with an `attempt` it is repeated after the wait, else at once.
    `in_time` is whether the host responded fast enough not to delay others (None: unknown).

    Return why its endpoint was disabled, if it was. Raise LostLease.
    """
    operation = operations.SettleDelivery(
        id=delivery.id,
        fence=delivery.fence,
        outcome=outcome,
        wait_ms=round(wait_seconds * 1000),
        attempt=orjson.dumps(attempt or {}).decode(),
        in_time="" if in_time is None else str(int(in_time)),
    )
    return Command(operation, _settled)


def _settled(reply: str) -> str | None:
    moved(reply)
    return reply if reply in _SWITCHED_OFF else None


@dataclass(frozen=True, slots=True)
class Settled:
    """The result of settling a delivery and claiming the next in one call.

    The next one is claimed even if the lease of the first is lost.
    """

    is_lost: bool
    switched_off: str | None = None
    #: the reply of the claim
    claimed: Sequence[Any] = ("empty",)

    @property
    def next(self) -> Delivery | Closed | None:
        """What `claim_delivery` returns; parsed late, because its record may be damaged."""
        return _delivery(self.claimed)


def settle_and_claim(
    settle: Command[str | None], nonce: str, *, lease_seconds: float
) -> Command[Settled]:
    """Run a `settle_delivery`, and claim the next delivery, in one call."""
    operation = replace(
        cast("operations.SettleDelivery", settle.operation),
        nonce=nonce,
        lease_ms=lease_seconds * 1000,
    )
    return Command(operation, _settled_and_claimed)


def _settled_and_claimed(reply: tuple[str, Sequence[Any]]) -> Settled:
    word, claimed = reply
    return Settled(word == "lost", word if word in _SWITCHED_OFF else None, claimed)
