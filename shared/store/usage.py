"""A tenant's limits, current use, and daily spending."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.store import operations
from shared.store.codec import pairs
from shared.store.command import Command
from shared.store.job_submission import Rate, rate_of


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a tenant; None means none. `budget_holds`: a spent budget holds queued jobs."""

    weight: float
    max_running: int | None
    max_queued: int | None
    requests_per_minute: int | None
    daily_credits: float | None
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
    """A tenant at `now_ms`; `promised` are credits of jobs that have not called yet."""

    now_ms: int
    limits: Limits
    running: int
    queued: int
    promised: float
    rate: Rate | None
    days: tuple[Day, ...]


def read_usage(tenant: str, *, days: int) -> Command[Usage]:
    """Read the limits and use of a tenant over the last `days`, newest first."""
    return Command(operations.ReadUsage(tenant, days), _usage)


def _usage(reply: Sequence[Any]) -> Usage:
    now, limits, running, queued, promised, rate, *days = reply
    return Usage(
        now_ms=int(now),
        limits=_limits(*limits),
        running=int(running),
        queued=int(queued),
        promised=float(promised),
        rate=rate_of(rate),
        days=tuple(
            _day(int(at), pairs(fields)) for at, fields in zip(days[::2], days[1::2], strict=True)
        ),
    )


def _limits(weight: str, running: str, queued: str, requests: str, *rest: str) -> Limits:
    credits_, action, safety = rest
    return Limits(
        weight=float(weight or 1),
        max_running=_integer(running),
        max_queued=_integer(queued),
        requests_per_minute=_integer(requests),
        daily_credits=float(credits_) if credits_ else None,
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
