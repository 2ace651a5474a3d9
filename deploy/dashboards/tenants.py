"""The tenants dashboard."""

from deploy.panels import Dashboard, Panel, Query, Row, one, quantiles, rate

TENANTS = Dashboard(
    "darkroom-tenants",
    "Darkroom: tenants",
    "Accepted, refused and waiting jobs. Metrics carry no tenant names: for one tenant see GET "
    "/ops/v1/usage and GET /ops/v1/tenants.",
    [
        Row(
            "Requests",
            [
                Panel(
                    "Accepted by priority",
                    "Jobs per second.",
                    one(rate("darkroom_jobs_accepted_total", "priority"), "{{priority}}"),
                    "ops",
                ),
                Panel(
                    "Accepted by model",
                    "Jobs per second.",
                    one(rate("darkroom_jobs_accepted_total", "model"), "{{model}}"),
                    "ops",
                ),
                Panel(
                    "Refused",
                    "4xx responses per second, by status. 401 and 403: invalid key or missing "
                    "scope; 422: "
                    "invalid input; 429: a limit or budget.",
                    one(
                        rate("darkroom_http_requests_total", "status", only='status=~"4.."'),
                        "{{status}}",
                    ),
                    "reqps",
                ),
            ],
        ),
        Row(
            "Waiting jobs",
            [
                Panel(
                    "Tenants with ready jobs",
                    "Tenants that have at least one job that a worker could start now.",
                    one('max(darkroom_queue_backlogged_groups{queue="generate"})', "tenants"),
                ),
                Panel(
                    "Largest backlog of one tenant",
                    "Largest number of ready jobs of one tenant, among the 50 that are served "
                    "next. If it "
                    "is close to `all`, one tenant has most of the queue; the others are served "
                    "in between.",
                    [
                        Query('max(darkroom_queue_largest_group{queue="generate"})', "largest"),
                        Query('max(darkroom_queue_depth{queue="generate"})', "all"),
                    ],
                ),
                Panel(
                    "Wait",
                    "From accepted to the first start.",
                    quantiles("darkroom_job_wait_seconds"),
                    "s",
                ),
                Panel(
                    "Jobs in Redis",
                    "By status. Final jobs stay until they move to the history or are deleted.",
                    one("max by (status) (darkroom_jobs)", "{{status}}"),
                ),
            ],
        ),
    ],
)
