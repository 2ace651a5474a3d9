"""What holds of every page: how it is sent, and what stands around it."""

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.session import Session
from tests.e2e.up import Up

pytestmark = pytest.mark.xdist_group("browser")

PAGES = ("/", "/docs", "/ops")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_runs_nothing_that_is_not_ours(stack: Up, path: str) -> None:
    answer = httpx.get(stack.state["api"] + path)

    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "<script>" not in answer.text
    assert "style=" not in answer.text


def test_a_wrong_key_is_refused_in_words_and_not_kept(visit: Session) -> None:
    visit.expected = {401}
    page = visit.open("/")
    page.get_by_role("button", name="Enter key").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("API key").fill("not a key")
    dialog.get_by_role("button", name="Use this key").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Invalid key")
    dialog.get_by_label("API key").fill("dk_nobody_0000")
    dialog.get_by_role("button", name="Use this key").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Authentication is required")
    assert page.evaluate("sessionStorage.length + localStorage.length") == 0


def test_the_page_is_dark_where_the_system_is_until_the_reader_turns_it(visit: Session) -> None:
    visit.page.emulate_media(color_scheme="dark")
    page = visit.open("/")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.get_by_role("button", name="Light page").click()
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
