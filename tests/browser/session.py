"""One visit to the pages, and what must hold of every one, whatever is tried in it."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, Response

from sandbox.wait import wait_until
from tests.support import node

AXE = node.HOME / "axe"
#: What a reader who cannot see or use a mouse would be stopped by.
_STOPPERS = {"serious", "critical"}
_RUN_AXE = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations.map(({ id, impact, nodes }) => ({
    id, impact, where: nodes.map((one) => `${one.target.join(" ")}: ${one.failureSummary}`),
  }));
}"""
#: What these tests themselves evaluate is of no file; what the pages do always is.
_WATCH = """addEventListener("securitypolicyviolation", (event) => event.sourceFile &&
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));"""
#: Chromium's own words for what `_WATCH` judges, and for answers, which are judged by their status.
_JUDGED_ELSEWHERE = ("This document requires 'TrustedScript'", "Failed to load resource")


@dataclass
class Session:
    """A page in a browser of its own, with everything noted that should not be."""

    page: Page
    address: str
    #: statuses from 400 on that this visit provokes on purpose
    expected: set[int] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    @classmethod
    def begin(cls, context: BrowserContext, address: str) -> "Session":
        visit = cls(context.new_page(), address)
        visit.page.add_init_script(_WATCH)
        visit.page.on("console", visit._heard)
        visit.page.on("pageerror", lambda error: visit.faults.append(f"uncaught: {error}"))
        visit.page.on("request", visit._asked)
        visit.page.on("response", visit._answered)
        return visit

    def open(self, path: str, key: str | None = None, *, named: str = "darkroom.key") -> Page:
        """Go to a page, with a key in the session where one is given."""
        if key:
            write = f"sessionStorage.setItem({named!r}, {key!r})"
            self.page.add_init_script(f"if (location.protocol !== 'about:') {write};")
        self.page.goto(self.address + path)
        return self.page

    def check(self) -> None:
        """Hold what must hold at the end of every visit."""
        assert not self.faults, self.faults

    def check_access(self) -> None:
        """Let axe look at the page as it stands now, in light and in dark."""
        node.install(AXE)
        self.page.evaluate((AXE / "node_modules" / "axe-core" / "axe.min.js").read_text())
        for scheme in ("light", "dark"):
            self.turn(scheme)
            found: list[dict[str, Any]] = self.page.evaluate(_RUN_AXE)
            stopped = [one for one in found if one["impact"] in _STOPPERS]
            assert not stopped, (scheme, stopped)

    def turn(self, scheme: str) -> None:
        """Make the page light or dark, as its system would."""
        self.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        # colours glide to their places: those on the way are nobody's choice
        self.wait_for(f"document.documentElement.dataset.theme === {scheme!r}")
        self.wait_for("document.getAnimations().length === 0")

    def wait_for(self, fact: str) -> None:
        """Wait until an expression is true; Playwright's own way needs `eval` in the page."""
        wait_until(lambda: bool(self.page.evaluate(fact)), fact)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(_JUDGED_ELSEWHERE):
            self.faults.append(f"console: {message.text}")

    def _asked(self, request: Request) -> None:
        where = urlsplit(request.url)
        if where.scheme.startswith("http") and where.netloc != urlsplit(self.address).netloc:
            self.faults.append(f"another host: {request.url}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self.expected:
            self.faults.append(f"{response.status}: {response.url}")
