"""`GET /v1/usage`: what the caller may, what is used and left, and what was spent by day."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api.parts import parts_of, tenant_of
from api.query import Query, whole_number
from api.refusals import rate_headers
from shared.store.scripts import USAGE_DAYS
from shared.store.usage import Day, Limits, Spent, Usage, usage
from shared.view import rfc3339

DAYS_DEFAULT = 30
_DAY_MS = 86_400_000


async def get_usage(request: Request) -> Response:
    """Read your limits, what is used and left of them, and credits by day and tag.

    Credits are an estimate, by the operator's table of prices: the provider tells no cost. They
    are counted for each call that was, or may have been, billed; days are UTC. Without any price
    they are null: nothing is counted then, and a budget does nothing.
    """
    parts, holder = parts_of(request), await tenant_of(request)
    query = Query(request)
    days = query.take("days", whole_number(1, USAGE_DAYS)) or DAYS_DEFAULT
    query.done()
    found = await parts.committer.run(usage(holder.tenant, days=days))
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


def _today(found: Usage) -> Spent:
    newest = found.days[0] if found.days else None
    return newest.total if newest and newest.at > found.now_ms - _DAY_MS else Spent(0, 0.0)


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
        **_spent_shown(day.total, priced=priced),
        "tags": {tag: _spent_shown(spent, priced=priced) for tag, spent in day.tags.items()},
    }


def _spent_shown(spent: Spent, *, priced: bool) -> dict[str, Any]:
    return {"calls": spent.calls, "credits": _credits(spent.credits, priced=priced)}
