"""The audit log of operator actions."""

import re
from typing import Annotated

from fastapi import Query
from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from api.context import Context
from api.ops.tenants import answered
from api.query import (
    LIMIT_DEFAULT,
    OPTIONAL,
    Limit,
    QueryModel,
    cursor_of,
    encode_cursor,
    is_given,
)
from api.routing import tenant_router
from shared.schemas import Object, Time
from shared.serializers import rfc3339
from shared.store.audit import Entry, read_audit

_ENTRY = re.compile(r"[0-9]{1,15}-[0-9]{1,15}")


router = tenant_router("operators")


class AuditEntry(TypedDict):
    """One operator action."""

    id: str
    at: Time
    by: str
    action: str
    target: str
    detail: Object
    request_id: str | None


class AuditPage(TypedDict):
    """A page of the audit log."""

    data: list[AuditEntry]
    next_cursor: str | None


class _AuditQuery(QueryModel):
    limit: Limit = LIMIT_DEFAULT
    cursor: Annotated[
        str | None,
        is_given(cursor_of(_ENTRY.fullmatch)),
        OPTIONAL,
        Field(description="`next_cursor` of the page before"),
    ] = None


@router.get(
    "/ops/v1/audit",
    response_model=AuditPage,
    response_description="A page, newest first",
)
async def get_audit(parts: Context, query: Annotated[_AuditQuery, Query()]) -> Response:
    """List operator actions, newest first: who, when, what. The last 100,000 are kept."""
    found = await parts.committer.run(read_audit(before=query.cursor, limit=query.limit + 1))
    page = found[: query.limit]
    shown: AuditPage = {
        "data": [entry_shown(entry) for entry in page],
        "next_cursor": encode_cursor(page[-1].id) if len(found) > query.limit else None,
    }
    return answered(shown)


def entry_shown(entry: Entry) -> AuditEntry:
    """Write one entry; `by` is the id of a key, or `cli:` and the user of the command."""
    return {
        "id": entry.id,
        "at": rfc3339(entry.at),
        "by": entry.by,
        "action": entry.action,
        "target": entry.target,
        "detail": dict(entry.detail),
        "request_id": entry.request_id or None,
    }
