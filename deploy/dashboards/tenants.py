"""The tenants dashboard."""

from deploy.panels import Dashboard, Panel, Query, Row, one, quantiles, rate

TENANTS = Dashboard(
    "darkroom-tenants",
    "Darkroom: tenants",
    "Whether everybody is served. What one tenant uses is told by GET /v1/usage and GET "
    "/ops/v1/tenants: metrics carry no names.",
    [
        Row(
            "What is asked for",
            [
                Panel(
                    "Accepted by priority",
                    "Jobs a second.",
                    one(rate("darkroom_jobs_accepted_total", "priority"), "{{priority}}"),
                    "ops",
                ),
                Panel(
                    "Accepted by model",
                    "Jobs a second.",
                    one(rate("darkroom_jobs_accepted_total", "model"), "{{model}}"),
                    "ops",
                ),
                Panel(
                    "Refused",
                    "Answers a second that refuse: 401, 403 bad keys, 422 bad input, 429 limits.",
                    one(
                        rate("darkroom_http_requests_total", "status", only='status=~"4.."'),
                        "{{status}}",
                    ),
                    "reqps",
                ),
            ],
        ),
        Row(
            "Who waits",
            [
                Panel(
                    "Tenants that wait",
                    "Tenants of whom a job could be begun now.",
                    one('max(darkroom_queue_backlogged_groups{queue="generate"})', "tenants"),
                ),
                Panel(
                    "Largest backlog of one tenant",
                    "Of the 50 tenants that come next. Near to all that waits: one tenant asks for "
                    "much, and the others are served between.",
                    [
                        Query('max(darkroom_queue_largest_group{queue="generate"})', "largest"),
                        Query('max(darkroom_queue_depth{queue="generate"})', "all"),
                    ],
                ),
                Panel(
                    "Wait",
                    "From accepted to first begun.",
                    quantiles("darkroom_job_wait_seconds"),
                    "s",
                ),
                Panel(
                    "Jobs kept",
                    "By status; final ones are kept until they expire.",
                    one("max by (status) (darkroom_jobs)", "{{status}}"),
                ),
            ],
        ),
    ],
)
