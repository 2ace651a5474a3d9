"""Whether a Redis can be trusted with jobs, from what it says of itself. Pure."""

from collections.abc import Mapping
from typing import Any

from shared.store.schema_version import incompatibility

#: Accepting stops at this part of maxmemory: what is accepted already needs room to be finished.
ACCEPT_MEMORY_SHARE = 0.85


def health_problems(facts: Mapping[str, Any]) -> list[str]:
    """Give a sentence for each reason why this Redis must not be given jobs; none if it is fit.

    `facts` is what INFO says (memory, persistence, replication, cluster), and `appendfsync` where
    CONFIG may be asked: managed services hide it; and `schema`, that of the data. What is not told
    is not held against it.
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
    """Tell whether this Redis keeps what it acknowledges, as far as it tells."""
    return not any(applies for applies, _ in _durability_problems(facts))


def _durability_problems(facts: Mapping[str, Any]) -> tuple[tuple[bool, str], ...]:
    policy = str(facts.get("maxmemory_policy", "noeviction"))
    return (
        (policy != "noeviction", f"Redis evicts keys when full ({policy}): set noeviction."),
        (not _flag(facts, "aof_enabled", 1), "Redis keeps no log: set appendonly yes."),
        (
            facts.get("appendfsync", "") not in {"", "always"},
            "Redis would lose its last writes when it dies: set appendfsync always.",
        ),
        (
            facts.get("aof_last_write_status", "ok") != "ok",
            "Redis could not write its log the last time: its disk may be full.",
        ),
    )


def is_full(facts: Mapping[str, Any]) -> bool:
    """Tell whether so much of the memory is used that nothing more is to be accepted."""
    limit = int(facts.get("maxmemory", 0))
    return limit > 0 and int(facts.get("used_memory", 0)) >= limit * ACCEPT_MEMORY_SHARE


def _flag(facts: Mapping[str, Any], name: str, default: int) -> int:
    return int(facts.get(name, default))
