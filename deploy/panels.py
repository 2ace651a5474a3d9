"""Grafana panels and dashboards as values, and their JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

#: Grafana fills in the window of a rate: never less than four scrapes.
WINDOW = "$__rate_interval"
_COLUMNS, _WIDTH, _HEIGHT = 3, 8, 8
_SOURCE = {"type": "prometheus", "uid": "${source}"}

Unit = Literal["short", "s", "bytes", "percentunit", "reqps", "ops", "bool_on_off", "none"]


@dataclass(frozen=True)
class Query:
    """A PromQL expression; `legend` names its series by their labels."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """A graph of some queries. `description` says what is good and what is not."""

    title: str
    description: str
    queries: Sequence[Query]
    unit: Unit = "short"
    kind: Literal["timeseries", "stat", "table"] = "timeseries"


@dataclass(frozen=True)
class Row:
    """Related panels under a heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Dashboard:
    """One page. `uid` never changes, because links and home pages use it."""

    uid: str
    title: str
    description: str
    rows: Sequence[Row]

    @property
    def panels(self) -> list[Panel]:
        """All panels, in order."""
        return [panel for row in self.rows for panel in row.panels]

    def json(self) -> dict[str, Any]:
        """Return Grafana's JSON."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["darkroom"],
            "editable": False,
            "schemaVersion": 41,
            "refresh": "30s",
            "time": {"from": "now-3h", "to": "now"},
            "timezone": "utc",
            "graphTooltip": 1,
            "templating": {"list": [_source_variable()]},
            "annotations": {"list": [_restarts()]},
            "links": [_others()],
            "panels": _laid_out(self.rows),
        }


def rate(metric: str, *by: str, only: str = "") -> str:
    """Return the rate per second, summed over all processes."""
    grouped = f" by ({', '.join(by)})" if by else ""
    chosen = f"{{{only}}}" if only else ""
    return f"sum{grouped} (rate({metric}{chosen}[{WINDOW}]))"


def share(part: str, total: str) -> str:
    """Return a share of a whole; 0 if the whole is empty."""
    return f"({part}) / ({total} > 0) or vector(0)"


def one(expr: str, legend: str = "") -> list[Query]:
    """Return the only query of a panel."""
    return [Query(expr, legend)]


def quantiles(metric: str, *by: str, only: str = "") -> list[Query]:
    """Return the 50th, 95th and 99th percentile."""
    names = " ".join(f"{{{{{label}}}}}" for label in by)
    buckets = rate(f"{metric}_bucket", "le", *by, only=only)
    return [
        Query(f"histogram_quantile({part}, {buckets})", f"{name} {names}".strip())
        for part, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    ]


def _source_variable() -> dict[str, Any]:
    return {
        "name": "source",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "current": {"text": "Prometheus", "value": "prometheus"},
    }


def _restarts() -> dict[str, Any]:
    """Return annotations for process starts, which often explain changes."""
    return {
        "name": "Starts of processes",
        "datasource": _SOURCE,
        "enable": True,
        "iconColor": "blue",
        "expr": 'changes(process_start_time_seconds{job=~"darkroom-.*"}[1m]) > 0',
        "titleFormat": "{{job}} was started",
    }


def _others() -> dict[str, Any]:
    return {
        "type": "dashboards",
        "tags": ["darkroom"],
        "title": "Darkroom",
        "asDropdown": True,
        "includeVars": True,
        "keepTime": True,
    }


def _laid_out(rows: Sequence[Row]) -> list[dict[str, Any]]:
    placed: list[dict[str, Any]] = []
    top = 0
    for row in rows:
        position = {"x": 0, "y": top, "w": _COLUMNS * _WIDTH, "h": 1}
        placed.append(
            {
                "id": len(placed) + 1,
                "type": "row",
                "title": row.title,
                "gridPos": position,
                "panels": [],
            }
        )
        for number, panel in enumerate(row.panels):
            line, column = divmod(number, _COLUMNS)
            at = {"x": column * _WIDTH, "y": top + 1 + line * _HEIGHT, "w": _WIDTH, "h": _HEIGHT}
            placed.append(_panel(panel, number=len(placed) + 1, at=at))
        top += 1 + _HEIGHT * -(-len(row.panels) // _COLUMNS)
    return placed


def _panel(panel: Panel, *, number: int, at: dict[str, int]) -> dict[str, Any]:
    table = {"format": "table", "instant": True} if panel.kind == "table" else {}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": at,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"showLegend": True, "placement": "bottom"}}
        if panel.kind == "timeseries"
        else {},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _SOURCE,
                "expr": query.expr,
                "legendFormat": query.legend,
                **table,
            }
            for index, query in enumerate(panel.queries)
        ],
    }
