"""Nothing is cut off: every way and button is seen whole, on a desk and on a phone."""

import uuid

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.console_page import ConsolePage, ask, wait_for
from tests.browser.session import Session
from tests.e2e.up import Up
from tests.integration.sandbox_client import Client
from tests.support.api_server import client_of

pytestmark = pytest.mark.xdist_group("browser-2")

SIZES = [(1280, 900), (820, 1000), (390, 844)]
#: What can be pressed or written in and is not whole inside the card, table or page that it is in.
_CUT_OFF = """() => [...document.querySelectorAll("button, a, input, select, textarea")]
  .filter((one) => one.checkVisibility({ contentVisibilityAuto: true }) && !one.closest(".skip"))
  .filter((one) => {
    const frame = one.closest(".table-frame, .card, .filter, nav, .head") ?? document.body;
    const [inner, outer] = [one, frame].map((node) => node.getBoundingClientRect());
    return inner.left < outer.left - 1 || inner.right > Math.min(outer.right, innerWidth) + 1;
  })
  .map((one) => one.textContent || one.name || one.type)"""


def cut_off(page: Page) -> list[str]:
    found: list[str] = page.evaluate(_CUT_OFF)
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        found.append("the page scrolls sideways")
    return found


@pytest.fixture(scope="module")
def crowded(stack: Up) -> tuple[str, str]:
    """Make a tenant whose every text is as long as it may be; return its name and that of a job."""
    name = f"{uuid.uuid4().hex}-{'n' * 31}"
    with client_of(stack.state["api"], stack.state["ops_key"]) as operator:
        operator.post("/ops/v1/tenants", json={"name": name}).raise_for_status()
        keys = f"/ops/v1/tenants/{name}/keys"
        scopes = ["jobs:read", "jobs:write", "ops:read", "ops:write"]
        operator.post(keys, json={"label": "l" * 100, "scopes": scopes}).raise_for_status()
        made = operator.post(keys, json={"label": "a label"}).raise_for_status().json()
    with client_of(stack.state["api"], made["key"]) as client:
        return name, long_job(client)


def long_job(client: httpx.Client) -> str:
    job_id = ask(
        client,
        input={"prompt": "p" * 5000, "megapixels": "0.25"},
        tags=["t" * 60, "u" * 60],
        metadata={"k" * 40: "v" * 400},
        webhook={"url": f"https://{'h' * 60}.example.com/{'w' * 400}", "events": ["job.failed"]},
    )
    wait_for(client, job_id, "succeeded")
    url = {"url": f"https://{'e' * 60}.example.com/{'x' * 400}"}
    client.post("/v1/webhooks/endpoints", json=url).raise_for_status()
    return job_id


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_every_view_of_the_console_is_whole(
    visit: Session,
    stack: Up,
    provider: Client,
    crowded: tuple[str, str],
    width: int,
    height: int,
) -> None:
    name, job_id = crowded
    views = {
        "now": "Now",
        "jobs": "Jobs",
        f"jobs/{job_id}": job_id,
        "deliveries": "Deliveries",
        "endpoints": "Endpoints",
        "tenants": "Tenants",
        f"tenants/{name}": name,
        "usage?group_by=day,month,tenant,model,key,tag,status": "Usage",
        "workers": "Workers",
        "audit": "Audit",
    }
    visit.page.set_viewport_size({"width": width, "height": height})
    with ConsolePage.open(visit, stack) as console_page:
        for place, heading in views.items():
            console_page.go(f"#/{place}", heading)
            more = console_page.page.get_by_text("More filters")
            if more.count():
                more.click()
            assert cut_off(console_page.page) == [], place


def test_the_buttons_of_a_key_are_seen_at_once(
    visit: Session, stack: Up, crowded: tuple[str, str]
) -> None:
    name, _ = crowded
    with ConsolePage.open(visit, stack, f"#/tenants/{name}") as console_page:
        for words in ("Rotate", "Revoke", "New key…"):
            expect(console_page.button(words).first).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("path", ["/", "/docs", "/ops"])
@pytest.mark.parametrize("named", [None, "darkroom.key", "darkroom.ops_key"])
def test_the_ways_to_all_pages_are_whole_on_a_phone(
    visit: Session, stack: Up, path: str, named: str | None
) -> None:
    key = stack.state["ops_key" if named == "darkroom.ops_key" else "api_key"]
    page = visit.open(path, key if named else None, named=named or "")
    expect(page.get_by_role("heading", level=1)).to_be_attached()
    for width in (390, 320):
        page.set_viewport_size({"width": width, "height": 844})
        head = page.get_by_role("banner")
        for words in ("Playground", "API", "Operations"):
            expect(head.get_by_role("link", name=words)).to_be_in_viewport(ratio=1)
        expect(head.get_by_role("button", name="key")).to_be_in_viewport(ratio=1)
        assert cut_off(page) == []
