"""The service-level objectives as Prometheus rules: `python -m deploy.objectives`.

Each objective is a ratio of bad events, recorded over the windows of its alerts. An alert pages
when the 30-day error budget burns 14.4 times too fast (2 % of it in an hour) or 6 times (5 % in six
hours), and opens a ticket at 3 times in a day and 1 time in three days: the windows and factors of
Google's SRE workbook, "Alerting on SLOs", each with a short window that ends the alert soon.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).parent / "prometheus" / "rules" / "objectives.yml"
RUNBOOKS = "https://git.example.com/darkroom/blob/main/deploy/runbooks"
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
#: Fewer events than this per hour do not page: one failure of two is no trend.
FEW = 10

#: Failures caused by the client.
_ASKER = "invalid_input|provider_rejected|content_rejected|canceled"
#: All routes that create jobs.
_ACCEPT = (
    'darkroom_http_requests_total{route=~"/v1/(jobs|batches)|/(openai|replicate)/.+",method="POST"'
)


@dataclass(frozen=True)
class Objective:
    """A share of events that should be good. `good` and `total` contain WINDOW for the window."""

    name: str
    alert: str
    percent: float
    objective: str
    summary: str
    good: str
    total: str

    @property
    def budget(self) -> float:
        """The share of events that may be bad."""
        return round(1 - self.percent / 100, 6)


OBJECTIVES = (
    Objective(
        name="accept-availability",
        alert="DarkroomAcceptAvailability",
        percent=99.9,
        objective="requests that create jobs are answered without a 5xx",
        summary="Requests that create jobs fail with a 5xx",
        good=f'sum(rate({_ACCEPT},status!~"5.."}}[WINDOW]))',
        total=f"sum(rate({_ACCEPT}}}[WINDOW]))",
    ),
    Objective(
        name="accept-latency",
        alert="DarkroomAcceptLatency",
        percent=99,
        objective="jobs are accepted, and on disk, within 250 ms",
        summary="Accepting a job takes longer than 250 ms",
        good='sum(rate(darkroom_accept_seconds_bucket{le="0.25"}[WINDOW]))',
        total="sum(rate(darkroom_accept_seconds_count[WINDOW]))",
    ),
    Objective(
        name="time-to-image",
        alert="DarkroomTimeToImage",
        percent=95,
        objective="jobs have their image within 10 s of being accepted",
        summary="Jobs take longer than 10 s, or fail",
        good='sum(rate(darkroom_job_total_seconds_bucket{status="succeeded",le="10.0"}[WINDOW]))',
        total=(
            'sum(rate(darkroom_job_total_seconds_count{status="succeeded"}[WINDOW])) + '
            'sum(rate(darkroom_jobs_finished_total{status="failed",'
            f'error_code!~"{_ASKER}"}}[WINDOW]))'
        ),
    ),
    Objective(
        name="webhook-delivery",
        alert="DarkroomWebhookDelivery",
        percent=99,
        objective="delivered webhooks are delivered within 60 s of their event",
        summary="Webhooks are delivered more than a minute late",
        good='sum(rate(darkroom_webhook_delivery_seconds_bucket{le="60.0"}[WINDOW]))',
        total="sum(rate(darkroom_webhook_delivery_seconds_count[WINDOW]))",
    ),
)


@dataclass(frozen=True)
class Burn:
    """How fast a budget may burn over two windows."""

    factor: float
    long: str
    short: str


BURNS = {
    "page": (Burn(14.4, "1h", "5m"), Burn(6, "6h", "30m")),
    "ticket": (Burn(3, "1d", "2h"), Burn(1, "3d", "6h")),
}


def rules() -> dict[str, Any]:
    """Return the content of the rules file."""
    return {"groups": [_group(objective) for objective in OBJECTIVES]}


def _group(objective: Objective) -> dict[str, Any]:
    recorded = [_ratio(objective, window) for window in WINDOWS]
    events = {
        "record": "darkroom:slo_events:increase1h",
        "expr": f"3600 * ({objective.total.replace('WINDOW', '1h')})",
        "labels": {"slo": objective.name},
    }
    budget = {
        "record": "darkroom:slo_budget_left:ratio3d",
        "expr": f'1 - darkroom:slo_errors:ratio3d{{slo="{objective.name}"}} / {objective.budget:g}',
        "labels": {"slo": objective.name},
    }
    alerts = [_alert(objective, severity) for severity in BURNS]
    return {
        "name": f"darkroom-{objective.name}",
        "interval": "1m",
        "rules": [*recorded, events, budget, *alerts],
    }


def _ratio(objective: Objective, window: str) -> dict[str, Any]:
    good, total = (part.replace("WINDOW", window) for part in (objective.good, objective.total))
    return {
        "record": f"darkroom:slo_errors:ratio{window}",
        "expr": f"1 - ({good}) / ({total})",
        "labels": {"slo": objective.name},
    }


def _alert(objective: Objective, severity: str) -> dict[str, Any]:
    windows = " or ".join(burn.long for burn in BURNS[severity])
    return {
        "alert": objective.alert,
        "expr": f"({' or '.join(_burning(objective, burn) for burn in BURNS[severity])})"
        f' and darkroom:slo_events:increase1h{{slo="{objective.name}"}} >= {FEW}',
        "labels": {"severity": severity},
        "annotations": {
            "summary": objective.summary,
            "description": (
                f"Objective: {objective.percent:g} % of {objective.objective}. "
                f"{{{{ $value | humanizePercentage }}}} missed it over the last {windows}; the "
                f"error budget allows {100 - objective.percent:.4g} %."
            ),
            "runbook_url": f"{RUNBOOKS}/{objective.alert}.md",
        },
    }


def _burning(objective: Objective, burn: Burn) -> str:
    most = f"{burn.factor * objective.budget:.6g}"
    chosen = f'{{slo="{objective.name}"}}'
    return (
        f"(darkroom:slo_errors:ratio{burn.long}{chosen} > {most} "
        f"and darkroom:slo_errors:ratio{burn.short}{chosen} > {most})"
    )


def text() -> str:
    """Return the rules file."""
    head = "# Written by: python -m deploy.objectives\n"
    return head + yaml.safe_dump(rules(), sort_keys=False, width=1000)


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
