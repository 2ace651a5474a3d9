"""The overview dashboard."""

from deploy.panels import Dashboard, Panel, Query, Row, one, quantiles, rate

_FAILURES = 'status=~"5.."'

OVERVIEW = Dashboard(
    "darkroom-overview",
    "Darkroom: overview",
    "Objectives, flow of jobs, and errors of the API.",
    [
        Row(
            "Objectives",
            [
                Panel(
                    "Error budget left",
                    "Unused share of the errors that each objective allows in three days. "
                    "Below 0 the objective is missed.",
                    one("darkroom:slo_budget_left:ratio3d", "{{slo}}"),
                    "percentunit",
                    "stat",
                ),
                Panel(
                    "Error rate by objective",
                    "Share of events in the last hour that missed the objective.",
                    one("darkroom:slo_errors:ratio1h", "{{slo}}"),
                    "percentunit",
                ),
                Panel(
                    "Firing alerts",
                    "By severity. Each alert has a runbook.",
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
            "Jobs",
            [
                Panel(
                    "Job flow",
                    "Jobs per second: accepted, started, and ended by status. Over time all lines "
                    "except failures should match.",
                    [
                        Query(rate("darkroom_jobs_accepted_total"), "accepted"),
                        Query(rate("darkroom_job_wait_seconds_count"), "started"),
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
                    "Failed jobs per second. content_rejected and invalid_input are caused by the "
                    "request.",
                    one(
                        rate("darkroom_jobs_finished_total", "error_code", only='status="failed"'),
                        "{{error_code}}",
                    ),
                    "ops",
                ),
                Panel(
                    "Waiting",
                    "Waiting jobs and deliveries, by queue.",
                    one("max by (queue) (darkroom_queue_depth)", "{{queue}}"),
                ),
                Panel(
                    "Age of the oldest entry",
                    "Waiting time of the oldest entry. Pages after 5 minutes above 10 minutes.",
                    one("max by (queue) (darkroom_queue_oldest_age_seconds)", "{{queue}}"),
                    "s",
                ),
                Panel(
                    "Holds of provider calls",
                    "1 while new provider calls are held, by reason: all of them, or those "
                    "of some key or model (part).",
                    one(
                        "max by (reason, scope) (darkroom_provider_hold)", "{{reason}} ({{scope}})"
                    ),
                ),
            ],
        ),
        Row(
            "API",
            [
                Panel(
                    "Requests by route",
                    "Responses per second.",
                    one(rate("darkroom_http_requests_total", "route") + " > 0", "{{route}}"),
                    "reqps",
                ),
                Panel(
                    "Errors by route",
                    "Share of 5xx responses. Normally 0.",
                    one(
                        f"{rate('darkroom_http_requests_total', 'route', only=_FAILURES)} / "
                        f"({rate('darkroom_http_requests_total', 'route')} > 0)",
                        "{{route}}",
                    ),
                    "percentunit",
                ),
                Panel(
                    "Duration by route",
                    "95th percentile. Routes that wait for a job take as long as the request "
                    "asked for.",
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
