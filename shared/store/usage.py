"""A tenant's limits, current use, and daily spending."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.budgets import Budget
from shared.store import operations
from shared.store.budgets import budget_of
from shared.store.codec import pairs
from shared.store.command import Command
from shared.store.job_submission import Rate, rate_of


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a tenant; None means none. `budget_holds`: a spent budget holds queued jobs.

    `key_requests_per_minute` is that of the API key that asks.
    """

    weight: float
    max_running: int | None
    max_queued: int | None
    requests_per_minute: int | None
    key_requests_per_minute: int | None
    daily_credits: float | None
    monthly_credits: float | None
    budget_holds: bool
    may_disable_safety: bool


@dataclass(frozen=True, slots=True)
class Spending:
    """Calls that may have been billed, and their estimated credits."""

    calls: int
    credits: float


@dataclass(frozen=True, slots=True)
class Day:
    """Spending of one day (from `at`, milliseconds since 1970, UTC), in total and by tag.

    The tag `''` sums up those that arrived when the day had too many.
    """

    at: int
    total: Spending
    tags: Mapping[str, Spending]


@dataclass(frozen=True, slots=True)
class Usage:
    """A tenant at `now_ms`; `promised` are credits of jobs that have not called yet.

    `rate` and `budgets` are those of the tenant and of the key that asks.
    """

    now_ms: int
    limits: Limits
    running: int
    queued: int
    promised: float
    rate: Rate | None
    budgets: tuple[Budget, ...]
    days: tuple[Day, ...]


def read_usage(tenant: str, *, days: int, api_key: str = "") -> Command[Usage]:
    """Read the limits and use of a tenant over the last `days`, newest first.

    `api_key` is the id of the key whose limits are read too.
    """
    return Command(operations.ReadUsage(tenant, days, api_key), _usage)


def _usage(reply: Sequence[Any]) -> Usage:
    now, limits, running, queued, promised, rate, key_requests, budgets, *days = reply
    return Usage(
        now_ms=int(now),
        limits=_limits(limits, key_requests),
        running=int(running),
        queued=int(queued),
        promised=float(promised),
        rate=rate_of(rate),
        budgets=tuple(map(budget_of, budgets)),
        days=tuple(
            _day(int(at), pairs(fields)) for at, fields in zip(days[::2], days[1::2], strict=True)
        ),
    )


def _limits(given: Sequence[str], key_requests: str) -> Limits:
    weight, running, queued, requests, daily, monthly, action, safety = given
    return Limits(
        weight=float(weight or 1),
        max_running=_integer(running),
        max_queued=_integer(queued),
        requests_per_minute=_integer(requests),
        key_requests_per_minute=_integer(key_requests),
        daily_credits=float(daily) if daily else None,
        monthly_credits=float(monthly) if monthly else None,
        budget_holds=action == "hold",
        may_disable_safety=safety == "1",
    )


def _integer(written: str) -> int | None:
    return int(float(written)) if written else None


def _day(at: int, fields: Mapping[str, str]) -> Day:
    tags = [name.partition(":")[2] for name in fields if name.startswith("calls:")]
    return Day(
        at, _spending(fields, ""), {tag: _spending(fields, f":{tag}") for tag in sorted(tags)}
    )


def _spending(fields: Mapping[str, str], suffix: str) -> Spending:
    return Spending(int(fields.get(f"calls{suffix}", 0)), float(fields.get(f"credits{suffix}", 0)))
