"""Erasures: deletions of many jobs, or of a whole tenant, which a worker carries out."""

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import orjson

from shared.errors import ErrorCode, LostLease
from shared.ids import ERASURE_PREFIX
from shared.jobs import Status
from shared.store import keys, operations
from shared.store.audit import AuditContext, audited_filter
from shared.store.codec import pairs
from shared.store.command import Command
from shared.store.job_queries import Filter

#: Unfinished erasures that a tenant may have.
ERASURES_MAX = 10
#: Endpoints and test events that one call of `delete_tenant` deletes, so that Redis is never
#: blocked for long.
ENDPOINTS_AT_ONCE = 500
_ID = re.compile(rf"{ERASURE_PREFIX}[0-9a-f]{{32}}")
#: Keys of a tenant that stay: its usage by day, without its tags, and for a while the record that
#: it was deleted.
_KEPT = frozenset({"usage", "run_counts", "tenant"})


@dataclass(frozen=True, slots=True)
class Erasure:
    """A deletion of the final jobs that a filter matches; times in milliseconds since 1970.

    `tenant` is None for jobs of all tenants. With `is_tenant`, the tenant is deleted with all it
    has. `found` counts the jobs at the time of the request.
    """

    id: str
    tenant: str | None
    wanted: Filter
    prefix: str | None
    is_tenant: bool
    found: int
    deleted: int
    created_at: int
    finished_at: int | None


@dataclass(frozen=True, slots=True)
class NewErasure:
    """A requested deletion of the jobs that are `wanted` and whose ids begin with `prefix`."""

    id: str
    tenant: str | None
    wanted: Filter
    found: int
    prefix: str | None = None

    @property
    def given(self) -> dict[str, Any]:
        """The members of the filter that are given."""
        given = {
            name: value
            for name, value in asdict(self.wanted).items()
            if value not in (None, (), {})
        }
        if self.prefix:
            given["id"] = self.prefix
        return given

    @property
    def filter_json(self) -> str:
        """The filter, as stored."""
        return orjson.dumps(self.given).decode()


def begin_erasure(new: NewErasure, *, api_key: str) -> Command[Literal["ok", "gone", "full"]]:
    """Record a tenant's request to delete jobs.

    Return `gone` if the tenant was deleted meanwhile, `full` if it has ERASURES_MAX unfinished
    erasures.
    """
    operation = operations.BeginErasure(
        new.id, new.tenant or "", api_key, new.filter_json, new.found, ERASURES_MAX
    )
    return Command(operation, str)  # type: ignore[arg-type]  # one of the words


def begin_any_erasure(audit_context: AuditContext, new: NewErasure) -> Command[None]:
    """Record an operator's request to delete jobs."""
    operation = operations.BeginAnyErasure(
        *audit_context.args,
        new.id,
        new.tenant or "",
        new.filter_json,
        audited_filter(new.given),
        new.found,
    )
    return Command(operation, lambda _: None)


def begin_tenant_erasure(
    audit_context: AuditContext, erasure_id: str, tenant: str
) -> Command[str | None]:
    """Delete a tenant's API keys now and record the rest; return the erasure's id.

    It is that of the running erasure if the tenant is being deleted already, and None if there is
    no such tenant.
    """
    operation = operations.BeginTenantErasure(*audit_context.args, erasure_id, tenant)
    return Command(operation, lambda reply: None if reply == "missing" else str(reply))


def read_erasure(erasure_id: str, *, tenant: str) -> Command[Erasure | None]:
    """Read an erasure of this tenant ('' for any); None if there is none."""

    def read(reply: Sequence[str]) -> Erasure | None:
        return _erasure(erasure_id, pairs(reply)) if reply else None

    return Command(operations.ReadErasure(erasure_id, tenant), read)


def next_erasure(*, lease_seconds: float) -> Command[Erasure | None]:
    """Claim an erasure to carry out; None if none is due."""

    def read(reply: Sequence[str]) -> Erasure | None:
        return _erasure(reply[0], pairs(reply[1:])) if reply else None

    return Command(operations.NextErasure(lease_seconds * 1000), read)


def report_erasure(
    erasure_id: str, *, deleted: int, is_done: bool = False, lease_seconds: float = 0
) -> Command[None]:
    """Record that `deleted` jobs are deleted so far, and whether that was all.

    Raise LostLease if another worker has finished the erasure.
    """

    def read(reply: str) -> None:
        if reply == "done" and not is_done:
            raise LostLease

    operation = operations.ReportErasure(erasure_id, deleted, is_done, lease_seconds * 1000)
    return Command(operation, read)


def delete_tenant(
    tenant: str, *, most: int = ENDPOINTS_AT_ONCE
) -> Command[Literal["ok", "more", "busy"]]:
    """Delete what a tenant has in shared keys: `busy` while it still has jobs.

    `more`: `most` endpoints or test events were deleted; call again until it is `ok`.
    """
    return Command(operations.DeleteTenant(tenant, most), str)  # type: ignore[arg-type]  # a word


def erase_usage_tags(tenant: str, days: Sequence[int]) -> Command[None]:
    """Erase the tags in the usage of a deleted tenant on these days since 1970."""
    return Command(operations.EraseUsageTags(tenant, tuple(days)), lambda _: None)


def is_erasure_id(text: str) -> bool:
    """Return whether this could be the id of an erasure."""
    return _ID.fullmatch(text) is not None


def new_erasure_id() -> str:
    """Return a new id."""
    return ERASURE_PREFIX + uuid.uuid4().hex


def keys_of_tenant(tenant: str) -> re.Pattern[str]:
    """Return what the names of all keys match that belong to this tenant alone."""
    return re.compile("|".join(_patterns(re.escape(tenant))), re.DOTALL)


def _patterns(tenant: str) -> Iterator[str]:
    for name, key in keys.all_keys():
        whose = next((part for part in ("tenant", "group", "payer") if part in key.parts), None)
        if whose is None or name in _KEPT:
            continue
        # a payer may be `key:<id>`, which is not a tenant `key` with the day `<id>:<day>`
        others = {"day": r"\d+"}
        parts = (tenant if part == whose else others.get(part, ".+") for part in key.parts)
        written = re.split(r"<\w+>", key.pattern)
        yield re.escape(keys.PREFIX) + "".join(
            re.escape(text) + next(parts, "") for text in written
        )


def _erasure(erasure_id: str, record: Mapping[str, str]) -> Erasure:
    given: dict[str, Any] = orjson.loads(record["filter"])
    prefix = given.pop("id", None)
    if "status" in given:
        given["status"] = Status(given["status"])
    if "error_code" in given:
        given["error_code"] = ErrorCode(given["error_code"])
    given["words"] = tuple(given.get("words", ()))
    return Erasure(
        id=erasure_id,
        tenant=record.get("tenant"),
        wanted=Filter(**given),
        prefix=prefix,
        is_tenant="is_tenant" in record,
        found=int(record["found"]),
        deleted=int(record["deleted"]),
        created_at=int(record["created"]),
        finished_at=int(record["finished"]) if "finished" in record else None,
    )
