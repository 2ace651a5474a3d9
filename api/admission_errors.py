"""Problems for refused jobs, and the rate-limit headers of a tenant or key.

`RateLimit` and `RateLimit-Policy` follow draft-ietf-httpapi-ratelimit-headers-10: quota `q` in a
window of `w` seconds, of which `r` remain, and `t` seconds until more is available.
"""

import math
from collections.abc import Callable, Mapping

from api.budgets import budget_shown
from api.problems import FieldError, Problem, invalid, tenant_gone
from shared.budgets import BudgetPeriod, BudgetScope
from shared.ids import is_batch_id
from shared.store.budgets import budget_of
from shared.store.job_submission import NotAccepted, Rate

MINUTE_SECONDS = 60
#: The windows of budgets in `RateLimit-Policy`; a month has 31 days at most.
_PERIOD_SECONDS: Mapping[BudgetPeriod, int] = {
    BudgetPeriod.DAY: 86_400,
    BudgetPeriod.MONTH: 31 * 86_400,
}
#: The longest `Retry-After` for a queue; a budget resets at the end of its day or month (UTC).
RETRY_AFTER_MOST_SECONDS = 600


def rate_headers(rate: Rate | None) -> dict[str, str]:
    """Return the rate-limit headers; none if neither tenant nor key has a request limit."""
    if rate is None:
        return {}
    return _rate_header("requests", (rate.limit, MINUTE_SECONDS), rate.left, rate.reset_seconds)


def _rate_header(name: str, policy: tuple[int, int], left: int, seconds: float) -> dict[str, str]:
    quota, window = policy
    return {
        "RateLimit-Policy": f'"{name}";q={quota};w={window}',
        "RateLimit": f'"{name}";r={left};t={math.ceil(seconds)}',
    }


def refusal(answer: NotAccepted) -> Problem:
    """Return the problem for a refused job, with the time after which to retry."""
    reason = _REASONS.get(answer.reason)
    if reason is not None:
        code, text = reason
        what = "batch" if is_batch_id(answer.detail) else "job"
        return Problem(code, text.format(what=what), more={f"{what}_id": answer.detail})
    problem = (
        _ADMISSION_ERRORS[answer.reason](answer) if answer.reason in _ADMISSION_ERRORS else _late()
    )
    problem.headers = {
        **rate_headers(answer.rate),
        **_retry_after(answer),
        **problem.headers,
    }
    return problem


#: Refusals because of a job or batch: that of the idempotency key, or that to run again.
_REASONS: Mapping[str, tuple[str, str]] = {
    "reused": (
        "idempotency_key_reused",
        "The idempotency key was used with a different request. Use a new key.",
    ),
    "gone": (
        "job_deleted",
        "The {what} that was created with this idempotency key was deleted. Use a new key.",
    ),
    "prompt_withheld": (
        "prompt_withheld",
        "The {what} was archived without its prompt and cannot run again. Create a new one.",
    ),
}


def _late() -> Problem:
    """Return the problem for a request that reached Redis after its time limit."""
    return Problem("redis_down", "Redis did not respond in time. Nothing was accepted.")


def _retry_after(answer: NotAccepted) -> dict[str, str]:
    if answer.wait_seconds is None:
        return {}  # the text in the table of problems
    seconds = max(math.ceil(answer.wait_seconds), 1)
    if answer.reason not in {"budget_spent", "too_fast"}:
        seconds = min(seconds, RETRY_AFTER_MOST_SECONDS)
    return {"Retry-After": str(seconds)}


#: How a limit names whose it is.
_OWNERS: Mapping[BudgetScope, str] = {BudgetScope.TENANT: "tenant", BudgetScope.KEY: "API key"}


def _too_fast(answer: NotAccepted) -> Problem:
    scope, limit = answer.detail.split()
    owner = _OWNERS[BudgetScope(scope)]
    requests = "no requests" if limit == "0" else f"{limit} requests per minute"
    return Problem("rate_limited", f"The {owner} may send {requests} that create jobs.")


def _tenant_full(answer: NotAccepted) -> Problem:
    return Problem("tenant_queue_full", f"The tenant already has {answer.detail} queued jobs.")


def _budget_spent(answer: NotAccepted) -> Problem:
    budget = budget_of(answer.detail)
    shown = budget_shown(budget, priced=True)
    text = (
        f"{budget.used + budget.promised:.10g} of the {budget.limit:.10g} credits that the "
        f"{_OWNERS[budget.scope]} may spend in a {budget.period.value} are used or reserved (an "
        f"estimate). The next {budget.period.value} begins at {shown['resets_at']}."
    )
    policy = (int(budget.limit), _PERIOD_SECONDS[budget.period])
    headers = _rate_header("credits", policy, 0, answer.wait_seconds or 0)
    return Problem("credits_spent", text, headers=headers, more={"budget": shown})


def _too_many_jobs(answer: NotAccepted) -> Problem:
    scope, limit = answer.detail.split()
    text = f"has more jobs than the {scope} may have in its queue ({int(limit):,}): split it"
    return invalid([FieldError("", text)])


def _too_expensive(answer: NotAccepted) -> Problem:
    budget = budget_of(answer.detail)
    text = (
        f"costs more than the {budget.limit:.10g} credits that the {_OWNERS[budget.scope]} may "
        f"spend in a {budget.period.value} (an estimate): create fewer jobs"
    )
    return invalid([FieldError("", text)])


def _full(answer: NotAccepted) -> Problem:
    return Problem("queue_full", f"The service already has {answer.detail} queued jobs.")


def _model_gone(answer: NotAccepted) -> Problem:
    return Problem(
        "model_unavailable",
        f"The provider no longer offers the model {answer.detail}. `GET /v1/models` lists the "
        "available models.",
    )


def _lost(_: NotAccepted) -> Problem:
    return Problem(
        "request_too_slow", "The parts of the batch arrived too far apart. Nothing was accepted."
    )


def _behind(answer: NotAccepted) -> Problem:
    late = round(int(answer.detail) / 1000)
    text = f"The queue is {late} seconds behind, which is more than the deadline allows."
    return Problem("deadline_unreachable", text)


def _too_long(answer: NotAccepted) -> Problem:
    position, eta = int(answer.detail), answer.wait_seconds
    wait = "an unknown wait" if eta is None else f"a wait of about {eta:.0f} seconds"
    text = f"The job would be at position {position} with {wait}, more than `fail_fast` allows."
    return Problem("wait_limit_exceeded", text, more={"position": position, "eta_seconds": eta})


_ADMISSION_ERRORS: Mapping[str, Callable[[NotAccepted], Problem]] = {
    "too_fast": _too_fast,
    "tenant_full": _tenant_full,
    "too_many_jobs": _too_many_jobs,
    "too_expensive": _too_expensive,
    "budget_spent": _budget_spent,
    "full": _full,
    "behind": _behind,
    "lost": _lost,
    "model_gone": _model_gone,
    "tenant_gone": lambda _: tenant_gone(),
    "too_long": _too_long,
}
