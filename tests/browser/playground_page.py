"""The playground as a person uses it: what there is to fill in, to press and to read."""

import re
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.browser.session import Session

PROMPT = "A lighthouse at dawn"


@dataclass(frozen=True)
class Bench:
    """The playground, open."""

    visit: Session

    @classmethod
    def open(cls, visit: Session, key: str, link: str = "") -> "Bench":
        visit.open(f"/{link}", key)
        bench = cls(visit)
        expect(bench.prompt).to_be_visible()
        return bench

    @property
    def page(self) -> Page:
        return self.visit.page

    @property
    def prompt(self) -> Locator:
        return self.page.get_by_label("Prompt", exact=True)

    @property
    def output(self) -> Locator:
        return self.page.get_by_role("region", name="Output")

    @property
    def gallery(self) -> Locator:
        return self.page.get_by_role("region", name="Your images")

    @property
    def tiles(self) -> Locator:
        return self.gallery.locator(".tile")

    def run(self, prompt: str = PROMPT) -> None:
        self.prompt.fill(prompt)
        self.page.get_by_role("button", name="Run").click()

    def wait_for(self, words: str) -> None:
        """Wait until the job that is shown is so."""
        expect(self.output.locator(".state .badge")).to_have_text(words)

    def job(self) -> dict[str, Any]:
        """Read the job that is shown, as its JSON tab has it."""
        self.output.get_by_role("tab", name="JSON").click()
        text = self.output.get_by_role("region", name="the job as JSON").inner_text()
        self.output.get_by_role("tab", name="Preview").click()
        job: dict[str, Any] = self.page.evaluate("JSON.parse", text)
        return job

    def wait_for_image(self) -> None:
        """Wait until the image itself is on the screen."""
        expect(self.output.locator(".figure img")).to_be_visible()
        self.visit.wait_for("document.querySelector('.output .figure img')?.naturalWidth > 0")

    def tile(self, prompt: str) -> Locator:
        return self.gallery.get_by_role("button", name=re.compile(re.escape(prompt)))
