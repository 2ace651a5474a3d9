"""Budgets: the credits that a tenant or an API key may spend in a day or a month."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Threshold = Literal[50, 80, 100]
#: Percentages of a budget that are reported when what is used reaches them, once a day or month.
THRESHOLDS: Sequence[Threshold] = (50, 80, 100)


class BudgetScope(StrEnum):
    """Whose budget it is."""

    TENANT = "tenant"
    KEY = "key"


class BudgetPeriod(StrEnum):
    """What a budget is for, in UTC."""

    DAY = "day"
    MONTH = "month"


#: The budgets that there are.
KINDS = (
    (BudgetScope.TENANT, BudgetPeriod.DAY),
    (BudgetScope.TENANT, BudgetPeriod.MONTH),
    (BudgetScope.KEY, BudgetPeriod.MONTH),
)


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget and its use in the present day or month, which ends at `resets_at` (milliseconds).

    `promised` are credits of jobs that have not called the provider yet. `threshold` is the highest
    that `used` has reached. `holds`: once it is spent, queued jobs wait, instead of new ones being
    refused.
    """

    scope: BudgetScope
    period: BudgetPeriod
    holds: bool
    limit: float
    used: float
    promised: float
    threshold: Threshold | None
    resets_at: int

    @property
    def left(self) -> float:
        """Return the credits that are left; a budget that refuses counts promised ones as spent."""
        return max(self.limit - self.used - (0 if self.holds else self.promised), 0)
