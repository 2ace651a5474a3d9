"""The main states of the pages, as screenshots, taken on demand and reviewed by people."""

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.playground_page import Bench
from tests.browser.screenshots import shoot
from tests.browser.session import Session
from tests.browser.test_playground import paused
from tests.e2e.up import Up
from tests.integration.sandbox_client import Client
from tests.support.tls import TLS

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.screenshots]

LINK = "#prompt=A+lighthouse+at+dawn,+seen+through+the+red+light+of+a+darkroom&aspect_ratio=3:2"
PROMPTS = (
    "A pier in the rain, long exposure",
    "Dunes before a storm",
    "An empty highway at night",
    "A harbour in winter fog",
    "Tea fields after sunrise",
    "A glacier from above",
    "Rooftops at the blue hour",
)


def test_playground(visit: Session, key: str, provider: Client) -> None:
    bench = Bench.open(visit, key, f"{LINK}&seed=11&tags=catalogue")
    bench.page.get_by_role("button", name="Run").click()
    bench.wait_for("Succeeded")
    bench.wait_for_image()
    shoot(bench.page, "playground")


def test_variations_in_the_dark(visit: Session, key: str, provider: Client) -> None:
    visit.page.emulate_media(color_scheme="dark")
    bench = Bench.open(visit, key, f"{LINK}&seed=21&variations=6")
    bench.page.get_by_role("button", name="Run").click()
    expect(bench.output.locator(".strip img")).to_have_count(6)
    bench.wait_for_image()
    shoot(bench.page, "playground-dark")


def test_waiting(visit: Session, key: str, provider: Client, stack: Up) -> None:
    bench = Bench.open(visit, key, LINK)
    with paused(stack):
        bench.page.get_by_role("button", name="Run").click()
        expect(bench.output.locator(".state")).to_contain_text("paused")
        shoot(bench.page, "playground-waiting")
        bench.output.get_by_role("button", name="Cancel").click()
        bench.wait_for("Canceled")


def test_faults(visit: Session, key: str, provider: Client) -> None:
    visit.expected = {422}
    bench = Bench.open(visit, key, "#output_quality=101&seed=-1")
    bench.page.get_by_role("button", name="Run").click()
    expect(bench.prompt).to_be_focused()
    shoot(bench.page, "playground-faults")


def test_code(visit: Session, key: str, provider: Client) -> None:
    visit.page.emulate_media(color_scheme="dark")
    bench = Bench.open(visit, key, f"{LINK}&seed=11")
    bench.page.get_by_role("button", name="Run").click()
    bench.wait_for("Succeeded")
    bench.output.get_by_role("button", name="Code").click()
    bench.page.get_by_role("dialog").get_by_role("tab", name="Python").click()
    shoot(bench.page, "playground-code")


def test_gallery(visit: Session, key: str, provider: Client, stack: Up) -> None:
    head = {"authorization": f"Bearer {key}", "prefer": "wait=30"}
    with httpx.Client(base_url=stack.state["api"], headers=head, timeout=40, verify=TLS) as client:
        for prompt in PROMPTS:
            body = {"input": {"prompt": prompt, "aspect_ratio": "4:5"}, "tags": ["spring"]}
            client.post("/v1/jobs", json=body).raise_for_status()
    bench = Bench.open(visit, key)
    bench.gallery.get_by_label("Tag").fill("spring")
    expect(bench.tiles).to_have_count(len(PROMPTS))
    bench.gallery.scroll_into_view_if_needed()
    bench.page.evaluate("document.querySelector('#gallery-head').scrollIntoView()")
    visit.wait_for("[...document.querySelectorAll('.gallery img')].every((one) => one.complete)")
    shoot(bench.page, "playground-gallery")
    bench.tiles.first.click()
    expect(bench.page.get_by_role("dialog")).to_contain_text("The image is ready")
    shoot(bench.page, "playground-details")


def test_phone(visit: Session, key: str, provider: Client) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 844})
    bench = Bench.open(visit, key, f"{LINK}&seed=11")
    shoot(bench.page, "playground-phone")
    visit.page.emulate_media(color_scheme="dark")
    bench.page.get_by_role("button", name="Run").click()
    bench.wait_for_image()
    expect(bench.output.locator(".figure img")).to_be_in_viewport(ratio=1)
    shoot(bench.page, "playground-phone-dark")


def test_welcome(visit: Session) -> None:
    page = visit.open("/")
    expect(page.get_by_text("Try it here, then copy the code")).to_be_visible()
    shoot(page, "playground-welcome")


def test_reference(visit: Session, key: str, provider: Client) -> None:
    page = visit.open("/docs", key)
    page.locator("#create_job summary").first.click()
    shoot(page, "reference")
    visit.turn("dark")
    page.locator("#create_job").get_by_role("button", name="Run it").click()
    expect(page.get_by_role("region", name="the answer")).to_be_visible()
    shoot(page, "reference-dark")
