"""Events of a tenant that are about no job and no batch. No I/O here."""

from enum import StrEnum


class TenantEvent(StrEnum):
    """The webhook events that only standing endpoints get."""

    #: a budget has reached 50, 80 or 100 %
    BUDGET_THRESHOLD = "budget.threshold"
    #: a budget is spent
    BUDGET_EXHAUSTED = "budget.exhausted"
    #: an endpoint was disabled, because it responded 410 or failed for too long
    ENDPOINT_DISABLED = "endpoint.disabled"
    #: an API key will end soon
    KEY_EXPIRING = "key.expiring"
