"""The playground on a first visit: without a key, or by a link that carries one."""

import pytest
from playwright.sync_api import expect

from tests.browser.playground_page import Bench
from tests.browser.session import Session
from tests.e2e.up import Up
from tests.integration.sandbox_client import Client

pytestmark = pytest.mark.xdist_group("browser")

KEPT = "sessionStorage.getItem('darkroom.key')"


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_without_a_key_there_is_an_example_and_a_form(
    visit: Session, width: int, height: int
) -> None:
    visit.page.set_viewport_size({"width": width, "height": height})
    page = visit.open("/")
    expect(page.get_by_text("Try it here, then copy the code")).to_be_visible()
    bench = Bench(visit)
    expect(bench.prompt).not_to_have_value("")
    expect(bench.output).to_contain_text(bench.prompt.input_value())
    visit.wait_for("document.querySelector('.example img')?.naturalWidth > 0")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    visit.check_access()


def test_the_key_is_asked_for_at_run_and_the_request_goes_on(
    visit: Session, key: str, provider: Client
) -> None:
    visit.expected = {401}
    page = visit.open("/")
    bench = Bench(visit)
    page.get_by_role("radio", name="2:3").check(force=True)
    bench.run("Written before there was a key")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("API key").fill("not a key")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("Invalid key")
    dialog.get_by_label("API key").fill("dk_nobody_has")
    expect(dialog.get_by_role("alert")).to_have_count(0)
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_be_in_viewport()
    visit.check_access()
    dialog.get_by_label("API key").fill(key)
    page.keyboard.press("Enter")

    bench.wait_for("Succeeded")
    job = bench.job()["input"]
    assert (job["prompt"], job["aspect_ratio"]) == ("Written before there was a key", "2:3")
    assert page.evaluate("localStorage.length") == 0
    page.reload()
    expect(bench.gallery).to_be_visible()


def test_whoever_gives_no_key_keeps_what_was_written(visit: Session) -> None:
    page = visit.open("/")
    bench = Bench(visit)
    bench.prompt.fill("Not yet")
    page.get_by_role("button", name="Estimate").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(bench.prompt).to_have_value("Not yet")


def test_a_link_carries_a_key_that_no_server_sees(
    visit: Session, key: str, provider: Client
) -> None:
    asked: list[str] = []
    visit.page.on("request", lambda request: asked.extend((request.url, request.post_data or "")))
    page = visit.open(f"/#prompt=A+pier&key={key}&seed=7")
    bench = Bench(visit)
    expect(bench.gallery).to_be_visible()
    expect(bench.prompt).to_have_value("A pier")
    expect(page.get_by_label("Seed", exact=True)).to_have_value("7")
    assert page.url == f"{visit.address}/#prompt=A+pier&seed=7"
    assert page.evaluate(KEPT) == key
    assert page.evaluate("sessionStorage.length") == 1
    page.get_by_role("button", name="Run").click()
    bench.wait_for("Succeeded")
    # the headers alone have it
    assert not [one for one in asked if key in one]


def test_the_key_has_left_the_address_before_anything_is_fetched(visit: Session, key: str) -> None:
    page = visit.page
    page.route(
        "**/*",
        lambda route: (
            route.continue_()
            if "_init" in route.request.url or route.request.is_navigation_request()
            else route.abort()
        ),
    )
    page.goto(f"{visit.address}/#key={key}", wait_until="commit")
    page.wait_for_url(f"{visit.address}/")
    visit.faults[:] = [one for one in visit.faults if "ERR_FAILED" not in one]


def test_a_link_with_a_key_works_in_a_page_that_is_open(visit: Session, key: str) -> None:
    page = visit.open("/")
    bench = Bench(visit)
    expect(bench.prompt).to_be_visible()
    page.evaluate("(hash) => { location.hash = hash }", f"#key={key}&prompt=Pasted")
    expect(bench.gallery).to_be_visible()
    expect(bench.prompt).to_have_value("Pasted")
    assert page.url == f"{visit.address}/#prompt=Pasted"


@pytest.mark.parametrize("value", ["", "dk_", "Hunter2", "%E0%A4%A", "dk_a_b%20c"])
def test_a_key_that_is_none_is_ignored_with_a_message(visit: Session, value: str) -> None:
    page = visit.open(f"/#key={value}&prompt=Here")
    expect(page.get_by_text("The key in the link was ignored")).to_be_visible()
    expect(Bench(visit).prompt).to_have_value("Here")
    assert page.url == f"{visit.address}/#prompt=Here"
    assert page.evaluate("sessionStorage.length") == 0
    visit.check_access()


@pytest.mark.parametrize(("path", "kept"), [("/docs", "key"), ("/ops", "ops_key")])
def test_every_page_takes_a_key_out_of_its_address(
    visit: Session, stack: Up, path: str, kept: str
) -> None:
    key = stack.state["api_key" if kept == "key" else "ops_key"]
    page = visit.open(f"{path}#key={key}")
    expect(page.get_by_role("heading", level=1).first).to_be_attached()
    expect(page.get_by_role("banner").get_by_text(key[:9])).to_be_visible()
    assert key not in page.url
    assert page.evaluate(f"sessionStorage.getItem('darkroom.{kept}')") == key


def test_a_key_that_is_none_leaves_the_one_there_is(visit: Session, key: str) -> None:
    bench = Bench.open(visit, key, "#key=nonsense")
    expect(bench.page.get_by_text("The key in the link was ignored")).to_be_visible()
    expect(bench.gallery).to_be_visible()
    assert bench.page.evaluate(KEPT) == key
