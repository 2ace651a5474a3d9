"""What is left of a budget."""

import pytest

from shared.store.budgets import budget_of


@pytest.mark.parametrize(("action", "left"), [("refuse", 3), ("hold", 5)])
def test_promised_credits_are_left_only_by_a_budget_that_holds(action: str, left: float) -> None:
    assert budget_of(f"tenant month {action} 10 5 2 50 1").left == left
    assert budget_of(f"tenant month {action} 10 12 2 100 1").left == 0
