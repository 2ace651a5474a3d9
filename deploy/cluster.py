"""Write rules and dashboards as Kubernetes resources: `python -m deploy.cluster`."""

from pathlib import Path
from typing import Any

import yaml

from deploy.dashboards import ALL, text

HERE = Path(__file__).parent
FOLDER = HERE / "kubernetes" / "components" / "monitoring"
RULES = HERE / "prometheus" / "rules"
#: kustomize adds it to everything; Helm takes these files as they are.
_LABELS = {"app.kubernetes.io/part-of": "darkroom"}


def rules() -> dict[str, Any]:
    """Return all rules as one resource of the Prometheus operator."""
    files = (yaml.safe_load(path.read_text("utf-8")) for path in sorted(RULES.glob("*.yml")))
    groups = [group for file in files for group in file["groups"]]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "darkroom", "labels": dict(_LABELS)},
        "spec": {"groups": groups},
    }


def dashboards() -> list[dict[str, Any]]:
    """Return each dashboard as a ConfigMap for Grafana's sidecar."""
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": f"darkroom-dashboard-{name}",
                "labels": {"grafana_dashboard": "1", **_LABELS},
                "annotations": {"grafana_folder": "Darkroom"},
            },
            "data": {f"darkroom-{name}.json": text(dashboard).decode()},
        }
        for name, dashboard in ALL.items()
    ]


def files() -> dict[str, str]:
    """Return the content of each file, by name."""
    head = "# Written by: python -m deploy.cluster\n"
    return {
        "rules.yaml": head + yaml.safe_dump(rules(), sort_keys=False, width=1000),
        "dashboards.yaml": head + yaml.safe_dump_all(dashboards(), sort_keys=False, width=1000),
    }


if __name__ == "__main__":
    for name, content in files().items():
        (FOLDER / name).write_text(content, encoding="utf-8")
