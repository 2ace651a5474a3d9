"""The audit log of operator actions."""

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
    Moment,
    QueryModel,
    Text,
    cursor_of,
    encode_cursor,
    is_given,
)
from api.routing import tenant_router
from shared.schemas import Object, Time
from shared.serializers import rfc3339
from shared.store.audit import AuditFilter, Entry, parse_entry_id

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
    action: Annotated[Text, Field(description="Only of this action, such as `key.revoke`")] = None
    target: Annotated[
        Text, Field(description="Only changes to this target, such as a tenant or a queue")
    ] = None
    by: Annotated[Text, Field(description="Only of this key's id, or of `cli:` and a user")] = None
    after: Annotated[Moment, Field(description="Only later ones")] = None
    before: Annotated[Moment, Field(description="Only earlier ones")] = None
    limit: Limit = LIMIT_DEFAULT
    cursor: Annotated[
        str | None,
        is_given(cursor_of(parse_entry_id)),
        OPTIONAL,
        Field(description="`next_cursor` of the page before"),
    ] = None

    def filter(self) -> AuditFilter:
        """Return which entries to list."""
        below = parse_entry_id(self.cursor) if self.cursor else None
        return AuditFilter(self.action, self.target, self.by, self.after, self.before, below)


@router.get(
    "/ops/v1/audit",
    response_model=AuditPage,
    response_description="A page, newest first",
)
async def get_audit(parts: Context, query: Annotated[_AuditQuery, Query()]) -> Response:
    """List operator actions, newest first: who, when, what.

    A page may be short and still have a cursor. All are kept in the history; without one, the last
    100,000.
    """
    page = await parts.records.audit(query.filter(), query.limit)
    shown: AuditPage = {
        "data": [entry_shown(entry) for entry in page.entries],
        "next_cursor": encode_cursor(str(page.below)) if page.below else None,
    }
    return answered(shown)


def entry_shown(entry: Entry) -> AuditEntry:
    """Write one entry; `by` is the id of a key, or `cli:` and the user of the command."""
    return {
        "id": str(entry.id),
        "at": rfc3339(entry.at),
        "by": entry.by,
        "action": entry.action,
        "target": entry.target,
        "detail": dict(entry.detail),
        "request_id": entry.request_id or None,
    }
