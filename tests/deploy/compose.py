"""docker-compose.yml as Docker Compose would read it: variables filled in, anchors merged."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
#: The services that run our own image.
OURS = ("init", "check-provider", "api", "worker-generate", "worker-deliver", "provider")
#: Those of them that end by themselves.
ENDING = ("init", "check-provider")

_VARIABLE = re.compile(r"\$\$|\$\{(?P<name>[A-Z0-9_]+)(?:(?P<colon>:?)-(?P<default>[^}]*))?\}|\$")


def read(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the file as plain values, with the variables that the caller's environment has."""
    told = environment or {}

    def fill(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        assert found["name"], "a lone $ stops Docker Compose"
        assert found["default"] is not None, f"{found['name']} must be set before the first start"
        value = told.get(found["name"], found["default"])
        return value or (found["default"] if found["colon"] else "")

    lines = FILE.read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    filled: dict[str, Any] = yaml.safe_load(_VARIABLE.sub(fill, text))
    return filled


def grace_seconds(service: Mapping[str, Any]) -> float:
    """Return how long a service may take to stop: Compose adds up the parts of a duration."""
    return sum(map(float, re.findall(r"([0-9.]+)s", service["stop_grace_period"])))


def services(environment: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read(environment)["services"]
    return found
