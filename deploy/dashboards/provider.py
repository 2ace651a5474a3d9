"""The dashboard of provider and storage."""

from deploy.panels import Dashboard, Panel, Query, Row, one, quantiles, rate, share

PROVIDER = Dashboard(
    "darkroom-provider",
    "Darkroom: provider and storage",
    "Calls to 1min.ai, holds, and storage operations.",
    [
        Row(
            "1min.ai",
            [
                Panel(
                    "Calls by outcome",
                    "Calls per second. Outcomes other than ok are error codes.",
                    one(rate("darkroom_provider_requests_total", "outcome"), "{{outcome}}"),
                    "ops",
                ),
                Panel(
                    "Duration of a call",
                    "From the request to the complete response.",
                    quantiles("darkroom_provider_request_seconds"),
                    "s",
                ),
                Panel(
                    "Successful calls",
                    "Share of calls that succeed. A circuit breaker opens after too many failures.",
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
                    "Holds and circuit breakers",
                    "1 while new provider calls are held, by reason: all of them, or "
                    "those of some key or model (part). circuit: a circuit breaker is open.",
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
                    "Reported by the provider while there are too few: what a call needs and what "
                    "is left. Otherwise 0.",
                    [
                        Query("max(darkroom_provider_credits_needed)", "needed for a call"),
                        Query("max(darkroom_provider_credits_left)", "left"),
                        Query("max(darkroom_provider_credits_blocked)", "blocked"),
                    ],
                ),
                Panel(
                    "Jobs served by fallback models",
                    "Jobs per second that another model than the requested one served, by the "
                    "requested model.",
                    one(rate("darkroom_fallback_jobs_total", "model"), "{{model}}"),
                    "ops",
                ),
                Panel(
                    "Unusable keys and unknown outcomes",
                    "Rejected provider keys, stored ones that a worker cannot open, and calls in "
                    "the last hour that may have been billed without a result.",
                    [
                        Query("max(darkroom_provider_dead_keys)", "dead keys"),
                        Query("max(darkroom_provider_unreadable_keys)", "unreadable keys"),
                        Query(
                            "sum(increase(darkroom_provider_unknown_outcomes_total[1h]))",
                            "unknown outcomes",
                        ),
                    ],
                ),
            ],
        ),
        Row(
            "Images and storage",
            [
                Panel(
                    "Image size",
                    "Bytes of stored images.",
                    quantiles("darkroom_image_bytes"),
                    "bytes",
                ),
                Panel(
                    "Storage operations",
                    "Operations per second.",
                    one(rate("darkroom_storage_seconds_count", "operation"), "{{operation}}"),
                    "ops",
                ),
                Panel(
                    "Duration of storage operations",
                    "95th percentile.",
                    one(
                        "histogram_quantile(0.95, "
                        f"{rate('darkroom_storage_seconds_bucket', 'le', 'operation')})",
                        "{{operation}}",
                    ),
                    "s",
                ),
                Panel(
                    "Storage errors",
                    "Failed operations per second. Normally 0.",
                    one(rate("darkroom_storage_errors_total", "operation"), "{{operation}}"),
                    "ops",
                ),
                Panel(
                    "Attempts by outcome",
                    "Attempts per second. retried: the job is attempted again.",
                    one(rate("darkroom_job_attempts_total", "outcome"), "{{outcome}}"),
                    "ops",
                ),
                Panel(
                    "Duration of an attempt",
                    "From the claim to the outcome: provider, download and storage.",
                    quantiles("darkroom_job_run_seconds"),
                    "s",
                ),
            ],
        ),
    ],
)
