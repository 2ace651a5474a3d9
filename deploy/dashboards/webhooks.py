"""Whether those who wait for word are told."""

from deploy.panels import Dashboard, Panel, Query, Row, one, quantiles, rate, share

WEBHOOKS = Dashboard(
    "darkroom-webhooks",
    "Darkroom: webhooks",
    "Whether those who wait for word are told.",
    [
        Row(
            "Deliveries",
            [
                Panel(
                    "Attempts by outcome",
                    "Attempts a second; retried are sent again on schedule.",
                    one(rate("darkroom_webhook_attempts_total", "outcome"), "{{outcome}}"),
                    "ops",
                ),
                Panel(
                    "Share of attempts that were taken",
                    "How many of the attempts got a 2xx.",
                    one(
                        share(
                            rate("darkroom_webhook_attempts_total", only='outcome="delivered"'),
                            rate("darkroom_webhook_attempts_total"),
                        ),
                        "taken",
                    ),
                    "percentunit",
                ),
                Panel(
                    "From owed to delivered",
                    "The objective is 99 % within 60 s.",
                    quantiles("darkroom_webhook_delivery_seconds"),
                    "s",
                ),
                Panel(
                    "Not settled",
                    "Deliveries that are owed, those between two attempts included.",
                    one("max(darkroom_webhook_pending)", "pending"),
                ),
                Panel(
                    "Oldest that could be sent",
                    "How long ago the longest waiting delivery came whose time has come.",
                    one('max(darkroom_queue_oldest_age_seconds{queue="deliver"})', "oldest"),
                    "s",
                ),
                Panel(
                    "Receivers",
                    "Tenants of whom something may be sent, the most that waits for one host, what "
                    "is being sent now, and how much of it to hosts that have not answered lately.",
                    [
                        Query(
                            'max(darkroom_queue_backlogged_groups{queue="deliver"})',
                            "tenants that wait",
                        ),
                        Query('max(darkroom_queue_largest_group{queue="deliver"})', "most for one"),
                        Query('max(darkroom_in_flight{queue="deliver"})', "being sent"),
                        Query("max(darkroom_webhook_unproven_in_flight)", "to unproven hosts"),
                    ],
                ),
                Panel(
                    "Receivers that are not well",
                    "failing: slowed down. disabled: switched off, and gets nothing until it is "
                    "switched on.",
                    one("max by (state) (darkroom_webhook_endpoints)", "{{state}}"),
                ),
                Panel(
                    "Parked",
                    "Deliveries that wait for their receiver to be well or to be switched on.",
                    one("max(darkroom_webhook_parked)", "parked"),
                ),
                Panel(
                    "Switched off",
                    "Receivers in an hour that were switched off, by reason.",
                    one(
                        "sum by (reason) (increase(darkroom_webhook_endpoints_disabled_total[1h]))",
                        "{{reason}}",
                    ),
                ),
            ],
        )
    ],
)
