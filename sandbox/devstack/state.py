"""`stack.json`: the running processes, their addresses and keys, for scripts."""

from typing import Any

from sandbox.devstack.keys import TenantKeys
from sandbox.devstack.plan import Kind, Plan
from sandbox.devstack.supervise import Supervisor

FILE = "stack.json"


def describe(plan: Plan, keys: TenantKeys, supervisor: Supervisor) -> dict[str, Any]:
    """Return the content of `stack.json`, including the keys."""
    return {
        "api": plan.api_url,
        "api_key": keys.api_key,
        "ops_key": keys.ops_key,
        "webhook_secret": keys.webhook_secret,
        "tenant": keys.tenant,
        "redis_url": plan.redis_url,
        "history_url": plan.history_url,
        "provider_url": plan.provider_url,
        "s3": {
            "endpoint": plan.s3_endpoint,
            "bucket": plan.settings.s3_bucket,
            "access_key": plan.keys.access_key,
            "secret_key": plan.keys.secret_key,
        },
        "metrics": plan.metrics_urls,
        "pids": _pids(supervisor),
    }


def _pids(supervisor: Supervisor) -> dict[str, Any]:
    """Return a list for kinds with several processes, else a number or null."""
    several = {kind.value: supervisor.pids(kind) for kind in (Kind.API, Kind.WORKER)}
    single = {
        kind.value: next(iter(supervisor.pids(kind)), None)
        for kind in (Kind.REDIS, Kind.S3, Kind.PROVIDER)
    }
    return {**several, **single}
