"""What operators do with queues, and with the jobs of all tenants."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import orjson

from shared.jobs import TRANSITIONS, Status
from shared.store.audit import AuditContext
from shared.store.command import PREFIX, Argument, Call, state_list
from shared.store.job_queries import Filter, Page, Search, page_of

Action = Literal["rerun", "cancel"]
#: The filter of an operator, as it was written: what is given of tenant, status, tag, ...
Query_ = Mapping[str, str]


def pause(audit_context: AuditContext, queue: str) -> Call[None]:
    """Give nothing new out of a queue (`generate` or `deliver`); what is held goes on."""
    return _switch(audit_context, queue, "pause")


def resume(audit_context: AuditContext, queue: str) -> Call[None]:
    """Let a queue go on."""
    return _switch(audit_context, queue, "resume")


def pause_model(audit_context: AuditContext, model: str) -> Call[None]:
    """Make no new call of a model; jobs for it are accepted and wait."""
    return _switch(audit_context, f"model:{model}", "pause")


def resume_model(audit_context: AuditContext, model: str) -> Call[None]:
    """Let the calls of a model go on."""
    return _switch(audit_context, f"model:{model}", "resume")


def _switch(audit_context: AuditContext, what: str, value: str) -> Call[None]:
    return Call(
        "set_paused", (f"{PREFIX}gate",), (*audit_context.args, what, value), lambda _: None
    )


def search_of(
    tenant: str | None, wanted: Filter, among: Collection[Status], *, limit: int, scan_limit: int
) -> Search:
    """Say which indexes to walk for jobs of a tenant, or of all, that are `among` these.

    Statuses and error codes have indexes over all tenants; a tag has one within a tenant only, and
    is read from the records else. A batch is its tenant's: it needs a `tenant`.
    """
    whose = f"{PREFIX}jobs:{tenant or ''}"
    everything = tenant and len(among) == len(Status)
    some = [whose] if everything else [f"{whose}:status:{status}" for status in among]
    rest = [f"{whose}:error:{wanted.error_code}"] if wanted.error_code else []
    if tenant and wanted.batch_id:
        rest.append(f"{whose}:batch:{wanted.batch_id}")
    if tenant and wanted.tag:
        rest.append(f"{whose}:tag:{wanted.tag}")
    tag = None if tenant else wanted.tag
    return Search(some=some, rest=rest, wanted=wanted, limit=limit, scan_limit=scan_limit, tag=tag)


def find_jobs(search: Search) -> Call[Page]:
    """Find jobs, newest first."""
    return Call("list_jobs", search.keys, search.args(records=True), page_of, writes=False)


@dataclass(frozen=True, slots=True)
class Found:
    """Ids of jobs, newest first. `before` is the id to go on from, None at the end."""

    ids: tuple[str, ...]
    before: str | None


def find_ids(search: Search) -> Call[Found]:
    """Find jobs, newest first, and give their ids alone."""
    return Call("list_jobs", search.keys, search.args(records=False), _found, writes=False)


def _found(reply: Sequence[str]) -> Found:
    return Found(tuple(reply[1:]), reply[0] or None)


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of some jobs: how many were moved, and why how many were not."""

    moved: int
    refused: Mapping[str, int]


def move_jobs(
    audit_context: AuditContext,
    action: Action,
    ids: Sequence[str],
    *,
    deadline_seconds: int,
    query: Query_,
) -> Call[Moved]:
    """Send jobs again or cancel them, whosesoever they are; what was `asked` is noted with it."""
    sources = state_list(TRANSITIONS[action].sources)
    which = orjson.dumps(dict(query)).decode()
    whose = query.get("tenant") or "*"
    deadline_ms = deadline_seconds * 1000
    args: tuple[Argument, ...] = (
        *audit_context.args,
        action,
        sources,
        deadline_ms,
        which,
        whose,
        *ids,
    )
    return Call("bulk_transition", (f"{PREFIX}counts",), args, _moved)


def _moved(reply: Sequence[str]) -> Moved:
    refused = zip(reply[1::2], reply[2::2], strict=True)
    return Moved(int(reply[0]), {reason: int(count) for reason, count in refused})
