"""Budgets as clients and operators see them."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from shared import budgets
from shared.schemas import Time
from shared.serializers import rfc3339


class Budget(TypedDict):
    """A budget of the tenant or the API key in the present day or month (UTC).

    Credits are estimated, and null if no price is set. `promised` are those of jobs that have not
    called the provider yet. `threshold` is the highest percentage that `used` has reached.
    """

    scope: budgets.BudgetScope
    period: budgets.BudgetPeriod
    limit: float
    used: float | None
    promised: float | None
    left: float | None
    threshold: budgets.Threshold | None
    resets_at: Annotated[Time, Field(description="When the next day or month begins")]


def has_price(prices: Mapping[str, float | None]) -> bool:
    """Return whether any model has a price."""
    return any(price is not None for price in prices.values())


def budget_shown(budget: budgets.Budget, *, priced: bool) -> Budget:
    """Write a budget; `priced` is whether the operator set a price for any model."""
    return {
        "scope": budget.scope,
        "period": budget.period,
        "limit": budget.limit,
        "used": budget.used if priced else None,
        "promised": budget.promised if priced else None,
        "left": budget.left if priced else None,
        "threshold": budget.threshold,
        "resets_at": rfc3339(budget.resets_at),
    }
