"""A whole service, as `darkroom up` runs it, for the clients that others wrote."""

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from sandbox.wait import wait_until
from tests.e2e.up import Up, up
from tests.integration.sandbox_client import Client, steered
from tests.support.webhook_receiver import WebhookReceiver, receiver


@dataclass(frozen=True)
class Place:
    """Where the service is and what opens it; the provider behind it can be steered."""

    api: str
    key: str
    provider: Client

    def wait_for_calls(self, count: int) -> None:
        """Wait until the provider was asked for so many images."""
        wait_until(lambda: len(self.asked()) >= count, f"{count} calls of the provider")

    def asked(self) -> list[str]:
        """Return the prompts that the provider was asked for."""
        calls = self.provider.calls()
        return [call["prompt"] for call in calls if call["kind"] == "generate"]

    def is_idle(self) -> bool:
        """Return whether no job is queued or running."""
        headers = {"Authorization": f"Bearer {self.key}"}
        pages = [
            httpx.get(f"{self.api}/v1/jobs", params={"status": status}, headers=headers).json()
            for status in ("queued", "running")
        ]
        return not any(page["data"] for page in pages)

    def paid(self) -> int:
        return sum(call["paid"] for call in self.provider.calls())


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    told = {"DARKROOM_OPENAI_MODELS": "dall-e-3=black-forest-labs/flux-2-klein-4b"}
    data = tmp_path_factory.mktemp("dialects") / "data"
    with up(data, "--no-demo", "--concurrency", "16", environment=told) as running:
        yield running


@pytest.fixture
def place(stack: Up) -> Iterator[Place]:
    with steered(stack.state["provider_url"]) as provider:
        here = Place(stack.state["api"], stack.state["api_key"], provider)
        # the calls of jobs that an earlier test did not wait for would be this one's
        wait_until(here.is_idle, "the jobs of earlier tests to end")
        provider.delete_calls()
        yield here


@pytest.fixture
def webhook_server() -> Iterator[WebhookReceiver]:
    with receiver() as running:
        yield running
