"""The dashboards' files, as far as they can be judged without Grafana."""

import json
import re
from typing import Any

import pytest

from deploy import dashboards
from deploy.panels import Panel
from tests.deploy.compose import ROOT, services
from tests.deploy.test_rules import rules

PANELS = [
    pytest.param(panel, id=f"{name}: {panel.title}")
    for name, dashboard in dashboards.ALL.items()
    for panel in dashboard.panels
]


def _files() -> dict[str, Any]:
    return {path.stem: json.loads(path.read_bytes()) for path in dashboards.FOLDER.glob("*.json")}


def test_the_files_are_what_the_program_would_write() -> None:
    written = {path.stem: path.read_bytes() for path in dashboards.FOLDER.glob("*.json")}

    assert written == {name: dashboards.text(one) for name, one in dashboards.ALL.items()}


def test_every_dashboard_keeps_its_address_and_panels_do_not_overlap() -> None:
    for name, dashboard in _files().items():
        assert dashboard["uid"] == f"darkroom-{name}"
        places = [
            (x, y)
            for panel in dashboard["panels"]
            for at in [panel["gridPos"]]
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        ]
        assert len(places) == len(set(places))
        assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


@pytest.mark.parametrize("panel", PANELS)
def test_every_panel_is_described_and_its_series_are_named(panel: Panel) -> None:
    assert panel.description.endswith(".")
    assert panel.queries
    assert all(query.legend for query in panel.queries) or panel.kind == "table"
    assert not any("irate(" in query.expr for query in panel.queries)


def test_whatever_is_recorded_for_the_dashboards_is_recorded() -> None:
    asked = {
        name
        for dashboard in dashboards.ALL.values()
        for panel in dashboard.panels
        for query in panel.queries
        for name in re.findall(r"darkroom:[a-z_]+:\w+", query.expr)
    }

    assert asked <= {rule["record"] for rule in rules() if "record" in rule}


def test_grafana_is_given_the_files_where_it_looks_for_them() -> None:
    mounted = {
        target: source
        for source, target, *_ in (one.split(":") for one in services()["grafana"]["volumes"])
    }
    home = services()["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]

    folder = ROOT / mounted["/etc/grafana/dashboards"]
    assert folder.resolve() == dashboards.FOLDER
    assert (folder / home.rpartition("/")[2]).exists()
    assert (ROOT / mounted["/etc/grafana/provisioning"] / "dashboards").is_dir()
