"""A real HTTP server that receives webhooks, records each one, and answers as configured.

`python -m tests.support.webhook_receiver FILE` also appends each to FILE, one per line.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
from standardwebhooks import Webhook

from tests.support.background import in_service


@dataclass(frozen=True)
class Received:
    """One request: its headers in lower case, and its body as it came."""

    path: str
    headers: dict[str, str]
    body: bytes
    #: on the monotonic clock
    at: float = field(default_factory=time.monotonic)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> dict[str, Any]:
        parsed: dict[str, Any] = orjson.loads(self.body)
        return parsed

    def verify(self, secret: str) -> dict[str, Any]:
        """Check the signature as a receiver would, with the public package."""
        told: dict[str, Any] = Webhook(secret).verify(self.body, self.headers)
        return told

    def written(self) -> bytes:
        """Write it as a line of a file; see `read_received`."""
        kept = {"path": self.path, "headers": self.headers, "body": self.body.decode()}
        return orjson.dumps(kept) + b"\n"


def read_received(path: Path) -> list[Received]:
    """Read what `python -m tests.support.webhook_receiver` wrote."""
    lines = map(orjson.loads, path.read_bytes().splitlines())
    return [Received(one["path"], one["headers"], one["body"].encode()) for one in lines]


@dataclass
class WebhookReceiver:
    """Answers `status` (with `headers`) to each webhook, the scripted ones first.

    While it is `held` it takes webhooks and answers none.
    """

    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    script: list[int] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    goes_on: threading.Event = field(default_factory=threading.Event)
    #: where each is written as well
    file: Path | None = None

    def __post_init__(self) -> None:
        self.goes_on.set()

    @property
    def held(self) -> bool:
        return not self.goes_on.is_set()

    @held.setter
    def held(self, wanted: bool) -> None:
        (self.goes_on.clear if wanted else self.goes_on.set)()

    def take(self, request: Received) -> int:
        with self.lock:
            self.received.append(request)
            if self.file:
                with self.file.open("ab") as file:
                    file.write(request.written())
            status = self.script.pop(0) if self.script else self.status
        self.goes_on.wait()
        return status


@contextmanager
def receiver(host: str = "127.0.0.1") -> Iterator[WebhookReceiver]:
    """Run a receiver at `host`: all of 127.0.0.0/8 is this machine, so each may have its own."""
    kept = WebhookReceiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = kept.take(Received(self.path, headers, body))
            # a client that was held for long may have disconnected
            with suppress(ConnectionError):
                self.answer(status)

        def answer(self, status: int) -> None:
            self.send_response(status)
            for name, value in kept.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    with Server((host, 0), Handler) as server:
        kept.url = f"http://{host}:{server.server_address[1]}/hook"
        with in_service(server):
            try:
                yield kept
            finally:
                kept.held = False


def main(file: Path) -> None:
    """Receive until standard input ends or the process is stopped; report its address first."""
    with receiver() as kept:
        kept.file = file
        file.touch()
        sys.stdout.write(f"{kept.url}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
