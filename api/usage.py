"""`GET /v1/usage`: what the caller may, what is used and left, and what was spent by day."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api.admission_errors import rate_headers
from api.context import app_context, current_tenant
from api.query import Query, integer
from shared.serializers import rfc3339
from shared.store.functions import USAGE_DAYS
from shared.store.usage import Day, Limits, Spending, Usage, read_usage

DAYS_DEFAULT = 30
_DAY_MS = 86_400_000


async def get_usage(request: Request) -> Response:
    """Read your limits, what is used and left of them, and credits by day and tag.

    Credits are an estimate, by the operator's table of prices: the provider tells no cost. They
    are counted for each call that was, or may have been, billed; days are UTC. Without any price
    they are null: nothing is counted then, and a budget does nothing.
    """
    parts, principal = app_context(request), await current_tenant(request)
    query = Query(request)
    days = query.take("days", integer(1, USAGE_DAYS)) or DAYS_DEFAULT
    query.done()
    found = await parts.committer.run(read_usage(principal.tenant, days=days))
    headers = {"Cache-Control": "private, no-cache", **rate_headers(found.rate)}
    shown = usage_shown(found, priced=bool(parts.prices))
    return Response(orjson.dumps(shown), 200, headers, "application/json")


def usage_shown(found: Usage, *, priced: bool) -> dict[str, Any]:
    """Write a tenant's usage; the days without a call are left out.

    `priced` tells whether the operator set a price for any model.
    """
    limits, today = found.limits, _today(found)
    requests = found.rate.limit - found.rate.left if found.rate else None
    # a budget that refuses counts what is promised as spent
    gone = today.credits + (0 if limits.budget_holds else found.promised)
    return {
        "limits": _limits_shown(limits),
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
        "days": [_day_shown(day, priced=priced) for day in found.days],
    }


def _today(found: Usage) -> Spending:
    newest = found.days[0] if found.days else None
    return newest.total if newest and newest.at > found.now_ms - _DAY_MS else Spending(0, 0.0)


def _left(limit: float | None, used: float) -> float | None:
    return None if limit is None else max(limit - used, 0)


def _credits(counted: float, *, priced: bool) -> float | None:
    """Return what was counted; None where nothing could be, which is not the same as nothing."""
    return counted if priced or counted else None


def _limits_shown(limits: Limits) -> dict[str, Any]:
    return {
        "weight": limits.weight,
        "max_running": limits.max_running,
        "max_queued": limits.max_queued,
        "requests_per_minute": limits.requests_per_minute,
        "daily_credits": limits.daily_credits,
        "budget_action": "hold" if limits.budget_holds else "refuse",
        "may_disable_safety": limits.may_disable_safety,
    }


def _day_shown(day: Day, *, priced: bool) -> dict[str, Any]:
    return {
        "date": str(rfc3339(day.at))[:10],
        **_spending_shown(day.total, priced=priced),
        "tags": {
            tag: _spending_shown(spending, priced=priced) for tag, spending in day.tags.items()
        },
    }


def _spending_shown(spending: Spending, *, priced: bool) -> dict[str, Any]:
    return {"calls": spending.calls, "credits": _credits(spending.credits, priced=priced)}
