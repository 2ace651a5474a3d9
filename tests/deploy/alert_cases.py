"""Series that make each alert fire, and series that do not."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """Series that make an alert fire, the figure that it then tells, and series that do not.

    Series are in promtool's notation, one sample a minute.
    """

    alert: str
    severity: str
    firing: dict[str, str]
    quiet: dict[str, str]
    figure: str
    at: str = "30m"
    labels: dict[str, str] = field(default_factory=dict)


ROUTE = 'route="/v1/jobs",method="POST"'
API = 'up{job="darkroom-api",instance="'
GENERATE = 'up{job="darkroom-worker-generate"}'
DELIVER = 'up{job="darkroom-worker-deliver"}'


def _requests(bad: int, good: int) -> dict[str, str]:
    """Requests a minute, answered well and with 503."""
    return {
        f'darkroom_http_requests_total{{{ROUTE},status="202"}}': f"0+{good}x90",
        f'darkroom_http_requests_total{{{ROUTE},status="503"}}': f"0+{bad}x90",
    }


def _buckets(metric: str, le: str, slow: int, fast: int, label: str = "") -> dict[str, str]:
    first = f"{label}," if label else ""
    everything = f"{{{label}}}" if label else ""
    return {
        f'{metric}_bucket{{{first}le="{le}"}}': f"0+{fast}x90",
        f"{metric}_count{everything}": f"0+{slow + fast}x90",
    }


def _images(slow: int, fast: int, failed: int = 0) -> dict[str, str]:
    name, status = "darkroom_job_total_seconds", 'status="succeeded"'
    down = 'darkroom_jobs_finished_total{status="failed",error_code="provider_down"}'
    theirs = 'darkroom_jobs_finished_total{status="failed",error_code="content_rejected"}'
    told = _buckets(name, "10.0", slow, fast, status)
    return {**told, down: f"0+{failed}x90", theirs: "0+9x90"}


def _webhooks(slow: int, fast: int) -> dict[str, str]:
    return _buckets("darkroom_webhook_delivery_seconds", "60.0", slow, fast)


def _accepts(slow: int, fast: int) -> dict[str, str]:
    return _buckets("darkroom_accept_seconds", "0.25", slow, fast)


CASES = (
    Case("DarkroomAcceptAvailability", "page", _requests(2, 98), _requests(0, 100), "2%", at="20m"),
    Case(
        "DarkroomAcceptAvailability",
        "ticket",
        _requests(1, 199),
        _requests(1, 4999),
        "0.5%",
        at="20m",
    ),
    Case("DarkroomAcceptLatency", "page", _accepts(20, 80), _accepts(1, 199), "20%", at="20m"),
    Case("DarkroomAcceptLatency", "ticket", _accepts(4, 96), _accepts(1, 199), "4%", at="20m"),
    Case("DarkroomTimeToImage", "page", _images(30, 10, 60), _images(1, 99), "90%", at="20m"),
    Case("DarkroomTimeToImage", "ticket", _images(10, 80, 10), _images(1, 99), "20%", at="20m"),
    Case("DarkroomWebhookDelivery", "page", _webhooks(20, 80), _webhooks(1, 199), "20%", at="20m"),
    Case("DarkroomWebhookDelivery", "ticket", _webhooks(4, 96), _webhooks(1, 199), "4%", at="20m"),
    Case(
        "DarkroomApiDown",
        "page",
        {f'{API}a"}}': "0x60", f'{API}b"}}': "0x60"},
        {f'{API}a"}}': "0x60", f'{API}b"}}': "1x60"},
        "",
    ),
    Case(
        "DarkroomWorkersDown",
        "page",
        {GENERATE: "1x9 0x60", DELIVER: "1x60"},
        {GENERATE: "1x9 0 1x60", DELIVER: "1x60"},
        "",
        labels={"queue": "generate"},
    ),
    Case(
        "DarkroomWorkersDown",
        "page",
        {GENERATE: "1x60"},
        {GENERATE: "1x60", DELIVER: "1x60"},
        "",
        labels={"queue": "deliver"},
    ),
    Case(
        "DarkroomNotReady",
        "page",
        {'darkroom_ready{instance="a"}': "0x60", 'darkroom_ready{instance="b"}': "0x60"},
        {'darkroom_ready{instance="a"}': "0x60", 'darkroom_ready{instance="b"}': "1x60"},
        "0",
    ),
    Case(
        "DarkroomSweepNotRunning",
        "page",
        {"darkroom_sweep_age_seconds": "0x9 0+60x60"},
        {"darkroom_sweep_age_seconds": "0.4x60"},
        "20m 0s",
    ),
    Case(
        "DarkroomWorkersLost",
        "ticket",
        {'darkroom_rescued_jobs_total{reason="calling"}': "0+1x60"},
        {'darkroom_rescued_jobs_total{reason="calling"}': "0x20 8x40"},
        "15",
    ),
    Case(
        "DarkroomRedisNotDurable",
        "page",
        {'darkroom_redis_durable{instance="a"}': "0x60"},
        {'darkroom_redis_durable{instance="a"}': "1x60"},
        "0",
    ),
    Case(
        "DarkroomRedisMemoryHigh",
        "ticket",
        {"darkroom_redis_memory_bytes": "750x60", "darkroom_redis_memory_limit_bytes": "1000x60"},
        {"darkroom_redis_memory_bytes": "750x60", "darkroom_redis_memory_limit_bytes": "0x60"},
        "75%",
    ),
    Case(
        "DarkroomQueueOld",
        "page",
        {'darkroom_queue_oldest_age_seconds{queue="generate"}': "0+60x60"},
        {'darkroom_queue_oldest_age_seconds{queue="generate"}': "599x60"},
        "30m 0s",
        labels={"queue": "generate"},
    ),
    Case(
        "DarkroomQueuePaused",
        "ticket",
        {'darkroom_provider_hold{reason="paused"}': "1x90"},
        {'darkroom_provider_hold{reason="paused"}': "0x60 1x30"},
        "1",
        at="80m",
    ),
    Case(
        "DarkroomProviderCircuitOpen",
        "page",
        {"darkroom_provider_circuit_state": "1 1 0 1 1 1 0 1 1 1x60"},
        {"darkroom_provider_circuit_state": "0x28 1 0x60"},
        "1",
    ),
    Case(
        "DarkroomProviderCreditsGone",
        "page",
        {"darkroom_provider_credits_blocked": "1x60"},
        {"darkroom_provider_credits_blocked": "0x60"},
        "1",
    ),
    Case(
        "DarkroomProviderKeysDead",
        "ticket",
        {"darkroom_provider_dead_keys": "2x60"},
        {"darkroom_provider_dead_keys": "0x60"},
        "2",
    ),
    Case(
        "DarkroomProviderKeysUnreadable",
        "ticket",
        {"darkroom_provider_unreadable_keys": "2x60"},
        {"darkroom_provider_unreadable_keys": "0x60"},
        "2",
    ),
    Case(
        "DarkroomUnknownOutcomes",
        "ticket",
        {"darkroom_provider_unknown_outcomes_total": "0+1x90"},
        {"darkroom_provider_unknown_outcomes_total": "0x30 4x60"},
        "60",
        at="80m",
    ),
    Case(
        "DarkroomStorageAway",
        "page",
        {'darkroom_provider_hold{reason="storage"}': "1 1 0 1 1x60"},
        {'darkroom_provider_hold{reason="provider_down"}': "1x60"},
        "1",
    ),
    Case(
        "DarkroomImageHostAway",
        "page",
        {'darkroom_provider_hold{reason="image_host",scope="all"}': "1 1 0 1 1x60"},
        {'darkroom_provider_hold{reason="storage",scope="all"}': "1x60"},
        "1",
    ),
    Case(
        "DarkroomStorageErrors",
        "ticket",
        {
            'darkroom_storage_errors_total{operation="put"}': "0+10x60",
            'darkroom_storage_seconds_count{operation="put"}': "0+100x60",
        },
        {
            'darkroom_storage_errors_total{operation="put"}': "0+1x60",
            'darkroom_storage_seconds_count{operation="put"}': "0+100x60",
        },
        "10%",
    ),
    Case(
        "DarkroomHistoryBehind",
        "ticket",
        {"darkroom_history_lag_seconds": "0+60x60"},
        {"darkroom_history_lag_seconds": "900x60"},
        "30m 0s",
    ),
    Case(
        "DarkroomHistoryRefusesJobs",
        "ticket",
        {"darkroom_history_refused_jobs": "1x60"},
        {"darkroom_history_refused_jobs": "0+0x60"},
        "1",
    ),
    Case(
        "DarkroomWebhookBacklog",
        "ticket",
        {"darkroom_webhook_pending": "1500x60"},
        {"darkroom_webhook_pending": "999x60"},
        "1.5k",
    ),
    Case(
        "DarkroomWebhookEndpointsOff",
        "ticket",
        {'darkroom_webhook_endpoints{state="disabled"}': "2x60"},
        {'darkroom_webhook_endpoints{state="failing"}': "2x60"},
        "2",
    ),
    Case(
        "DarkroomEgressProxyDown",
        "page",
        {'darkroom_webhook_attempts_total{outcome="egress_proxy_down"}': "0+6x60"},
        {'darkroom_webhook_attempts_total{outcome="retried"}': "0+6x60"},
        "30",
    ),
    Case(
        "DarkroomWebhookFailures",
        "ticket",
        {'darkroom_webhook_attempts_total{outcome="failed"}': "0+1x90"},
        {'darkroom_webhook_attempts_total{outcome="retried"}': "0+9x90"},
        "60",
        at="80m",
    ),
)
