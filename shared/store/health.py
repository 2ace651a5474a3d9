"""Whether a Redis is safe for jobs, from what it reports. Pure."""

from collections.abc import Mapping
from typing import Any

from shared.store.schema_version import incompatibility

#: Accepting stops at this share of maxmemory: accepted jobs need room to finish.
ACCEPT_MEMORY_SHARE = 0.85


def health_problems(facts: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each reason why this Redis is unsafe for jobs; none if it is safe.

    `facts` is the output of INFO (memory, persistence, replication, cluster), `appendfsync` if
    CONFIG is available (managed services disable it), and `schema`, that of the data. Missing facts
    count as good.
    """
    checks = (
        *_durability_problems(facts),
        (_flag(facts, "cluster_enabled", 0), "Redis is in cluster mode, which is not supported."),
        (facts.get("role", "master") != "master", "This Redis is a replica."),
        (bool(_flag(facts, "loading", 0)), "Redis is loading its data."),
        (bool(incompatibility(facts.get("schema"))), incompatibility(facts.get("schema"))),
        (is_full(facts), "Redis is near its memory limit: nothing is accepted."),
    )
    return [sentence for applies, sentence in checks if applies]


def is_durable(facts: Mapping[str, Any]) -> bool:
    """Return whether this Redis keeps what it acknowledges, as far as it reports."""
    return not any(applies for applies, _ in _durability_problems(facts))


def _durability_problems(facts: Mapping[str, Any]) -> tuple[tuple[bool, str], ...]:
    policy = str(facts.get("maxmemory_policy", "noeviction"))
    return (
        (policy != "noeviction", f"Redis evicts keys when full ({policy}): set noeviction."),
        (
            not _flag(facts, "aof_enabled", 1),
            "Redis keeps no append-only file: set appendonly yes.",
        ),
        (
            facts.get("appendfsync", "") not in {"", "always"},
            "Redis would lose its last writes when it dies: set appendfsync always.",
        ),
        (
            facts.get("aof_last_write_status", "ok") != "ok",
            "Redis could not write its append-only file the last time: its disk may be full.",
        ),
    )


def is_full(facts: Mapping[str, Any]) -> bool:
    """Return whether too much memory is used to accept more jobs."""
    limit = int(facts.get("maxmemory", 0))
    return limit > 0 and int(facts.get("used_memory", 0)) >= limit * ACCEPT_MEMORY_SHARE


def _flag(facts: Mapping[str, Any], name: str, default: int) -> int:
    return int(facts.get(name, default))
