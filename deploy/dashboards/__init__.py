"""The Grafana dashboards: `python -m deploy.dashboards` writes them."""

from pathlib import Path

import orjson

from deploy.dashboards.overview import OVERVIEW
from deploy.dashboards.provider import PROVIDER
from deploy.dashboards.tenants import TENANTS
from deploy.dashboards.webhooks import WEBHOOKS
from deploy.dashboards.workers import WORKERS
from deploy.panels import Dashboard

FOLDER = Path(__file__).parents[1] / "grafana" / "dashboards"
ALL = {
    "overview": OVERVIEW,
    "provider": PROVIDER,
    "tenants": TENANTS,
    "webhooks": WEBHOOKS,
    "workers": WORKERS,
}


def text(dashboard: Dashboard) -> bytes:
    """Return the file of a dashboard."""
    return orjson.dumps(dashboard.json(), option=orjson.OPT_INDENT_2) + b"\n"
