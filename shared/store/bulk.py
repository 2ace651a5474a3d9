"""Operator actions on queues, models, provider keys, and jobs of all tenants."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from shared.jobs import Status
from shared.store import keys, operations
from shared.store.audit import AuditContext, audited_filter
from shared.store.command import Command
from shared.store.job_queries import Filter, Page, Search, page_of

Action = Literal["rerun", "cancel"]
#: The filter of an operator as sent: the given members of tenant, status, tag, ...
Query_ = Mapping[str, str]


def pause(audit_context: AuditContext, queue: str) -> Command[bool]:
    """Pause a queue (`generate` or `deliver`): nothing new starts, running work continues."""
    return set_paused(audit_context, queue, "pause")


def resume(audit_context: AuditContext, queue: str) -> Command[bool]:
    """Resume a queue."""
    return set_paused(audit_context, queue, "resume")


def pause_model(audit_context: AuditContext, model: str) -> Command[bool]:
    """Pause a model: no new calls; jobs for it are accepted and wait."""
    return set_paused(audit_context, f"model:{model}", "pause")


def resume_model(audit_context: AuditContext, model: str) -> Command[bool]:
    """Resume a model."""
    return set_paused(audit_context, f"model:{model}", "resume")


def pause_provider_key(audit_context: AuditContext, key_id: str) -> Command[bool]:
    """Pause a provider key: no new calls with it. Return whether there is such a key."""
    return set_paused(audit_context, f"key:{key_id}", "pause")


def resume_provider_key(audit_context: AuditContext, key_id: str) -> Command[bool]:
    """Resume a provider key. Return whether there is such a key."""
    return set_paused(audit_context, f"key:{key_id}", "resume")


def set_paused(
    audit_context: AuditContext, subject: str, action: Literal["pause", "resume"]
) -> Command[bool]:
    """Pause or resume `generate`, `deliver`, `model:<id>` or `key:<id>`.

    Return False for a provider key that does not exist.
    """
    operation = operations.SetPaused(*audit_context.args, subject, action)
    return Command(operation, lambda reply: reply[0] == "ok")


def search_of(
    tenant: str | None, wanted: Filter, among: Collection[Status], *, limit: int, scan_limit: int
) -> Search:
    """Return the indexes to search for jobs of a tenant, or of all, that are `among` these.

    Statuses and error codes have indexes over all tenants; a tag has one within a tenant only,
    otherwise the records are read. Raise ValueError for a batch without its tenant: it has an index
    within a tenant only, and records are not searched for it.
    """
    if wanted.batch_id and not tenant:
        raise ValueError(f"The search for the jobs of {wanted.batch_id} needs its tenant.")
    whose = tenant or ""
    everything = tenant and len(among) == len(Status)
    by_status = [keys.jobs_by(whose, "status", status) for status in among]
    some = [keys.tenant_jobs(whose)] if everything else by_status
    rest = [keys.jobs_by(whose, "error", wanted.error_code)] if wanted.error_code else []
    if wanted.batch_id:
        rest.append(keys.jobs_by(whose, "batch", wanted.batch_id))
    if tenant and wanted.tag:
        rest.append(keys.jobs_by(whose, "tag", wanted.tag))
    tag = None if tenant else wanted.tag
    return Search(some=some, rest=rest, wanted=wanted, limit=limit, scan_limit=scan_limit, tag=tag)


def find_jobs(search: Search) -> Command[Page]:
    """Find jobs, newest first."""
    return Command(search.operation(records=True), page_of)


@dataclass(frozen=True, slots=True)
class Found:
    """Ids of jobs, newest first. `before` is the id to continue from, None at the end."""

    ids: tuple[str, ...]
    before: str | None


def find_ids(search: Search) -> Command[Found]:
    """Find the ids of jobs, newest first."""
    return Command(search.operation(records=False), _found)


def _found(reply: Sequence[str]) -> Found:
    return Found(tuple(reply[1:]), reply[0] or None)


@dataclass(frozen=True, slots=True)
class Moved:
    """The result of a bulk change: how many jobs changed, and why others did not."""

    moved: int
    refused: Mapping[str, int]


def bulk_transition(
    audit_context: AuditContext,
    action: Action,
    ids: Sequence[str],
    *,
    deadline_seconds: int,
    query: Query_,
) -> Command[Moved]:
    """Retry or cancel jobs of any tenant; the audit records the filter `query`, without words."""
    operation = operations.BulkTransition(
        *audit_context.args,
        transition=action,
        deadline_ms=deadline_seconds * 1000,
        filter=audited_filter(query),
        tenant=query.get("tenant") or "*",
        ids=tuple(ids),
    )
    return Command(operation, _moved)


def _moved(reply: Sequence[str]) -> Moved:
    refused = zip(reply[1::2], reply[2::2], strict=True)
    return Moved(int(reply[0]), {reason: int(count) for reason, count in refused})
