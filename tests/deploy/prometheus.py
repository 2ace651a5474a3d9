"""Prometheus' own programs."""

from pathlib import Path

from tests.deploy import debian


def program(name: str) -> Path:
    """Find `promtool` or `prometheus`; skips where there is none and none can be fetched."""
    return debian.program(name, "prometheus")
