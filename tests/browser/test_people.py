"""The console behind an authenticating proxy, below a path: who sees and may do what."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from sandbox.servers import free_port
from tests.browser.session import Session
from tests.support.api_server import served, settings, tenant_at
from tests.support.nginx import authenticating

pytestmark = pytest.mark.xdist_group("browser-2")

PEOPLE = {
    "ops_auth_header": "X-Forwarded-Email",
    "ops_auth_groups_header": "X-Forwarded-Groups",
    "ops_auth_proxies": "127.0.0.1",
    "ops_auth_scopes": "group:sre=ops:write,user:ben@example.com=ops:read",
}


@pytest.fixture
def address(empty_redis_url: str, tmp_path: Path) -> Iterator[str]:
    """A service below /darkroom behind a proxy that knows people by a cookie."""
    port, inner = free_port(), free_port()
    url = f"http://127.0.0.1:{port}/darkroom"
    chosen = settings(empty_redis_url, public_url=url, **PEOPLE)
    with (
        served(chosen, inner),
        tenant_at(f"http://127.0.0.1:{inner}", empty_redis_url),
        authenticating(tmp_path / "nginx", port, f"127.0.0.1:{inner}"),
    ):
        yield url


def test_two_people_see_what_they_may_do(address: str, browser: Browser) -> None:
    for person, may_write in (("ann", True), ("ben", False)):
        with browser.new_context() as context:
            context.add_cookies([{"name": "person", "value": person, "url": address}])
            visit = Session.begin(context, address)
            page = visit.open("/ops")
            expect(page.get_by_text(f"{person}@example.com")).to_be_visible()
            expect(page.get_by_role("heading", name="The last hours")).to_be_visible()
            expect(page.get_by_text("Read only")).to_have_count(0 if may_write else 1)
            visit.check()


def test_whoever_the_proxy_does_not_name_is_asked_for_a_key(address: str, browser: Browser) -> None:
    with browser.new_context() as context:
        visit = Session.begin(context, address)
        visit.expected = {401}
        page = visit.open("/ops")
        expect(page.get_by_text("This page needs an operator key")).to_be_visible()
        # the playground needs no key to show its form
        page.goto(f"{address}/")
        expect(page.get_by_label("Prompt")).to_be_visible()
        visit.check()
