"""Budgets as Redis describes them."""

from dataclasses import dataclass

from shared.budgets import THRESHOLDS, Budget, BudgetPeriod, BudgetScope

_KEY = "key:"


@dataclass(frozen=True, slots=True)
class CrossedThreshold:
    """A threshold that was reached, in percent; `key_id` is None for a budget of the tenant."""

    tenant: str
    key_id: str | None
    threshold: int
    budget: Budget


def budget_of(line: str) -> Budget:
    """Parse a line of `budgets.describe` in Lua."""
    scope, period, action, limit, used, promised, threshold, resets_at = line.split(" ")
    return Budget(
        BudgetScope(scope),
        BudgetPeriod(period),
        action == "hold",
        float(limit),
        float(used),
        float(promised),
        next((one for one in THRESHOLDS if one == int(threshold)), None),
        int(resets_at),
    )


def crossed_of(line: str) -> CrossedThreshold:
    """Parse a line of `budgets.record_thresholds` in Lua."""
    tenant, payer, threshold, described = line.split(" ", 3)
    key_id = payer.removeprefix(_KEY) if payer.startswith(_KEY) else None
    return CrossedThreshold(tenant, key_id, int(threshold), budget_of(described))
