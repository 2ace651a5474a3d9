"""What operators did."""

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.ops.tenants import LIMIT_DEFAULT, LIMIT_MAX, answered
from api.parts import operator_of, parts_of
from api.query import Query, cursor_of, hide, whole_number
from shared.store.audit import Entry, read_audit
from shared.view import rfc3339

_ENTRY = re.compile(r"[0-9]{1,15}-[0-9]{1,15}")


async def get_audit(request: Request) -> Response:
    """List every write of an operator, newest first: who, when, what, to what. Kept: 100,000."""
    await operator_of(request)
    query = Query(request)
    most = query.take("limit", whole_number(1, LIMIT_MAX)) or LIMIT_DEFAULT
    before = query.take("cursor", cursor_of(_ENTRY.fullmatch))
    query.done()
    found = await parts_of(request).committer.run(read_audit(before=before, limit=most + 1))
    page = found[:most]
    cursor = hide(page[-1].id) if len(found) > most else None
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
