"""The log of deliveries: list, read with attempts, redeliver."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from shared.jobs import DeliveryState
from shared.store import operations
from shared.store.audit import AuditContext
from shared.store.codec import pairs
from shared.store.command import Command
from shared.store.deliveries import TEST_TYPE


@dataclass(frozen=True, slots=True)
class Entry:
    """A delivery as stored. Times are milliseconds since 1970; `subject` is its job or batch.

    `attempts` is what the worker recorded of each, oldest first; in lists only the last.
    """

    id: str
    tenant: str
    host: str
    type: str
    state: DeliveryState
    subject: str
    version: int
    endpoint: str
    url: str
    attempt: int
    created_at: int
    due_at: int | None
    finished_at: int | None
    attempts: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """Where a page ended: a time in milliseconds, and an id among those of that time."""

    at: int
    id: str


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """A page of deliveries, newest first; `below` is where to continue, None at the end."""

    entries: tuple[Entry, ...]
    below: Cursor | None


def read_delivery(delivery_id: str, *, tenant: str) -> Command[Entry | None]:
    """Read a delivery of this tenant ('' for any) with its stored attempts; None if missing."""

    def read(reply: Sequence[str]) -> Entry | None:
        return entry_of(delivery_id, reply[0], pairs(reply[1:])) if reply else None

    return Command(operations.ReadDelivery(delivery_id, tenant), read)


def list_deliveries(
    tenant: str,
    *,
    job_id: str | None = None,
    state: DeliveryState | None = None,
    host: str | None = None,
    below: Cursor | None = None,
    limit: int,
    scan_limit: int,
) -> Command[DeliveryPage]:
    """List deliveries of a tenant ('' for all), newest first; scan at most `scan_limit` records.

    Failed ones are ordered by when they failed, unless they are those of one job, all of which are
    scanned.
    """
    operation = operations.ListDeliveries(
        tenant=tenant,
        job_id=job_id or "",
        state=state or "",
        before_ms=below.at if below else None,
        before_id=below.id if below else "",
        limit=limit,
        scan_limit=scan_limit,
        host=host or "",
    )
    return Command(operation, _page)


def _page(reply: Sequence[Any]) -> DeliveryPage:
    at, last, *records = reply
    entries = tuple(entry_of(record[0], record[1], pairs(record[2:])) for record in records)
    return DeliveryPage(entries, Cursor(int(float(at)), last) if at else None)


def entry_of(delivery_id: str, url: str, record: Mapping[str, str]) -> Entry:
    """Parse a delivery's hash; `url` is the whole URL it goes to."""
    due, finished = record.get("due"), record.get("finished")
    log = record.get("log")
    return Entry(
        id=delivery_id,
        tenant=record["tenant"],
        host=record["host"],
        type=record["type"],
        state=DeliveryState(record["state"]),
        subject=record["subject"],
        version=int(record["version"]),
        endpoint=record["endpoint"],
        url=url,
        attempt=int(record["attempt"]),
        created_at=int(record["created"]),
        due_at=int(due) if due else None,
        finished_at=int(finished) if finished else None,
        attempts=tuple(orjson.loads(line) for line in log.split("\n")) if log else (),
    )


def redeliver(delivery_id: str, *, tenant: str) -> Command[str]:
    """Redeliver: `ok`, `missing`, `sending` (now), or why not.

    `off`: its endpoint is disabled; `deleted`: its standing endpoint was.
    """
    return Command(operations.Redeliver(delivery_id, tenant, uuid.uuid4().hex), str)


@dataclass(frozen=True, slots=True)
class Redelivered:
    """How many deliveries that failed up to a time (ms) were scanned, and are sent again.

    The others stay failed, because their standing endpoint was deleted.
    """

    looked: int
    count: int
    until: int


def redeliver_failed(
    tenant: str, *, since: int, until: int | None, skipped: int = 0, most: int
) -> Command[Redelivered]:
    """Redeliver a chunk of what failed from `since` to `until` (None: now), in milliseconds.

    `skipped` is how many of those scanned before are not sent. The last chunk has fewer than
    `most`.
    """
    operation = operations.RedeliverFailed(
        tenant=tenant,
        since_ms=since,
        until_ms=until,
        skipped=skipped,
        limit=most,
        token=uuid.uuid4().hex,
    )
    return Command(operation, lambda reply: Redelivered(*map(int, reply)))


def redeliver_any(audit_context: AuditContext, delivery_id: str) -> Command[str]:
    """Redeliver for an operator; return what `redeliver` returns."""
    return Command(operations.RedeliverAny(*audit_context.args, delivery_id), str)


def count_failed_deliveries(tenant: str | None, *, since: int) -> Command[tuple[int, int]]:
    """Count what failed from `since` on, of a tenant or of all; also return until when (ms)."""
    operation = operations.CountFailedDeliveries(tenant or "", since)
    return Command(operation, lambda reply: (int(reply[0]), int(reply[1])))


@dataclass(frozen=True, slots=True)
class RedeliveredChunk:
    """How many deliveries were scanned, are sent again, and stay failed, as in `Redelivered`."""

    looked: int
    moved: int
    skipped: int


def redeliver_all(
    audit_context: AuditContext,
    tenant: str | None,
    *,
    since: int,
    until: int,
    skipped: int = 0,
    most: int,
) -> Command[RedeliveredChunk]:
    """Redeliver a chunk of what failed, of a tenant or of all, as `redeliver_failed` does."""
    operation = operations.RedeliverAll(
        *audit_context.args,
        tenant=tenant or "",
        since_ms=since,
        until_ms=until,
        skipped=skipped,
        limit=most,
    )
    return Command(operation, lambda reply: RedeliveredChunk(*reply))


def send_test(
    delivery_id: str,
    *,
    tenant: str,
    host: str,
    webhook: Mapping[str, Any],
    data: Mapping[str, Any],
    api_key: str = "",
) -> Command[str]:
    """Queue a test event: sent once, by a worker, and kept for minutes under its id.

    Return `ok`, or `gone` if the tenant of `api_key` ('' for none) has been deleted.
    """
    operation = operations.SendTest(
        id=delivery_id,
        tenant=tenant,
        api_key=api_key,
        host=host,
        url=webhook["url"],
        type=TEST_TYPE,
        webhook=orjson.dumps(webhook).decode(),
        data=orjson.dumps(data).decode(),
    )
    return Command(operation, str)
