"""How 1min.ai and the storage answer."""

from deploy.panels import Dashboard, Panel, Query, Row, one, quantiles, rate, share

PROVIDER = Dashboard(
    "darkroom-provider",
    "Darkroom: provider and storage",
    "How 1min.ai and the object storage answer, and what is done about it.",
    [
        Row(
            "1min.ai",
            [
                Panel(
                    "Calls by outcome",
                    "Calls a second. Anything but ok is explained by its error code.",
                    one(rate("darkroom_provider_requests_total", "outcome"), "{{outcome}}"),
                    "ops",
                ),
                Panel(
                    "Duration of a call",
                    "From sending to the whole answer.",
                    quantiles("darkroom_provider_request_seconds"),
                    "s",
                ),
                Panel(
                    "Share of calls that went well",
                    "The circuit opens when failed calls have used up their budget.",
                    one(
                        share(
                            rate("darkroom_provider_requests_total", only='outcome="ok"'),
                            rate("darkroom_provider_requests_total"),
                        ),
                        "ok",
                    ),
                    "percentunit",
                ),
                Panel(
                    "Gate",
                    "1 while no new call is made, by reason; circuit is 1 while it is open.",
                    [
                        Query(
                            "max by (reason, scope) (darkroom_provider_hold)",
                            "{{reason}} ({{scope}})",
                        ),
                        Query("max(darkroom_provider_circuit_state)", "circuit"),
                    ],
                ),
                Panel(
                    "Credits",
                    "Told by the provider while there are too few: what a call needs and what is "
                    "left; 0 while all is well.",
                    [
                        Query("max(darkroom_provider_credits_needed)", "needed for a call"),
                        Query("max(darkroom_provider_credits_left)", "left"),
                        Query("max(darkroom_provider_credits_blocked)", "blocked"),
                    ],
                ),
                Panel(
                    "Dead keys and unknown outcomes",
                    "Keys that are refused, and calls in an hour that may or may not have been "
                    "billed.",
                    [
                        Query("max(darkroom_provider_dead_keys)", "dead keys"),
                        Query(
                            "sum(increase(darkroom_provider_unknown_outcomes_total[1h]))",
                            "unknown outcomes",
                        ),
                    ],
                ),
            ],
        ),
        Row(
            "Pictures and storage",
            [
                Panel(
                    "Size of pictures",
                    "Bytes of what was stored.",
                    quantiles("darkroom_image_bytes"),
                    "bytes",
                ),
                Panel(
                    "Storage operations",
                    "Operations a second.",
                    one(rate("darkroom_storage_seconds_count", "operation"), "{{operation}}"),
                    "ops",
                ),
                Panel(
                    "Duration of storage operations",
                    "What 95 of 100 stay below.",
                    one(
                        "histogram_quantile(0.95, "
                        f"{rate('darkroom_storage_seconds_bucket', 'le', 'operation')})",
                        "{{operation}}",
                    ),
                    "s",
                ),
                Panel(
                    "Storage errors",
                    "Failed operations a second. 0 is usual.",
                    one(rate("darkroom_storage_errors_total", "operation"), "{{operation}}"),
                    "ops",
                ),
                Panel(
                    "Attempts by outcome",
                    "Attempts at jobs a second; retried are those that will be tried again.",
                    one(rate("darkroom_job_attempts_total", "outcome"), "{{outcome}}"),
                    "ops",
                ),
                Panel(
                    "Duration of an attempt",
                    "From claimed to its outcome: the provider, the download and the storage.",
                    quantiles("darkroom_job_run_seconds"),
                    "s",
                ),
            ],
        ),
    ],
)
