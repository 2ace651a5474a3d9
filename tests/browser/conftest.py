"""A whole service and a real browser, one of each for all tests here.

They are the folder's, not the session's: while Playwright runs, no other test of the same process
could start an event loop.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ViewportSize, expect, sync_playwright

from tests.browser.chromium import FLAGS, chromium
from tests.browser.session import Session
from tests.e2e.up import Up, up
from tests.integration.sandbox_client import Client, steered

#: How long anything may take to be seen, in milliseconds.
PATIENCE_MS = 30_000


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    data = tmp_path_factory.mktemp("browser") / "data"
    with up(data, "--no-demo", "--concurrency", "16") as running:
        yield running


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        engine = playwright.chromium
        with engine.launch(executable_path=chromium(), args=list(FLAGS)) as browser:
            yield browser


@pytest.fixture
def provider(stack: Up) -> Iterator[Client]:
    """Return the provider behind the service: it makes images at once, and does as it is told."""
    with steered(stack.state["provider_url"]) as provider:
        yield provider


@pytest.fixture
def key(stack: Up) -> str:
    return str(stack.state["api_key"])


@pytest.fixture
def visit(stack: Up, browser: Browser) -> Iterator[Session]:
    """Return a browser without a past, and hold at its end what must hold of every visit."""
    size: ViewportSize = {"width": 1280, "height": 900}
    with browser.new_context(viewport=size, reduced_motion="reduce") as context:
        context.set_default_timeout(PATIENCE_MS)
        visit = Session.begin(context, stack.state["api"])
        yield visit
        visit.check()
