"""The API served for real, by uvicorn on a port of its own, in a thread."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn

from api.main import create_app
from api.server import LimitedHttpProtocol
from sandbox.servers import free_port
from sandbox.wait import wait_until
from shared import ids
from shared.jobs import Image
from shared.settings import Settings
from shared.store import transitions
from tests.support.servers import ACCESS_KEY, BUCKET, SECRET_KEY
from tests.support.store import IMAGE, Opened, World, open_with_ops_key
from tests.support.tls import TLS

PROMPT = {"input": {"prompt": "A lighthouse at dawn"}}


@dataclass(frozen=True)
class ApiServer:
    """A served API, a client with a tenant's key, and the store behind it."""

    url: str
    client: httpx.Client
    credentials: Opened
    world: World
    tenant: str

    def create(self, **body: Any) -> dict[str, Any]:
        answer = self.client.post("/v1/jobs", json={**PROMPT, **body})
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    def succeed(self, image: Image = IMAGE) -> None:
        """Do what a worker does with the next job in line."""
        held = self.world.checkpoint(self.world.call(self.world.claim()))
        self.world.store.run(transitions.succeed(held, image, download=0.1, store=0.1))


def settings(redis_url: str, **changes: Any) -> Settings:
    given: dict[str, Any] = {
        "redis_url": redis_url,
        "s3_access_key": ACCESS_KEY,
        "s3_secret_key": SECRET_KEY,
        "s3_bucket": BUCKET,
        "provider_rate_per_minute": 0,
        # other tests run at the same time: only the machine is slow
        "redis_timeout_seconds": 10,
        # all tests of an API come from one address
        "auth_failures_per_minute": 1_000_000,
        **changes,
    }
    return Settings(**given)


@contextmanager
def served(
    chosen: Settings,
    port: int = 0,
    *,
    wire: type[LimitedHttpProtocol] = LimitedHttpProtocol,
    has_fast_route: bool = True,
    **options: Any,
) -> Iterator[str]:
    """Serve the app; return its address. `options` are uvicorn's own."""
    port = port or free_port()
    config = uvicorn.Config(
        create_app(chosen, has_fast_route=has_fast_route),
        host="127.0.0.1",
        port=port,
        http=wire,
        log_config=None,
        access_log=False,
        ws="none",
        **options,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    wait_until(lambda: server.started or not thread.is_alive(), "the API to start")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@contextmanager
def tenant_at(url: str, redis_url: str, *, tenant: str = "", **changes: Any) -> Iterator[ApiServer]:
    """Make a new tenant at a served API; `changes` are settings of its store."""
    tenant = tenant or f"tenant-{ids.job_id()[-8:]}"
    world = World(redis_url, **changes)
    credentials = open_with_ops_key(world.store, tenant)
    with client_of(url, credentials.api_key) as client:
        yield ApiServer(url, client, credentials, world, tenant)
    world.close()


def client_of(url: str, key: str) -> httpx.Client:
    # a context of its own would cost each client 50 ms of CPU; beyond 20 idle connections, httpx
    # may close one that another thread is just about to use
    headers = {"authorization": f"Bearer {key}"}
    limits = httpx.Limits(max_keepalive_connections=None)
    return httpx.Client(base_url=url, headers=headers, timeout=30, verify=TLS, limits=limits)


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that an answer is this problem, whole; return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = dict(answer.json())
    assert body["code"] == code, body
    assert body["status"] == status
    assert body["type"] == f"/problems/{code}"
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == answer.headers["x-request-id"]
    return body


def pointers(answer: httpx.Response) -> set[str]:
    return {fault["pointer"] for fault in problem(answer, 422, "invalid_request")["errors"]}
