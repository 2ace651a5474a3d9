"""A forward proxy between Darkroom and everything outside: real ones, and liars."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from sandbox.wait import wait_until
from shared.errors import AddressForbidden, ProviderDown, StorageDown
from shared.net.egress import EgressProxy, EgressProxyError
from shared.net.http_client import build_client
from shared.net.sockets import Egress
from shared.net.ssrf import AddressGuard, Endpoint
from shared.net.timeouts import deadline
from shared.settings import Settings
from shared.start_commands import worker_command
from shared.storage.client import Storage
from shared.store import keys
from shared.tracing.spans import open_tracer
from tests.integration.conftest import Open
from tests.integration.loopback import Script, answering, dripping, serving, silent
from tests.integration.sandbox_client import Client
from tests.support import isolated
from tests.support.forward_proxy import ForwardProxy, Squid, Tinyproxy, forward_proxy
from tests.support.servers import S3Server
from tests.support.trace_collector import collector
from tests.support.webhook_receiver import WebhookReceiver
from tests.support.worker_harness import settings_for, spec
from tests.support.worker_process import Worker, environment
from worker.provider.client import OneMin
from worker.provider.echo import Request
from worker.webhook_client import DeliveryResult, SendError, WebhookClient

PUBLIC = "93.184.216.34"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FORBIDDEN = b"HTTP/1.1 403 Filtered\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(scope="module", params=[Tinyproxy, Squid], ids=lambda kind: kind.__name__)
def real_proxy(request: pytest.FixtureRequest) -> Iterator[ForwardProxy]:
    with forward_proxy(request.param) as proxy:
        yield proxy


def found(host: str, port: int, _: float | None) -> tuple[Endpoint, ...]:
    """Resolve every name to one public address."""
    address = host if host[0].isdigit() else PUBLIC
    return (Endpoint(socket.AF_INET, (address, port)),)


def send(to: str, *, proxy: str, **changes: Any) -> DeliveryResult:
    """Send one webhook through a proxy."""
    settings = Settings(egress_proxy=proxy, webhook_timeout_seconds=5, **changes)
    client = WebhookClient.from_settings(settings, resolver=found)
    try:
        return client.post(to, b"{}", {})
    finally:
        client.close()


@contextmanager
def proxy_that(script: Script) -> Iterator[tuple[str, list[str]]]:
    """Run a proxy of our own; return its URL and the requests that it gets."""
    asked: list[str] = []

    def noting(connection: socket.socket, stopped: threading.Event) -> None:
        asked.append(connection.recv(4096, socket.MSG_PEEK).decode())
        script(connection, stopped)

    with serving(noting) as port:
        yield f"http://user:p%40ss@127.0.0.1:{port}", asked


@contextmanager
def isolated_worker(directory: Path, settings: Mapping[str, Any], *ports: int) -> Iterator[None]:
    """Run a worker of both queues that reaches only these ports."""
    worker = Worker(
        [*isolated.command(directory, ports), *worker_command("generate,deliver", threads=4)],
        directory / "worker.log",
        environment=environment(settings),
    )
    with isolated.ways_out(directory, {port: port for port in ports}), worker:
        worker.wait_until_ready()
        yield


def test_a_process_without_another_way_out_makes_images_and_sends_webhooks(
    open_harness: Open,
    s3: S3Server,
    provider: Client,
    inbox: WebhookReceiver,
    real_proxy: ForwardProxy,
    tmp_path: Path,
) -> None:
    harness = open_harness()
    client = harness.world.client
    client.hset(keys.tenant("acme"), "webhook_secret", SECRET)
    redis_url = harness.world.settings.redis_url
    settings = settings_for(s3, provider.url, redis_url=redis_url, egress_proxy=real_proxy.url)
    with isolated_worker(tmp_path, settings, urlsplit(redis_url).port or 0, real_proxy.port):
        webhook = {"url": inbox.url, "events": ["job.succeeded"]}
        job = harness.wait_for_end(
            harness.accept(spec=spec(webhook=webhook), webhook_host="127.0.0.1"), seconds=30
        )
        assert job.image is not None, job
        assert harness.is_stored(job.image.key)
        wait_until(lambda: bool(inbox.received), "the webhook")
        # nobody allowed this address, to which the proxy would connect
        private = {"url": "http://127.0.0.2:9000/", "events": ["job.succeeded"]}
        refused = harness.accept(spec=spec(webhook=private), webhook_host="127.0.0.2")
        attempts = keys.delivery(f"msg_{refused.removeprefix('job_')}_1_succeeded")
        wait_until(
            lambda: client.hexists(attempts, "log"), "the attempt that is refused", seconds=30
        )

    inbox.received[0].verify(SECRET)
    assert "address_forbidden" in str(client.hget(attempts, "log"))
    s3_port = int(s3.endpoint.rpartition(":")[2])
    # the sandbox serves images at a port of their own
    image_url = provider.record()["temporaryUrl"]
    ports = {urlsplit(url).port for url in (provider.url, image_url, inbox.url)} | {s3_port}
    assert {f"127.0.0.1:{port}" for port in ports} <= real_proxy.targets()
    assert "127.0.0.2:9000" not in real_proxy.targets()


def test_a_webhook_goes_through_the_proxy(real_proxy: ForwardProxy, inbox: WebhookReceiver) -> None:
    result = send(inbox.url, proxy=real_proxy.url, webhook_allow_hosts="127.0.0.1")

    assert result.is_delivered, result
    assert f"127.0.0.1:{urlsplit(inbox.url).port}" in real_proxy.targets()


def test_the_proxy_is_given_the_address_that_was_checked() -> None:
    with proxy_that(answering(FORBIDDEN)) as (url, asked):
        result = send("https://shop.example/hook", proxy=url)

    assert asked[0].startswith(f"CONNECT {PUBLIC}:443 HTTP/1.1\r\n")
    assert "\r\nProxy-Authorization: Basic dXNlcjpwQHNz\r\n" in asked[0]
    assert result.code is SendError.EGRESS_PROXY
    assert f"refuses to connect to {PUBLIC}:443 (status 403)." in result.error
    assert "p@ss" not in result.error


def test_a_trusted_proxy_is_given_the_name() -> None:
    with proxy_that(answering(FORBIDDEN)) as (url, asked):
        named, private = (
            send(to, proxy=url, egress_proxy_trusted=True)
            for to in ("https://shop.example/hook", "https://10.0.0.1/hook")
        )

    # a proxy that refuses works, so that it need not be checked
    assert [request.partition("\r\n")[0] for request in asked] == [
        "CONNECT shop.example:443 HTTP/1.1"
    ]
    assert (named.code, private.code) == (SendError.EGRESS_PROXY, SendError.ADDRESS_FORBIDDEN)


def test_a_private_address_is_refused_before_the_proxy_is_asked() -> None:
    with proxy_that(answering(FORBIDDEN)) as (url, asked):
        result = send("https://10.0.0.1/hook", proxy=url)

    assert result.code is SendError.ADDRESS_FORBIDDEN
    assert asked == []


def test_direct_hosts_are_reached_without_the_proxy(inbox: WebhookReceiver) -> None:
    with proxy_that(answering(FORBIDDEN)) as (url, asked):
        direct = {"webhook_allow_hosts": "127.0.0.1", "egress_proxy_direct_hosts": "127.0.0.1"}
        assert send(inbox.url, proxy=url, **direct).is_delivered

    assert asked == []


def test_wrong_credentials_name_the_setting(real_proxy: ForwardProxy) -> None:
    url = f"http://darkroom:wrong@127.0.0.1:{real_proxy.port}"
    result = send("https://shop.example/hook", proxy=url)

    assert result.code is SendError.EGRESS_PROXY_DOWN
    assert "user and password of DARKROOM_EGRESS_PROXY" in result.error
    assert "wrong" not in result.error


def test_what_the_proxy_filters_is_reported_as_its_refusal(
    real_proxy: ForwardProxy, provider_url: str
) -> None:
    settings = {"egress_proxy_trusted": True, "onemin_base_url": provider_url}
    result = send("https://denied.test/", proxy=real_proxy.url, **settings)

    assert result.code is SendError.EGRESS_PROXY
    assert "refuses to connect to denied.test:443 (status 403)" in result.error


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (answering(b"SSH-2.0-OpenSSH\r\n\r\n"), "does not speak HTTP"),
        (answering(b"HTTP/1.1 200 OK\r\n\r\nextra"), "sends bytes of its own"),
        (answering(b""), "does not speak HTTP"),
        (silent, "does not answer"),
        (dripping(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), "does not"),
    ],
    ids=["another protocol", "more than an answer", "nothing", "silence", "drops"],
)
def test_a_proxy_that_is_none_is_left_in_time(script: Script, said: str) -> None:
    with (
        proxy_that(script) as (url, _),
        build_client(
            concurrency=1, timeout_seconds=0.5, egress=Egress(proxy=EgressProxy.at(url))
        ) as client,
        pytest.raises(httpx.ConnectError, match=f"The egress proxy .* {said}"),
        deadline(1),
    ):
        client.get("http://shop.example/")


def test_a_call_that_the_proxy_refuses_was_never_made() -> None:
    with proxy_that(answering(FORBIDDEN)) as (url, asked):
        provider = OneMin.from_settings(Settings(egress_proxy=url))
        with pytest.raises(
            ProviderDown, match=r"refuses to connect to api.1min.ai:443 \(status 403"
        ):
            provider.generate(Request("m", {"prompt": "A pier"}), key="k")
        provider.close()

    assert asked[0].startswith("CONNECT api.1min.ai:443 ")
    assert "API-KEY" not in asked[0]


def test_the_storage_is_reached_through_the_proxy(real_proxy: ForwardProxy, s3: S3Server) -> None:
    settings = Settings(**settings_for(s3, "http://127.0.0.1:1", egress_proxy=real_proxy.url))
    storage = Storage.from_settings(settings)
    storage.check()
    storage.close()
    assert s3.endpoint in real_proxy.targets()

    with proxy_that(answering(FORBIDDEN)) as (url, _):
        storage = Storage.from_settings(
            Settings(**settings_for(s3, "http://127.0.0.1:1", egress_proxy=url))
        )
        with pytest.raises(StorageDown, match=f"refuses to connect to {s3.endpoint}"):
            storage.check()
        storage.close()


def test_traces_leave_through_the_proxy(real_proxy: ForwardProxy) -> None:
    with collector() as seen:
        settings = Settings(otlp_endpoint=seen.url, egress_proxy=real_proxy.url)
        tracer = open_tracer(settings, "api")
        with tracer.serve("GET /", None):
            pass
        tracer.close()

    assert [span.name for span in seen.spans] == ["GET /"]
    assert urlsplit(seen.url).netloc in real_proxy.targets()


def test_guarded_names_that_resolve_to_private_addresses_stay_refused() -> None:
    guard, proxy = AddressGuard(), EgressProxy("127.0.0.1", 1)
    with (
        build_client(
            concurrency=1,
            timeout_seconds=1,
            guard=guard,
            egress=Egress(proxy=proxy),
            resolver=lambda _, port, __: (Endpoint(socket.AF_INET, ("192.168.1.1", port)),),
        ) as client,
        pytest.raises(AddressForbidden, match="private"),
    ):
        client.get("http://shop.example/")


def test_a_proxy_that_is_away_is_named() -> None:
    proxy = EgressProxy("127.0.0.1", 1)
    with (
        build_client(concurrency=1, timeout_seconds=1, egress=Egress(proxy=proxy)) as client,
        pytest.raises(
            httpx.ConnectError, match=r"The egress proxy 127\.0\.0\.1:1 cannot be reached"
        ),
    ):
        client.get("http://shop.example/")
    assert issubclass(EgressProxyError, OSError)
