"""The ledger of deliveries: what was told to whom, every attempt at it, and sending again."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from shared.jobs import DeliveryState
from shared.store.audit import AuditContext
from shared.store.codec import pairs
from shared.store.command import PREFIX, Call, job_key
from shared.store.deliveries import TEST_TYPE, delivery_key


@dataclass(frozen=True, slots=True)
class Entry:
    """One delivery as it is kept. Times are milliseconds since 1970; `subject` is what it tells of.

    `attempts` has what the worker noted of each, the oldest first; of a listed one the last alone.
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


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page ended: a time in milliseconds, and an id among those of that time."""

    at: int
    id: str


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """A page of deliveries, newest first; `below` is where to go on, None at the end."""

    entries: tuple[Entry, ...]
    below: Cursor | None


def read_delivery(delivery_id: str, *, tenant: str) -> Call[Entry | None]:
    """Read a delivery of this tenant ('' any) with every attempt kept; None where there is none."""

    def read(reply: Sequence[str]) -> Entry | None:
        return _entry(delivery_id, reply[0], pairs(reply[1:])) if reply else None

    return Call("read_delivery", (delivery_key(delivery_id),), (tenant,), read, writes=False)


def list_deliveries(
    tenant: str,
    *,
    job_id: str | None = None,
    state: DeliveryState | None = None,
    host: str | None = None,
    below: Cursor | None = None,
    limit: int,
    scan_limit: int,
) -> Call[DeliveryPage]:
    """List deliveries of a tenant ('' all), newest first, looking at `look` records at most.

    Those that failed are listed by when they did; those of one job are given at once.
    """
    index = f"{PREFIX}deliveries:{tenant}"
    if state is DeliveryState.FAILED:
        index = f"{index}:failed"
    return Call(
        "list_deliveries",
        (index, job_key(job_id) if job_id else index),
        (
            tenant,
            job_id or "",
            state or "",
            below.at if below else "",
            below.id if below else "",
            limit,
            scan_limit,
            host or "",
        ),
        _page,
        writes=False,
    )


def _page(reply: Sequence[Any]) -> DeliveryPage:
    at, last, *records = reply
    entries = tuple(_entry(record[0], record[1], pairs(record[2:])) for record in records)
    return DeliveryPage(entries, Cursor(int(float(at)), last) if at else None)


def _entry(delivery_id: str, url: str, record: Mapping[str, str]) -> Entry:
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


def redeliver(delivery_id: str, *, tenant: str) -> Call[str]:
    """Send a delivery again: `ok`, `missing`, `sending` (now), or `off` (its endpoint is)."""
    args = (delivery_id, tenant, uuid.uuid4().hex)
    return Call("redeliver", (delivery_key(delivery_id),), args, str)


@dataclass(frozen=True, slots=True)
class Redelivered:
    """How many deliveries are sent again, of those that had failed up to a time (milliseconds)."""

    count: int
    until: int


def redeliver_failed(tenant: str, *, since: int, until: int | None, most: int) -> Call[Redelivered]:
    """Send again a piece of what failed from `since` to `upto` (None: now), in milliseconds."""
    failed, mark = f"{PREFIX}deliveries:{tenant}:failed", f"{PREFIX}redone:{uuid.uuid4().hex}"
    return Call(
        "redeliver_failed",
        (failed, mark),
        (since, "" if until is None else until, most),
        lambda reply: Redelivered(int(reply[0]), int(reply[1])),
    )


def redeliver_any(audit_context: AuditContext, delivery_id: str) -> Call[str]:
    """Send a delivery again for an operator; gives what `redeliver` gives."""
    return Call(
        "redeliver_any", (delivery_key(delivery_id),), (*audit_context.args, delivery_id), str
    )


def count_failed(tenant: str | None, *, since: int) -> Call[tuple[int, int]]:
    """Count what failed from `since` on, of a tenant or of all; gives also up to when (ms)."""
    return Call(
        "count_failed_deliveries",
        (_failed_key(tenant),),
        (since,),
        lambda reply: (int(reply[0]), int(reply[1])),
        writes=False,
    )


@dataclass(frozen=True, slots=True)
class RedeliveredChunk:
    """How many deliveries were looked at, and how many of them are sent again."""

    looked: int
    moved: int


def redeliver_all(
    audit_context: AuditContext, tenant: str | None, *, since: int, until: int, most: int
) -> Call[RedeliveredChunk]:
    """Send again a piece of what failed, of a tenant or of all: fewer than `most` are the last."""
    args = (*audit_context.args, since, until, most, tenant or "*")
    return Call(
        "redeliver_all", (_failed_key(tenant),), args, lambda reply: RedeliveredChunk(*reply)
    )


def _failed_key(tenant: str | None) -> str:
    return f"{PREFIX}deliveries:{tenant or ''}:failed"


def send_test(
    delivery_id: str,
    *,
    tenant: str,
    host: str,
    webhook: Mapping[str, Any],
    data: Mapping[str, Any],
) -> Call[None]:
    """Owe a test event: sent once, by a worker, and kept for minutes under its id."""
    return Call(
        "test_delivery",
        (delivery_key(delivery_id),),
        (
            delivery_id,
            tenant,
            host,
            webhook["url"],
            TEST_TYPE,
            orjson.dumps(webhook).decode(),
            orjson.dumps(data).decode(),
        ),
        lambda _: None,
    )
