"""The console as an operator uses it, and what the stack behind it is told by others."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from playwright.sync_api import Locator, Page, expect

from sandbox.wait import wait_until
from tests.browser.session import Session
from tests.e2e.up import Up
from tests.support.api_server import client_of

KEPT_AS = "darkroom.ops_key"
PROMPT = "A fox crossing a frozen river"


@dataclass(frozen=True)
class ConsolePage:
    """The console, open, with an operator's key."""

    visit: Session
    operator: httpx.Client

    @classmethod
    @contextmanager
    def open(cls, visit: Session, stack: Up, place: str = "") -> "Iterator[ConsolePage]":
        with client_of(stack.state["api"], stack.state["ops_key"]) as operator:
            console_page = cls(visit, operator)
            visit.open(f"/ops{place}", stack.state["ops_key"], named=KEPT_AS)
            yield console_page

    @property
    def page(self) -> Page:
        return self.visit.page

    @property
    def dialog(self) -> Locator:
        return self.page.get_by_role("dialog")

    @property
    def rows(self) -> Locator:
        return self.page.locator("main tbody tr")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("main").get_by_role("button", name=name, exact=True)

    def answer(self, name: str) -> None:
        """Press a button of the dialog that is open."""
        self.dialog.get_by_role("button", name=name, exact=True).click()

    def go(self, place: str, heading: str) -> None:
        self.page.goto(f"{self.visit.address}/ops{place}")
        expect(self.page.get_by_role("heading", level=1, name=heading)).to_be_attached()

    def read(self, path: str) -> dict[str, Any]:
        return dict(self.operator.get(f"/ops/v1/{path}").raise_for_status().json())

    def row(self, words: str) -> Locator:
        return self.rows.filter(has_text=words)

    def status(self, words: str) -> None:
        """Wait until the job that is shown is so."""
        expect(self.page.get_by_role("heading", level=1).locator(".badge")).to_have_text(words)


@contextmanager
def a_tenant(stack: Up) -> Iterator[tuple[str, httpx.Client]]:
    """Make a tenant that no other test uses; return its name and a client with its key."""
    name = f"tenant-{uuid.uuid4().hex[:8]}"
    with client_of(stack.state["api"], stack.state["ops_key"]) as operator:
        operator.post("/ops/v1/tenants", json={"name": name}).raise_for_status()
        made = operator.post(f"/ops/v1/tenants/{name}/keys", json={}).raise_for_status().json()
    with client_of(stack.state["api"], made["key"]) as client:
        yield name, client


def ask(client: httpx.Client, **body: Any) -> str:
    """Ask for a small image; return the job's id."""
    asked = {"input": {"prompt": PROMPT, "megapixels": "0.25"}, **body}
    answer = client.post("/v1/jobs", json=asked).raise_for_status()
    return str(answer.json()["id"])


def wait_for_deleted_image(client: httpx.Client, job_id: str) -> None:
    """Wait until the image of a job is deleted by its retention."""

    def deleted() -> bool:
        image = client.get(f"/v1/jobs/{job_id}").json()["image"]
        return bool(image and image["deleted_at"])

    wait_until(deleted, f"the image of {job_id} to be deleted")


def wait_for(client: httpx.Client, job_id: str, status: str) -> None:
    """Wait until a job has a status."""

    def seen() -> bool:
        return bool(client.get(f"/v1/jobs/{job_id}").json()["status"] == status)

    wait_until(seen, f"{job_id} to be {status}")
