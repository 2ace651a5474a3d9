"""The API reference: every operation is there, and its examples run."""

import json
import re

import httpx
import pytest
from playwright.sync_api import Locator, expect

from tests.browser.session import Session
from tests.e2e.up import Up
from tests.integration.sandbox_client import Client

pytestmark = pytest.mark.xdist_group("browser-2")


def opened(visit: Session, operation: str) -> Locator:
    """Open an operation by its id."""
    entry = visit.page.locator(f"#{operation}")
    entry.locator("summary").first.click()
    return entry


def ran(entry: Locator) -> Locator:
    """Run what was opened; return its answer."""
    entry.get_by_role("button", name="Run it").click()
    expect(entry.locator(".attempt .badge")).to_be_visible()
    return entry.get_by_role("region", name="the answer")


def test_every_operation_of_the_document_is_there_and_can_be_found(
    visit: Session, stack: Up
) -> None:
    document = httpx.get(f"{stack.state['api']}/openapi.json").json()
    page = visit.open("/docs")
    entries = page.locator(".operation")
    expect(entries).to_have_count(sum(len(item) for item in document["paths"].values()))
    page.get_by_role("searchbox", name="Find an operation").fill("reproduce")
    expect(page.locator(".operation:visible")).to_have_count(1)


def test_an_example_runs_and_its_job_is_known_to_the_next(
    visit: Session, key: str, provider: Client
) -> None:
    visit.open("/docs", key)
    entry = opened(visit, "create_job")
    expect(entry).to_contain_text("jobs:write")
    told = json.loads(ran(entry).inner_text())
    assert told["status"] == "queued"
    visit.check_access()

    image = opened(visit, "get_image")

    expect(image.get_by_role("textbox", name="job_id")).to_have_value(told["id"])
    events = opened(visit, "get_events")
    events.get_by_role("button", name="Run it").click()
    expect(events.get_by_role("region", name="the events")).to_contain_text("succeeded")
    image.get_by_role("button", name="Run it").click()
    expect(image.get_by_role("img")).to_be_visible()


def test_a_refusal_is_shown_as_it_comes(visit: Session) -> None:
    visit.expected = {401}
    visit.open("/docs")
    answer = ran(opened(visit, "get_jobs"))
    expect(answer).to_contain_text("unauthenticated")


def test_what_operators_may_is_asked_with_their_key(visit: Session, stack: Up) -> None:
    page = visit.open("/docs#get_queues")
    page.get_by_role("button", name="Enter an operator key").click()
    page.get_by_label("API key").fill(stack.state["ops_key"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    entry = page.locator("#get_queues")
    expect(entry).to_have_attribute("open", "")
    expect(ran(entry)).to_contain_text("generate")
    expect(entry.get_by_role("region", name="curl line")).to_contain_text("DARKROOM_OPS_KEY")


def test_the_reference_fits_a_phone(visit: Session) -> None:
    visit.page.set_viewport_size({"width": 360, "height": 740})
    page = visit.open("/docs#create_job")
    expect(page.get_by_role("heading", name=re.compile("Body"))).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    visit.check_access()
