"""What the service runs on."""

from deploy.panels import Dashboard, Panel, Query, Row, one, quantiles, rate

_JOBS = 'job=~"darkroom-.*"'

WORKERS = Dashboard(
    "darkroom-workers",
    "Darkroom: workers and Redis",
    "What the service runs on.",
    [
        Row(
            "Processes",
            [
                Panel(
                    "Processes that answer",
                    "By kind.",
                    one(f"sum by (job) (up{{{_JOBS}}})", "{{job}}"),
                ),
                Panel(
                    "At work",
                    "Jobs and deliveries under a lease. As many as there are threads: add workers.",
                    one("max by (queue) (darkroom_in_flight)", "{{queue}}"),
                ),
                Panel(
                    "Versions",
                    "What runs where. Two at once is right while an upgrade goes on.",
                    one(f"count by (version, job) (darkroom_build_info{{{_JOBS}}})", ""),
                    "none",
                    "table",
                ),
                Panel(
                    "Processor",
                    "Cores in use, by kind of process.",
                    one(
                        rate("process_cpu_seconds_total", "job", only=_JOBS),
                        "{{job}}",
                    ),
                ),
                Panel(
                    "Memory",
                    "The largest process of each kind.",
                    one(
                        f"max by (job) (process_resident_memory_bytes{{{_JOBS}}})",
                        "{{job}}",
                    ),
                    "bytes",
                ),
                Panel(
                    "Open files",
                    "The most of one process of each kind; connections count.",
                    one(f"max by (job) (process_open_fds{{{_JOBS}}})", "{{job}}"),
                ),
            ],
        ),
        Row(
            "What is put right",
            [
                Panel(
                    "Last sweep",
                    "Seconds since some worker swept; under a second is usual, 30 pages.",
                    one("max(darkroom_sweep_age_seconds)", "age"),
                    "s",
                ),
                Panel(
                    "Rescued",
                    "Jobs and deliveries a second that were taken from workers that were gone.",
                    one(rate("darkroom_rescued_jobs_total", "reason"), "{{reason}}"),
                    "ops",
                ),
            ],
        ),
        Row(
            "Redis",
            [
                Panel(
                    "Ready and durable",
                    "1 is well: an API process can take work, and Redis keeps what it answers.",
                    [
                        Query("max(darkroom_ready)", "ready"),
                        Query("min(darkroom_redis_durable)", "durable"),
                    ],
                ),
                Panel(
                    "Memory of Redis",
                    "At 85 % of the limit nothing more is accepted.",
                    [
                        Query("max(darkroom_redis_memory_bytes)", "used"),
                        Query("max(darkroom_redis_memory_limit_bytes)", "limit"),
                    ],
                    "bytes",
                ),
                Panel(
                    "Accepting",
                    "From a valid request to a job on disk. The objective is 99 % within 250 ms.",
                    quantiles("darkroom_accept_seconds"),
                    "s",
                ),
                Panel(
                    "Errors of Redis",
                    "Requests a second that failed because Redis did not answer well.",
                    one(rate("darkroom_redis_errors_total"), "errors"),
                    "ops",
                ),
            ],
        ),
    ],
)
