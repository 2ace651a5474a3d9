"""What runbooks and rules name exists: routes, services, metrics."""

import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry
from starlette.routing import Match

from api.main import ROUTES
from shared.metrics import RedisGauges, ServiceCollector
from tests.deploy.compose import ROOT, services
from tests.deploy.test_rules import RUNBOOKS, rules

#: What Prometheus and its client count by themselves.
FOREIGN = {"up", "process_start_time_seconds"}
_SUFFIXES = ("_total", "_bucket", "_count", "_sum", "_created")


def _commands(path: Path) -> list[str]:
    text = path.read_text("utf-8").replace("\\\n", " ")
    return [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]


def _all() -> list[object]:
    return [
        pytest.param(command, id=f"{path.stem}: {command}")
        for path in sorted(RUNBOOKS.glob("*.md"))
        for command in _commands(path)
    ]


def _known() -> set[str]:
    """Return the names of every metric of ours."""
    own = CollectorRegistry()
    RedisGauges(own)
    own.register(ServiceCollector())
    return {family.name for registry in (REGISTRY, own) for family in registry.collect()}


def _named(text: str) -> set[str]:
    names = set(re.findall(r"\bdarkroom_[a-z_0-9]+", text))
    return {
        next((name.removesuffix(end) for end in _SUFFIXES if name.endswith(end)), name)
        for name in names
    }


@pytest.mark.parametrize("command", [one for one in _all() if "$API" in str(one)])
def test_every_route_that_a_runbook_asks_exists(command: str) -> None:
    path = re.search(r"\$API(/[^\s\"?|]*)", command)
    assert path is not None
    method = "POST" if "-X POST" in command else "GET"
    scope: dict[str, Any] = {"type": "http", "path": path[1], "method": method, "headers": []}

    assert any(route.matches(scope)[0] is Match.FULL for route in ROUTES)


@pytest.mark.parametrize("command", [one for one in _all() if "docker compose" in str(one)])
def test_every_service_that_a_runbook_names_exists(command: str) -> None:
    assert set(services()) & set(re.findall(r"[\w-]+", command))


@pytest.mark.parametrize("command", [one for one in _all() if "kubectl" in str(one)])
def test_every_deployment_that_a_runbook_names_exists(command: str) -> None:
    base = (ROOT / "deploy" / "kubernetes" / "base").glob("*.yaml")
    written = "\n".join(path.read_text("utf-8") for path in base)
    for name in re.findall(r"deploy[/ ](darkroom-[\w-]+)", command):
        assert f"name: {name}\n" in written


def test_every_metric_of_a_rule_or_a_runbook_exists() -> None:
    known = _known()
    asked = "\n".join(rule["expr"] for rule in rules())
    told = "\n".join(path.read_text("utf-8") for path in RUNBOOKS.glob("*.md"))

    missing = {
        name
        for name in _named(asked) | _named(told)
        if not any(one == name or one.startswith(f"{name}_") for one in known)
    }
    assert missing == set()
