"""The webhooks dashboard."""

from deploy.panels import Dashboard, Panel, Query, Row, one, quantiles, rate, share

WEBHOOKS = Dashboard(
    "darkroom-webhooks",
    "Darkroom: webhooks",
    "Webhook deliveries, endpoints and backlog.",
    [
        Row(
            "Deliveries",
            [
                Panel(
                    "Attempts by outcome",
                    "Attempts per second. retried: the next attempt is scheduled.",
                    one(rate("darkroom_webhook_attempts_total", "outcome"), "{{outcome}}"),
                    "ops",
                ),
                Panel(
                    "Successful attempts",
                    "Share of attempts that got a 2xx.",
                    one(
                        share(
                            rate("darkroom_webhook_attempts_total", only='outcome="delivered"'),
                            rate("darkroom_webhook_attempts_total"),
                        ),
                        "successful",
                    ),
                    "percentunit",
                ),
                Panel(
                    "Time to delivery",
                    "From the event to the delivery. The objective is 99 % within 60 s.",
                    quantiles("darkroom_webhook_delivery_seconds"),
                    "s",
                ),
                Panel(
                    "Pending deliveries",
                    "Deliveries that are not settled, including those between two attempts.",
                    one("max(darkroom_webhook_pending)", "pending"),
                ),
                Panel(
                    "Age of the oldest ready delivery",
                    "Waiting time of the oldest delivery that is due.",
                    one('max(darkroom_queue_oldest_age_seconds{queue="deliver"})', "oldest"),
                    "s",
                ),
                Panel(
                    "Ready and sending",
                    "Tenants with ready deliveries; the most ready deliveries to one host; "
                    "deliveries in "
                    "progress; and those of them to hosts that have not answered recently.",
                    [
                        Query(
                            'max(darkroom_queue_backlogged_groups{queue="deliver"})',
                            "tenants waiting",
                        ),
                        Query('max(darkroom_queue_largest_group{queue="deliver"})', "most for one"),
                        Query('max(darkroom_in_flight{queue="deliver"})', "being sent"),
                        Query("max(darkroom_webhook_unproven_in_flight)", "to unproven hosts"),
                    ],
                ),
                Panel(
                    "Unhealthy endpoints",
                    "failing: probed with one delivery at a time. disabled: gets nothing until it "
                    "is enabled.",
                    one("max by (state) (darkroom_webhook_endpoints)", "{{state}}"),
                ),
                Panel(
                    "Parked",
                    "Deliveries that wait for a failing endpoint to recover or a disabled one to "
                    "be enabled.",
                    one("max(darkroom_webhook_parked)", "parked"),
                ),
                Panel(
                    "Disabled endpoints",
                    "Endpoints that were disabled in the last hour, by reason.",
                    one(
                        "sum by (reason) (increase(darkroom_webhook_endpoints_disabled_total[1h]))",
                        "{{reason}}",
                    ),
                ),
            ],
        )
    ],
)
