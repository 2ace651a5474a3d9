"""A client that creates one job at a time and records when."""

import http.client
import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_NUMBERS = itertools.count(time.time_ns())
#: The request of every client, unless a row has another.
INPUT: Mapping[str, Any] = {
    "prompt": "A red bicycle leaning against a white wall, product photograph, soft light"
    " from the left, three quarter view, no text",
    "aspect_ratio": "16:9",
    "megapixels": "0.25",
    "seed": 7,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """An accepted job: the response, and when it was requested and accepted, in seconds."""

    body: Mapping[str, Any]
    asked_at: float
    accepted_at: float


class Client:
    """One connection to an API, with the client's key."""

    def __init__(self, url: str, path: str, key: str) -> None:
        """Connect to `url`; create jobs by POST to `path`."""
        self._http = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self._path = path
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def ask(self, *, wait_seconds: int = 0, **changes: object) -> Asked:
        """Create a job; `wait_seconds` asks the API to wait for its image."""
        body = json.dumps({"input": {**INPUT, **changes}}).encode()
        headers = {**self._headers, "Idempotency-Key": str(next(_NUMBERS))}
        if wait_seconds:
            headers["Prefer"] = f"wait={wait_seconds}"
        began = time.time()
        self._http.request("POST", self._path, body, headers)
        return Asked(self._answer(), began, time.time())

    def read(self, job_id: str) -> Mapping[str, Any]:
        """Read a job."""
        self._http.request("GET", f"{self._path}/{job_id}", headers=self._headers)
        return self._answer()

    def reopen(self) -> None:
        """Open a new connection: servers close those that were idle for some seconds."""
        self._http.close()
        self._http.connect()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _answer(self) -> Mapping[str, Any]:
        answer = self._http.getresponse()
        told: dict[str, Any] = json.loads(answer.read())
        if answer.status >= 300:
            raise RuntimeError(f"{self._path} answered {answer.status}: {told}")
        return told


def pace(count: int, seconds: float) -> "itertools.takewhile[int]":
    """Count at a steady rate, sleeping until each number is due."""
    began = time.perf_counter()

    def due(number: int) -> bool:
        time.sleep(max(0.0, began + number * seconds - time.perf_counter()))
        return number < count

    return itertools.takewhile(due, itertools.count())
