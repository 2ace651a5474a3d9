"""All Prometheus metrics.

Prefix `darkroom_`, base units, closed label sets: never an id, URL or prompt.

Label sets known in advance exist from the start with value 0, so that the first failure is an
increase and not a gap. Counters and histograms belong to each process; the gauges of the whole
service come from `ServiceCollector`, which the API registers.
"""

import platform
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from shared.budgets import KINDS, THRESHOLDS
from shared.errors import ErrorCode
from shared.jobs import IMAGE_WARNINGS, Priority, Status

# creation times would be one more series for each, which nobody reads
disable_created_metrics()  # type: ignore[no-untyped-call]

_QUEUES = ("generate", "deliver")
_HOLDS = (
    "paused",
    "storage",
    "image_host",
    "provider_auth",
    "provider_credits",
    "provider_rate",
    "provider_down",
)
_UNWELL = ("failing", "disabled")
_FINAL = (Status.SUCCEEDED, Status.FAILED, Status.CANCELED)

#: Buckets around the objectives: images below a second, and values slower by orders of magnitude.
SECONDS = (0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60, 300, 1800)
FAST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
BYTES = tuple(2**power for power in range(12, 27, 2))

HTTP_REQUESTS = Counter(
    "darkroom_http_requests", "Requests answered", ("route", "method", "status")
)
HTTP_REQUEST_SECONDS = Histogram(
    "darkroom_http_request_seconds", "Time to respond", ("route",), buckets=FAST_SECONDS
)
JOBS_ACCEPTED = Counter("darkroom_jobs_accepted", "Jobs accepted", ("model", "priority"))
BATCHES_ACCEPTED = Counter(
    "darkroom_batches_accepted", "Batches accepted; their jobs are counted as jobs too"
)
ACCEPT_SECONDS = Histogram(
    "darkroom_accept_seconds", "From a valid request to a job on disk", buckets=FAST_SECONDS
)
JOBS_FINISHED = Counter(
    "darkroom_jobs_finished", "Jobs that became final", ("model", "status", "error_code")
)
FALLBACK_JOBS = Counter(
    "darkroom_fallback_jobs", "Jobs that a fallback model served, by the requested one", ("model",)
)
JOB_WAIT_SECONDS = Histogram(
    "darkroom_job_wait_seconds", "From accepted to first claimed", buckets=SECONDS
)
JOB_RUN_SECONDS = Histogram(
    "darkroom_job_run_seconds", "From claimed to the outcome of the attempt", buckets=SECONDS
)
JOB_TOTAL_SECONDS = Histogram(
    "darkroom_job_total_seconds", "From accepted to final", ("status",), buckets=SECONDS
)
JOB_ATTEMPTS = Counter("darkroom_job_attempts", "Attempts ended", ("outcome",))
PROVIDER_REQUESTS = Counter("darkroom_provider_requests", "Calls to the provider", ("outcome",))
PROVIDER_REQUEST_SECONDS = Histogram(
    "darkroom_provider_request_seconds", "One call to the provider", buckets=SECONDS
)
PROVIDER_UNKNOWN_OUTCOMES = Counter(
    "darkroom_provider_unknown_outcomes", "Calls that may or may not have been billed"
)
PROVIDER_REPEATED_ANSWERS = Counter(
    "darkroom_provider_repeated_answers", "Answers with the record or the URL of another job"
)
IMAGE_WARNINGS_FOUND = Counter(
    "darkroom_image_warnings", "Images that differ from the request", ("warning",)
)
IMAGE_BYTES = Histogram("darkroom_image_bytes", "Size of stored images", buckets=BYTES)
STORAGE_SECONDS = Histogram(
    "darkroom_storage_seconds", "One storage operation", ("operation",), buckets=FAST_SECONDS
)
STORAGE_ERRORS = Counter("darkroom_storage_errors", "Storage operations failed", ("operation",))
WEBHOOK_ATTEMPTS = Counter("darkroom_webhook_attempts", "Webhook attempts", ("outcome",))
WEBHOOK_DELIVERY_SECONDS = Histogram(
    "darkroom_webhook_delivery_seconds", "From the event to its delivery", buckets=SECONDS
)
WEBHOOK_ENDPOINTS_DISABLED = Counter(
    "darkroom_webhook_endpoints_disabled", "Endpoints that were disabled", ("reason",)
)
RESCUED_JOBS = Counter("darkroom_rescued_jobs", "Jobs rescued from lost workers", ("reason",))
BUDGET_THRESHOLDS = Counter(
    "darkroom_budget_thresholds",
    "Budgets whose use reached this percentage, counted once per day or month",
    ("scope", "period", "threshold"),
)
REDIS_ERRORS = Counter("darkroom_redis_errors", "Calls to Redis that failed")
ARCHIVED_JOBS = Counter("darkroom_archived_jobs", "Jobs that moved to the history")
HISTORY_ERRORS = Counter(
    "darkroom_history_errors", "Failures of the history's database, as the archiver sees them"
)
LAST_SWEEP = Gauge("darkroom_last_sweep_timestamp_seconds", "Last sweep by this process")
BUILD = Info("darkroom_build", "Version of Darkroom and of Python")

ATTEMPT_OUTCOMES = ("succeeded", "retried", "failed", "released", "lost")
WEBHOOK_OUTCOMES = ("delivered", "retried", "failed", "released", "egress_proxy_down")
SWITCHED_OFF_REASONS = ("gone", "failing")
STORAGE_OPERATIONS = ("put", "read", "delete", "check")
RESCUE_REASONS = ("claimed", "calling", "fetching", "failed", "delivery")


def begin(models: Iterable[str]) -> None:
    """Create every label set known in advance, with value 0; `models` by id."""
    for model in models:
        for priority in Priority:
            JOBS_ACCEPTED.labels(model, priority.value)
        FALLBACK_JOBS.labels(model)
        JOBS_FINISHED.labels(model, "succeeded", "")
        JOBS_FINISHED.labels(model, "canceled", "")
        for code in ErrorCode:
            JOBS_FINISHED.labels(model, "failed", code.value)
    _begin(JOB_TOTAL_SECONDS, (status.value for status in _FINAL))
    _begin(JOB_ATTEMPTS, ATTEMPT_OUTCOMES)
    _begin(PROVIDER_REQUESTS, ("ok", *(code.value for code in ErrorCode)))
    _begin(IMAGE_WARNINGS_FOUND, IMAGE_WARNINGS)
    _begin(STORAGE_SECONDS, STORAGE_OPERATIONS)
    _begin(STORAGE_ERRORS, STORAGE_OPERATIONS)
    _begin(WEBHOOK_ATTEMPTS, WEBHOOK_OUTCOMES)
    _begin(WEBHOOK_ENDPOINTS_DISABLED, SWITCHED_OFF_REASONS)
    _begin(RESCUED_JOBS, RESCUE_REASONS)
    for scope, period in KINDS:
        for threshold in THRESHOLDS:
            BUDGET_THRESHOLDS.labels(scope.value, period.value, str(threshold))
    BUILD.info({"version": version("darkroom-service"), "python": platform.python_version()})


def _begin(metric: Counter | Histogram, values: Iterable[str]) -> None:
    for value in values:
        metric.labels(value)


class CreditsHold(Protocol):
    """A team without credits, with the numbers of the provider; None if unknown."""

    @property
    def credits_needed(self) -> float | None:
        """Credits that a call needs."""
        ...

    @property
    def credits_left(self) -> float | None:
        """Credits that the team has."""
        ...


class ListedModels(Protocol):
    """The models that the provider lists, by the last check."""

    def inactive(self, models: Iterable[str]) -> Mapping[str, str]:
        """Return which of these models cannot be called, with their status."""
        ...


class Facts(Protocol):
    """The state of the whole service, read from Redis once a second by the API."""

    @property
    def jobs(self) -> Mapping[str, int]:
        """Jobs by status."""
        ...

    @property
    def depth(self) -> Mapping[str, int]:
        """By queue: members that are ready or wait for their time."""
        ...

    @property
    def oldest_age(self) -> Mapping[str, float]:
        """By queue: seconds since the oldest ready member was queued."""
        ...

    @property
    def in_flight(self) -> Mapping[str, int]:
        """By queue: members under a lease."""
        ...

    @property
    def backlogged_groups(self) -> Mapping[str, int]:
        """By queue: tenants with claimable members."""
        ...

    @property
    def largest_group(self) -> Mapping[str, int]:
        """By queue: the most waiting members of one tenant, or host, among the next 50."""
        ...

    @property
    def full_holds(self) -> Collection[str]:
        """Reasons for which no provider call is made at all."""
        ...

    @property
    def partial_holds(self) -> Collection[str]:
        """Reasons for which no call is made with some key, or of some model."""
        ...

    @property
    def dead_keys(self) -> int:
        """Keys that the provider rejected, and that are not used."""
        ...

    @property
    def unreadable_keys(self) -> int:
        """Stored keys that a worker cannot open."""
        ...

    @property
    def sweep_age(self) -> float:
        """Seconds since a worker ran the sweep; 0 if none ever did."""
        ...

    @property
    def history_lag(self) -> float:
        """Seconds for which the history has been failing, or a final job could not move to it."""
        ...

    @property
    def history_refused(self) -> int:
        """Final jobs that the history could not store."""
        ...

    @property
    def provider_models(self) -> ListedModels:
        """The models that the provider lists."""
        ...

    @property
    def webhook_pending(self) -> int:
        """Deliveries that are not settled."""
        ...

    @property
    def webhook_parked(self) -> int:
        """Of these, how many wait for their endpoint to recover or to be enabled."""
        ...

    @property
    def webhook_unproven(self) -> int:
        """Deliveries being sent to hosts that have not responded in time lately."""
        ...

    @property
    def webhook_tenants_waiting(self) -> int:
        """Tenants waiting for one of the threads that such hosts share."""
        ...

    @property
    def webhook_endpoints(self) -> Mapping[str, int]:
        """Endpoints by state, except healthy ones."""
        ...

    @property
    def circuit(self) -> int:
        """0 closed (normal), 1 open: no calls with some key or of some model."""
        ...

    @property
    def without_credits(self) -> Sequence[CreditsHold]:
        """The teams without credits."""
        ...


class RedisGauges:
    """The health of Redis as an API process sees it; in a registry of the API's own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Start with the worst values: nothing was checked yet."""
        self.ready = Gauge("darkroom_ready", "1 while jobs are accepted", registry=registry)
        self.durable = Gauge(
            "darkroom_redis_durable", "1 while Redis keeps what it acknowledges", registry=registry
        )
        self.memory = Gauge(
            "darkroom_redis_memory_bytes", "Memory that Redis uses", registry=registry
        )
        self.limit = Gauge(
            "darkroom_redis_memory_limit_bytes",
            "Redis' maxmemory; 0 is no limit",
            registry=registry,
        )


class ServiceCollector(Collector):
    """Gauges of the whole service, from facts that others keep up to date."""

    def __init__(self, models: Iterable[str] = ()) -> None:
        """Start with zeros; `models` are those of the catalog, by id."""
        self.facts: Facts | None = None
        self._models = tuple(models)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the gauges."""
        facts = self.facts
        jobs = {status.value: facts.jobs.get(status, 0) if facts else 0 for status in Status}
        yield _gauge("darkroom_jobs", "Jobs kept, by status", "status", jobs)
        for name, text, values in (
            ("darkroom_queue_depth", "Entries that wait", facts.depth if facts else {}),
            (
                "darkroom_queue_oldest_age_seconds",
                "Age of the oldest entry that is ready",
                facts.oldest_age if facts else {},
            ),
            ("darkroom_in_flight", "Entries under a lease", facts.in_flight if facts else {}),
            (
                "darkroom_queue_backlogged_groups",
                "Tenants with entries that are ready",
                facts.backlogged_groups if facts else {},
            ),
            (
                "darkroom_queue_largest_group",
                "Most entries of one tenant or host",
                facts.largest_group if facts else {},
            ),
        ):
            yield _gauge(name, text, "queue", {queue: values.get(queue, 0) for queue in _QUEUES})
        age = facts.sweep_age if facts else 0
        yield GaugeMetricFamily("darkroom_sweep_age_seconds", "Since the last sweep", age)
        behind = facts.history_lag if facts else 0
        yield GaugeMetricFamily(
            "darkroom_history_lag_seconds",
            "Time for which the history has failed or lagged",
            behind,
        )
        refused = facts.history_refused if facts else 0
        yield GaugeMetricFamily(
            "darkroom_history_refused_jobs", "Final jobs that the history could not store", refused
        )
        yield from _webhooks(facts)
        yield from _provider(facts, self._models)


def _provider(facts: Facts | None, models: Sequence[str]) -> Iterator[GaugeMetricFamily]:
    yield _holds(facts)
    dead = facts.dead_keys if facts else 0
    yield GaugeMetricFamily("darkroom_provider_dead_keys", "Rejected provider keys", dead)
    unreadable = facts.unreadable_keys if facts else 0
    yield GaugeMetricFamily(
        "darkroom_provider_unreadable_keys", "Stored keys that a worker cannot open", unreadable
    )
    circuit = facts.circuit if facts else 0
    yield GaugeMetricFamily("darkroom_provider_circuit_state", "1: a circuit is open", circuit)
    yield from _credits(facts.without_credits if facts else ())
    inactive = facts.provider_models.inactive(models) if facts else ()
    yield _gauge(
        "darkroom_provider_model_inactive",
        "1 where the provider does not list the model as active",
        "model",
        {model: int(model in inactive) for model in models},
    )


def _webhooks(facts: Facts | None) -> Iterator[GaugeMetricFamily]:
    for name, text, number in (
        ("pending", "Deliveries not settled", facts.webhook_pending if facts else 0),
        ("parked", "Deliveries parked", facts.webhook_parked if facts else 0),
        (
            "unproven_in_flight",
            "Deliveries in progress to hosts that have not responded in time lately",
            facts.webhook_unproven if facts else 0,
        ),
        (
            "tenants_waiting",
            "Tenants that wait to send to such hosts",
            facts.webhook_tenants_waiting if facts else 0,
        ),
    ):
        yield GaugeMetricFamily(f"darkroom_webhook_{name}", text, number)
    unwell = {state: facts.webhook_endpoints.get(state, 0) if facts else 0 for state in _UNWELL}
    yield _gauge(
        "darkroom_webhook_endpoints",
        "Endpoints that failed, or that failures disabled",
        "state",
        unwell,
    )


def _holds(facts: Facts | None) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "darkroom_provider_hold",
        "1 while new calls are held: all, or part (of some key or model)",
        labels=("reason", "scope"),
    )
    for reason in _HOLDS:
        family.add_metric((reason, "all"), int(facts is not None and reason in facts.full_holds))
        family.add_metric(
            (reason, "part"), int(facts is not None and reason in facts.partial_holds)
        )
    return family


def _credits(teams: Sequence[CreditsHold]) -> Iterator[GaugeMetricFamily]:
    """Yield what is known of the teams without credits; for several, the sums."""
    needed, left = (
        sum(getattr(team, name) or 0.0 for team in teams)
        for name in ("credits_needed", "credits_left")
    )
    yield GaugeMetricFamily(
        "darkroom_provider_credits_blocked", "1 while a team is out of credits", int(bool(teams))
    )
    yield GaugeMetricFamily(
        "darkroom_provider_credits_needed", "Credits a call needs, while blocked", needed
    )
    yield GaugeMetricFamily("darkroom_provider_credits_left", "Credits left, while blocked", left)


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=(label,))
    for value, number in values.items():
        family.add_metric((value,), number)
    return family
