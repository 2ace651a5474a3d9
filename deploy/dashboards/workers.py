"""The dashboard of processes, Redis and the history."""

from deploy.panels import Dashboard, Panel, Query, Row, one, quantiles, rate

_JOBS = 'job=~"darkroom-.*"'

WORKERS = Dashboard(
    "darkroom-workers",
    "Darkroom: workers and Redis",
    "Processes, sweep, Redis and history.",
    [
        Row(
            "Processes",
            [
                Panel(
                    "Running processes",
                    "By kind of process.",
                    one(f"sum by (job) (up{{{_JOBS}}})", "{{job}}"),
                ),
                Panel(
                    "In progress",
                    "Jobs and deliveries under a lease. If all threads are busy, add workers.",
                    one("max by (queue) (darkroom_in_flight)", "{{queue}}"),
                ),
                Panel(
                    "Versions",
                    "Version of each process. Two versions at once are normal during an upgrade.",
                    one(f"count by (version, job) (darkroom_build_info{{{_JOBS}}})", ""),
                    "none",
                    "table",
                ),
                Panel(
                    "CPU",
                    "Cores in use, by kind of process.",
                    one(
                        rate("process_cpu_seconds_total", "job", only=_JOBS),
                        "{{job}}",
                    ),
                ),
                Panel(
                    "Memory",
                    "Largest process of each kind.",
                    one(
                        f"max by (job) (process_resident_memory_bytes{{{_JOBS}}})",
                        "{{job}}",
                    ),
                    "bytes",
                ),
                Panel(
                    "Open files",
                    "Highest number in one process of each kind, including connections.",
                    one(f"max by (job) (process_open_fds{{{_JOBS}}})", "{{job}}"),
                ),
            ],
        ),
        Row(
            "Sweep",
            [
                Panel(
                    "Last sweep",
                    "Seconds since the last sweep. Normally below 1; pages at 30.",
                    one("max(darkroom_sweep_age_seconds)", "age"),
                    "s",
                ),
                Panel(
                    "Rescued",
                    "Jobs and deliveries of lost workers that were rescued, per second.",
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
                    "1: an API process is ready, and Redis keeps acknowledged writes.",
                    [
                        Query("max(darkroom_ready)", "ready"),
                        Query("min(darkroom_redis_durable)", "durable"),
                    ],
                ),
                Panel(
                    "Redis memory",
                    "At 85 % of the limit no more jobs are accepted.",
                    [
                        Query("max(darkroom_redis_memory_bytes)", "used"),
                        Query("max(darkroom_redis_memory_limit_bytes)", "limit"),
                    ],
                    "bytes",
                ),
                Panel(
                    "Time to accept",
                    "From a valid request to the job on disk. The objective is 99 % within 250 ms.",
                    quantiles("darkroom_accept_seconds"),
                    "s",
                ),
                Panel(
                    "Redis errors",
                    "Requests per second that failed because of Redis.",
                    one(rate("darkroom_redis_errors_total"), "errors"),
                    "ops",
                ),
            ],
        ),
        Row(
            "History",
            [
                Panel(
                    "History behind",
                    "Seconds for which the history has been failing or a final job has waited for "
                    "it. Normally below 5; a ticket opens after 5 minutes above 15 minutes.",
                    one("max(darkroom_history_lag_seconds)", "age"),
                    "s",
                ),
                Panel(
                    "Archived jobs",
                    "Jobs per second that moved from Redis to the history.",
                    one(rate("darkroom_archived_jobs_total"), "jobs"),
                    "ops",
                ),
                Panel(
                    "History errors",
                    "Failures of the database per second, as the archiver sees them. Normally 0.",
                    one(rate("darkroom_history_errors_total"), "errors"),
                    "ops",
                ),
            ],
        ),
    ],
)
