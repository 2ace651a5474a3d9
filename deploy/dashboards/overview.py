"""Whether clients get what they ask for."""

from deploy.panels import Dashboard, Panel, Query, Row, one, quantiles, rate

_FAILURES = 'status=~"5.."'

OVERVIEW = Dashboard(
    "darkroom-overview",
    "Darkroom: overview",
    "Whether clients get what they ask for, and if not, where it stops.",
    [
        Row(
            "What was promised",
            [
                Panel(
                    "Budget left",
                    "Share of the errors that each objective allows over three days which is not "
                    "used yet. Below 0 the objective is missed.",
                    one("darkroom:slo_budget_left:ratio3d", "{{slo}}"),
                    "percentunit",
                    "stat",
                ),
                Panel(
                    "Errors against the objectives",
                    "Share of events that were not as promised, over an hour.",
                    one("darkroom:slo_errors:ratio1h", "{{slo}}"),
                    "percentunit",
                ),
                Panel(
                    "Alerts that fire",
                    "By severity. Each has a runbook.",
                    one(
                        'sum by (severity) (ALERTS{alertname=~"Darkroom.*",alertstate="firing"}) '
                        "or vector(0)",
                        "{{severity}}",
                    ),
                    kind="stat",
                ),
            ],
        ),
        Row(
            "The way of jobs",
            [
                Panel(
                    "Funnel",
                    "Jobs a second: accepted, begun, and how they ended. In the long run all lines "
                    "but the failures lie on each other.",
                    [
                        Query(rate("darkroom_jobs_accepted_total"), "accepted"),
                        Query(rate("darkroom_job_wait_seconds_count"), "begun"),
                        Query(rate("darkroom_jobs_finished_total", "status"), "{{status}}"),
                    ],
                    "ops",
                ),
                Panel(
                    "Time to image",
                    "From accepted to succeeded. The objective is 95 % within 10 s.",
                    quantiles("darkroom_job_total_seconds", only='status="succeeded"'),
                    "s",
                ),
                Panel(
                    "Failed jobs by cause",
                    "Jobs a second that failed. content_rejected and invalid_input are the "
                    "askers' own.",
                    one(
                        rate("darkroom_jobs_finished_total", "error_code", only='status="failed"'),
                        "{{error_code}}",
                    ),
                    "ops",
                ),
                Panel(
                    "Waiting",
                    "Jobs and deliveries that wait, by queue.",
                    one("max by (queue) (darkroom_queue_depth)", "{{queue}}"),
                ),
                Panel(
                    "Oldest that waits",
                    "How long ago what has waited longest came. It pages at 10 minutes.",
                    one("max by (queue) (darkroom_queue_oldest_age_seconds)", "{{queue}}"),
                    "s",
                ),
                Panel(
                    "Why nothing is asked",
                    "1 while no new call of the provider is made, by reason.",
                    one(
                        "max by (reason, scope) (darkroom_provider_hold)", "{{reason}} ({{scope}})"
                    ),
                ),
            ],
        ),
        Row(
            "The front door",
            [
                Panel(
                    "Requests by route",
                    "Requests a second that were answered.",
                    one(rate("darkroom_http_requests_total", "route") + " > 0", "{{route}}"),
                    "reqps",
                ),
                Panel(
                    "Errors by route",
                    "Share of the answers that were 5xx. 0 is usual.",
                    one(
                        f"{rate('darkroom_http_requests_total', 'route', only=_FAILURES)} / "
                        f"({rate('darkroom_http_requests_total', 'route')} > 0)",
                        "{{route}}",
                    ),
                    "percentunit",
                ),
                Panel(
                    "Duration by route",
                    "What 95 of 100 answers stay below. Routes that wait for a job are as slow as "
                    "they were asked to be.",
                    one(
                        "histogram_quantile(0.95, "
                        f"{rate('darkroom_http_request_seconds_bucket', 'le', 'route')}) > 0",
                        "{{route}}",
                    ),
                    "s",
                ),
            ],
        ),
    ],
)
