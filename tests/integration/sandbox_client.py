"""A client of the sandbox provider for its own tests: it calls, and it steers."""

import contextlib
from collections.abc import Iterator
from typing import Any

import httpx

from tests.support.tls import TLS

PROMPT_OBJECT: dict[str, Any] = {
    "prompt": "A lighthouse at dawn",
    "aspect_ratio": "16:9",
    "megapixels": "0.25",
    "seed": 7,
}


class Client:
    """Calls the provider as the code under test does, and steers it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, headers={"API-KEY": "k"}, timeout=10, verify=TLS)

    def behave(self, *script: object, default: object = "ok", latency_seconds: float = 0) -> None:
        body = {"latency_seconds": latency_seconds, "script": script, "default": default}
        self.http.put("/_sandbox/behavior", json=body).raise_for_status()

    def limit(self, body: dict[str, object]) -> None:
        """Add a behaviour that is limited by its `key` or `model`."""
        self.http.put("/_sandbox/behavior", json=body).raise_for_status()

    def images(self, **state: object) -> None:
        """Choose how the image host fares; without any, well."""
        self.http.put("/_sandbox/images", json=state).raise_for_status()

    def models(self, **changes: object) -> None:
        """Set how the offered models differ from the catalog; without any, not at all."""
        self.http.put("/_sandbox/models", json=changes).raise_for_status()

    def generate(self, *, is_async: bool = False, **fields: object) -> httpx.Response:
        body: dict[str, object] = {
            "type": "IMAGE_GENERATOR",
            "model": "black-forest-labs/flux-2-klein-9b",
            "promptObject": PROMPT_OBJECT | fields,
        }
        return self.http.post("/api/features", json=body | ({"async": True} if is_async else {}))

    def record(self, *, is_async: bool = False, **fields: object) -> dict[str, Any]:
        answer = self.generate(is_async=is_async, **fields)
        assert answer.status_code == 200
        record: dict[str, Any] = answer.json()["aiRecord"]
        return record

    def look_up(self, record_id: str) -> dict[str, Any]:
        answer = self.http.get(f"/api/results/{record_id}")
        assert answer.status_code == 200
        record: dict[str, Any] = answer.json()["aiRecord"]
        return record

    def fetch(self, **fields: object) -> httpx.Response:
        return self.http.get(self.record(is_async=False, **fields)["temporaryUrl"])

    def calls(self) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = self.http.get("/_sandbox/calls").json()["calls"]
        return calls

    def delete_calls(self) -> None:
        self.http.delete("/_sandbox/calls").raise_for_status()

    def good_keys(self, keys: list[str] | None) -> None:
        """Take these keys only, or any."""
        self.http.put("/_sandbox/keys", json={"good": keys}).raise_for_status()

    def outcomes(self) -> list[tuple[str, str, bool]]:
        return [(call["kind"], call["outcome"], call["paid"]) for call in self.calls()]


@contextlib.contextmanager
def steered(url: str) -> Iterator[Client]:
    """Return a client of a provider that has neither a past nor faults to come."""
    client = Client(url)
    client.http.delete("/_sandbox/behavior").raise_for_status()
    client.behave()
    client.images()
    client.models()
    client.good_keys(None)
    client.delete_calls()
    yield client
    client.http.close()
