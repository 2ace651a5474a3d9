"""`GET /v1/usage`: limits, what is used and left of them, and credits by day; or a report."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

import orjson
from fastapi import Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from api.admission_errors import rate_headers
from api.budgets import Budget, budget_shown
from api.context import Context, CurrentTenant
from api.headers import RATE_LIMIT, sends_headers
from api.problems import FieldError, invalid, problems
from api.query import integer, is_given
from api.routing import tenant_router
from api.usage_report import (
    CSV,
    ReportQuery,
    Span,
    UsageReport,
    read_report,
    respond,
)
from shared.schemas import Count, Time
from shared.serializers import rfc3339
from shared.store.functions import USAGE_DAYS
from shared.store.tenants import Principal
from shared.store.usage import Day, Spending, read_usage
from shared.store.usage import Limits as StoredLimits
from shared.store.usage import Usage as StoredUsage

N = TypeVar("N", int, float)

DAYS_DEFAULT = 30
_DAY_MS = 86_400_000


router = tenant_router("usage")


class Limits(TypedDict):
    """The limits of a tenant, and of the calling key; null means no limit."""

    weight: float
    max_running: Count | None
    max_queued: Count | None
    requests_per_minute: Count | None
    key_requests_per_minute: Annotated[Count | None, Field(description="Of the calling key alone")]
    daily_credits: float | None
    monthly_credits: float | None
    budget_action: Literal["refuse", "hold"]
    may_disable_safety: bool
    models: Annotated[
        list[str] | None,
        Field(description="The only models that the tenant and the calling key may use; null: all"),
    ]


class Used(TypedDict):
    """Requests of the last minute and credits of today; null if no price is set.

    Requests are those of the tenant or of the calling key, by whose limit fewer are left.
    """

    running: Count
    queued: Count
    requests: Count | None
    credits: float | None
    credits_promised: float | None


class Left(TypedDict):
    """What is left of the limits; null if there is none."""

    running: Count | None
    queued: Count | None
    requests: Count | None
    credits: float | None


class Spent(TypedDict):
    """Calls, and their estimated credits."""

    calls: Count
    credits: float | None


class UsageDay(Spent):
    """One day, UTC; days without a call are left out."""

    date: Annotated[str, Field(json_schema_extra={"format": "date"})]
    tags: Mapping[str, Spent]


class Usage(TypedDict):
    """Credits are an estimate by the operator's prices; the provider does not report costs.

    `budgets` has those of the tenant and of the calling key, for the present day or month.
    """

    limits: Limits
    used: Used
    left: Left
    requests_reset_seconds: float | None
    credits_reset_at: Time
    estimated: Literal[True]
    budgets: list[Budget]
    days: list[UsageDay]


class _UsageQuery(ReportQuery):
    days: Annotated[
        int,
        Field(ge=1, le=USAGE_DAYS, description="Number of days, including today; not for a report"),
        is_given(integer(1, USAGE_DAYS)),
    ] = DAYS_DEFAULT

    @property
    def wants_report(self) -> bool:
        """Whether any parameter of a report is given."""
        return bool(self.model_fields_set & ReportQuery.model_fields.keys())


@router.get(
    "/v1/usage",
    response_model=Usage | UsageReport,
    response_description="Limits, budgets and usage; with `from`, `to` or `group_by`, a report",
    responses={
        200: {**sends_headers(*RATE_LIMIT), "content": {CSV: {}}},
        **problems("history_unavailable"),
    },
)
async def get_usage(
    request: Request,
    parts: Context,
    principal: CurrentTenant,
    query: Annotated[_UsageQuery, Query()],
) -> Response:
    """Read your limits and budgets, what is used and left of them, and credits by day and tag.

    With any of `from`, `to` and `group_by`, read a report of the jobs that ended on these days
    (UTC): each run of a job counts once, with its calls, by what it was when it ended. The rows add
    up to the total. `tag` groups by the whole set of tags. At most 400 days. `Accept: text/csv`
    returns the rows as CSV, without the total.

    Credits are an estimate by the operator's price table, because the provider does not report
    costs. Each call that was or may have been billed is counted; days are UTC. Without any price
    they are null: nothing is counted, and a budget has no effect.
    """
    if query.wants_report:
        if "days" in query.model_fields_set:
            raise invalid([FieldError("/query/days", "is not a parameter of a report")])
        span = Span(parts, query)
        return respond(request.headers, await read_report(parts, span, principal.tenant))
    call = read_usage(principal.tenant, days=query.days, api_key=principal.key_id)
    found = await parts.committer.run(call)
    headers = {"Cache-Control": "private, no-cache", **rate_headers(found.rate)}
    shown = usage_shown(found, principal, priced=bool(parts.prices))
    return Response(orjson.dumps(shown), 200, headers, "application/json")


def usage_shown(found: StoredUsage, principal: Principal, *, priced: bool) -> Usage:
    """Write a tenant's usage; days without a call are left out.

    `priced` is whether the operator set a price for any model.
    """
    limits, today = found.limits, _today(found)
    requests = found.rate.limit - found.rate.left if found.rate else None
    # a budget that refuses jobs counts promised credits as spent
    gone = today.credits + (0 if limits.budget_holds else found.promised)
    return {
        "limits": _limits_shown(limits, principal.models),
        "used": {
            "running": found.running,
            "queued": found.queued,
            "requests": requests,
            "credits": _credits(today.credits, priced=priced),
            "credits_promised": _credits(found.promised, priced=priced),
        },
        "left": {
            "running": _left(limits.max_running, found.running),
            "queued": _left(limits.max_queued, found.queued),
            "requests": found.rate.left if found.rate else None,
            "credits": _left(limits.daily_credits, gone) if priced else None,
        },
        "requests_reset_seconds": found.rate.reset_seconds if found.rate else None,
        "credits_reset_at": rfc3339((found.now_ms // _DAY_MS + 1) * _DAY_MS),
        "estimated": True,
        "budgets": [budget_shown(budget, priced=priced) for budget in found.budgets],
        "days": [_day_shown(day, priced=priced) for day in found.days],
    }


def _today(found: StoredUsage) -> Spending:
    newest = found.days[0] if found.days else None
    return newest.total if newest and newest.at > found.now_ms - _DAY_MS else Spending(0, 0.0)


def _left(limit: N | None, used: N) -> N | None:
    return None if limit is None else max(limit - used, 0)


def _credits(counted: float, *, priced: bool) -> float | None:
    """Return what was counted; None if nothing could be, which differs from zero."""
    return counted if priced or counted else None


def _limits_shown(limits: StoredLimits, models: frozenset[str] | None) -> Limits:
    return {
        "weight": limits.weight,
        "max_running": limits.max_running,
        "max_queued": limits.max_queued,
        "requests_per_minute": limits.requests_per_minute,
        "key_requests_per_minute": limits.key_requests_per_minute,
        "daily_credits": limits.daily_credits,
        "monthly_credits": limits.monthly_credits,
        "budget_action": "hold" if limits.budget_holds else "refuse",
        "may_disable_safety": limits.may_disable_safety,
        "models": None if models is None else sorted(models),
    }


def _day_shown(day: Day, *, priced: bool) -> UsageDay:
    return {
        "date": rfc3339(day.at)[:10],
        **_spending_shown(day.total, priced=priced),
        "tags": {
            tag: _spending_shown(spending, priced=priced) for tag, spending in day.tags.items()
        },
    }


def _spending_shown(spending: Spending, *, priced: bool) -> Spent:
    return {"calls": spending.calls, "credits": _credits(spending.credits, priced=priced)}
