"""A real Prometheus with the rules of deploy/, in less time than they are written for."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from deploy.panels import WINDOW
from sandbox.servers import free_port
from sandbox.subprocesses import Child
from sandbox.wait import wait_for_http
from tests.deploy.compose import ROOT
from tests.deploy.prometheus import program
from tests.support.tls import TLS

#: The window of rates in panels here, where everything is scraped each second.
RATE = "10s"
#: A rate needs some samples, however short its window is made.
LEAST_SECONDS = 2
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_WINDOW = re.compile(r"\[(\d+[smhd])\]")
#: Returns the rules of a file as Prometheus is to read them, from its name and its rules.
StateChange = Callable[[str, dict[str, Any]], dict[str, Any]]


def as_it_is(_: str, rules: dict[str, Any]) -> dict[str, Any]:
    return rules


def quicker(rules: dict[str, Any], factor: int) -> dict[str, Any]:
    """Divide every window and every `for` by `factor`; nothing else of any expression changes."""

    def window(found: re.Match[str]) -> str:
        return f"[{_quicker(found[1], factor)}s]"

    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["expr"] = _WINDOW.sub(window, rule["expr"])
            if "for" in rule:
                rule["for"] = f"{seconds(rule['for']) / factor:g}s"
    return rules


def seconds(written: str) -> int:
    """Read a duration of Prometheus in one unit."""
    return int(written[:-1]) * _SECONDS[written[-1]]


def _quicker(written: str, factor: int) -> str:
    return f"{max(round(seconds(written) / factor), LEAST_SECONDS)}"


class Prometheus:
    """A client of a running Prometheus."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=10, verify=TLS)

    def shows(self, expr: str) -> bool:
        """Return whether an expression gives a number now."""
        found = self._asked("/api/v1/query", query=expr.replace(WINDOW, RATE))["result"]
        return any(not math.isnan(float(one["value"][1])) for one in found)

    def fires(self, labels: Mapping[str, str]) -> bool:
        """Return whether an alert with these labels fires now."""
        return any(
            alert["state"] == "firing" and labels.items() <= alert["labels"].items()
            for alert in self._asked("/api/v1/alerts")["alerts"]
        )

    def fired_last(self, labels: Mapping[str, str]) -> float:
        """Return when an alert with these labels fired last within 1 h, in seconds since 1970."""
        chosen = ",".join(f'{name}="{value}"' for name, value in labels.items())
        fired = f'ALERTS{{alertstate="firing",{chosen}}}'
        expr = f"max(max_over_time(timestamp({fired})[1h:1s]))"
        return float(self._asked("/api/v1/query", query=expr)["result"][0]["value"][1])

    def rules(self) -> int:
        """Count the rules that it judges."""
        return sum(len(group["rules"]) for group in self._asked("/api/v1/rules")["groups"])

    def close(self) -> None:
        self._http.close()

    def _asked(self, path: str, **parameters: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._http.get(path, params=parameters).json()
        assert answer["status"] == "success", (parameters, answer)
        data: dict[str, Any] = answer["data"]
        return data


@contextmanager
def prometheus(
    where: Path,
    targets: Mapping[str, Sequence[str]],
    *,
    every: str = "1s",
    change: StateChange = as_it_is,
) -> Iterator[Prometheus]:
    """Run one that scrapes the `targets` (by job) and judges its rules `every` so often."""
    where.mkdir()
    config = {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": [str(_written(path, where, every, change)) for path in rule_files()],
        "scrape_configs": [
            {"job_name": name, "static_configs": [{"targets": list(addresses)}]}
            for name, addresses in targets.items()
        ],
    }
    (where / "prometheus.yml").write_text(yaml.safe_dump(config))
    with running(where / "prometheus.yml", where / "data") as asked:
        yield asked


@contextmanager
def running(config: Path, data: Path) -> Iterator[Prometheus]:
    """Run one with the configuration in a file, keeping what it sees in `data`."""
    address = f"127.0.0.1:{free_port()}"
    command = [
        str(program("prometheus")),
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        f"--web.listen-address={address}",
    ]
    with Child(command, data.with_name("prometheus.log")):
        wait_for_http(f"http://{address}/-/ready", status=200)
        asked = Prometheus(f"http://{address}")
        try:
            yield asked
        finally:
            asked.close()


def rule_files() -> list[Path]:
    return sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"))


def _written(path: Path, where: Path, every: str, change: StateChange) -> Path:
    """Write a file of rules as they are to be here."""
    rules = change(path.name, yaml.safe_load(path.read_text(encoding="utf-8")))
    for group in rules["groups"]:
        group["interval"] = every
    (where / path.name).write_text(yaml.safe_dump(rules))
    return where / path.name
