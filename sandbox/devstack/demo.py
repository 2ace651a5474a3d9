"""Generate one image end to end like a client: plain HTTP, without our client library."""

import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from shared.errors import DarkroomError

INPUT = {
    "prompt": "A lighthouse at dawn, seen through the red light of a darkroom",
    "aspect_ratio": "16:9",
    "output_format": "webp",
}
#: The time limit of a response, and of the silence between two events, in seconds.
PATIENCE_SECONDS = 90.0
_FINAL = ("succeeded", "failed", "canceled")
_SUCCESS = range(200, 300)


class DemoFailed(DarkroomError):
    """No image was generated; the text says where it stopped."""


@dataclass(frozen=True)
class Demo:
    """Generate one image with the API at `api`; `print_line` prints each step."""

    api: str
    key: str
    images: Path
    print_line: Callable[[str], None]
    started: float = field(default_factory=time.monotonic)

    def run(self) -> Path:
        """Create, follow, download and save; return the file. Raise DemoFailed."""
        try:
            return self._make()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise DemoFailed(f"The connection to {self.api} broke: {error}.") from error
        except (LookupError, TypeError) as error:
            raise DemoFailed(
                f"A response of {self.api} has an unexpected form: {error!r}."
            ) from error

    def _make(self) -> Path:
        self._show(f"asked for “{INPUT['prompt']}”")
        accepted = self._json("POST", "/v1/jobs", {"input": INPUT})
        self._show(f"accepted as {accepted['id']}")
        for change in self._changes(accepted["id"]):
            self._show(_step(change))
        job = self._json("GET", f"/v1/jobs/{accepted['id']}")
        if job["status"] != "succeeded":
            reason = (job.get("error") or {}).get("message", "its events ended early")
            raise DemoFailed(f"The job {job['id']} is {job['status']}: {reason}")
        return self._save(job)

    def _save(self, job: Mapping[str, Any]) -> Path:
        data, kind = self._fetch(f"/v1/jobs/{job['id']}/image")
        path = self.images / f"{job['id']}.{kind.partition('/')[2]}"
        path.write_bytes(data)
        image = job["image"]
        self._show(
            f"saved {path}: {kind}, {image['width']} × {image['height']}, "  # noqa: RUF001  a size
            f"seed {job['input']['seed']}, {len(data):,} bytes"
        )
        return path

    def _changes(self, job_id: str) -> Iterator[Mapping[str, Any]]:
        """Yield the job after each change, until it is final."""
        with self._open("GET", f"/v1/jobs/{job_id}/events") as answer:
            for line in answer:
                if line.startswith(b"data:"):
                    change = json.loads(line.removeprefix(b"data:"))
                    yield change.get("data", change)

    def _json(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        with self._open(method, path, body) as answer:
            content = json.loads(answer.read())
        if not isinstance(content, dict):
            raise DemoFailed(f"{method} {path} was answered with something other than an object.")
        return content

    def _fetch(self, path: str) -> tuple[bytes, str]:
        with self._open("GET", path) as answer:
            return answer.read(), answer.headers.get_content_type()

    def _open(self, method: str, path: str, body: object = None) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(urlsplit(self.api).netloc, timeout=PATIENCE_SECONDS)
        headers = {"Authorization": f"Bearer {self.key}", "Connection": "close"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        if answer.status not in _SUCCESS:
            text = answer.read().decode(errors="replace")
            raise DemoFailed(f"{method} {path} was answered with {answer.status}: {text}")
        return answer

    def _show(self, what: str) -> None:
        self.print_line(f"{time.monotonic() - self.started:8.3f} s  {what}")


def _step(job: Mapping[str, Any]) -> str:
    status = str(job["status"])
    details = () if status in _FINAL else (job.get("step"), job.get("waiting_on"))
    return ": ".join([status, *(str(detail) for detail in details if detail)])
