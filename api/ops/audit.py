"""What operators did."""

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.context import app_context, current_operator
from api.ops.tenants import LIMIT_DEFAULT, LIMIT_MAX, answered
from api.query import Query, cursor_of, encode_cursor, integer
from shared.serializers import rfc3339
from shared.store.audit import Entry, read_audit

_ENTRY = re.compile(r"[0-9]{1,15}-[0-9]{1,15}")


async def get_audit(request: Request) -> Response:
    """List every write of an operator, newest first: who, when, what, to what. Kept: 100,000."""
    await current_operator(request)
    query = Query(request)
    most = query.take("limit", integer(1, LIMIT_MAX)) or LIMIT_DEFAULT
    before = query.take("cursor", cursor_of(_ENTRY.fullmatch))
    query.done()
    found = await app_context(request).committer.run(read_audit(before=before, limit=most + 1))
    page = found[:most]
    cursor = encode_cursor(page[-1].id) if len(found) > most else None
    return answered({"data": [entry_shown(entry) for entry in page], "next_cursor": cursor})


def entry_shown(entry: Entry) -> dict[str, Any]:
    """Write one deed; `by` is the id of a key, or `cli:` and who ran the program."""
    return {
        "id": entry.id,
        "at": rfc3339(entry.at),
        "by": entry.by,
        "action": entry.action,
        "target": entry.target,
        "detail": dict(entry.detail),
        "request_id": entry.request_id or None,
    }
