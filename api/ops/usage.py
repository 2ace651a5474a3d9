"""`GET /ops/v1/usage`: usage of all tenants, grouped."""

from typing import Annotated

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from api.context import Context
from api.problems import problems
from api.routing import tenant_router
from api.usage_report import (
    CSV,
    OpsReportQuery,
    Span,
    UsageReport,
    read_report,
    respond,
)

router = tenant_router("operators")


@router.get(
    "/ops/v1/usage",
    response_model=UsageReport,
    response_description="The report",
    responses={200: {"content": {CSV: {}}}, **problems("history_unavailable")},
)
async def get_usage_of_tenants(
    request: Request, parts: Context, query: Annotated[OpsReportQuery, Query()]
) -> Response:
    """Read a report of the jobs of all tenants, or of one, that ended on these days (UTC).

    Each run of a job counts once, with its calls, by what it was when it ended. The rows add up to
    the total. `tag` groups by the whole set of tags. At most 400 days; default: the present month
    by day. `Accept: text/csv` returns the rows as CSV, without the total.
    """
    span = Span(parts, query)
    return respond(request.headers, await read_report(parts, span, query.tenant or ""))
