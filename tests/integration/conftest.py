import json
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from darkroom.cli import build
from sandbox.provider.server import Options, running
from shared.net.sockets import bounded
from tests.integration.sandbox_client import Client, steered
from tests.support.api_server import ApiServer, client_of, served, settings, tenant_at
from tests.support.servers import S3Server
from tests.support.webhook_receiver import WebhookReceiver, receiver
from tests.support.worker_harness import WorkerHarness


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A client's context that trusts nobody but the server with the other one, at localhost."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl here to make a certificate with")
    directory = tmp_path_factory.mktemp("tls")
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-nodes", "-newkey", "ec", "-days", "2"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(certificate, key)
    return bounded(ssl.create_default_context(cafile=str(certificate))), theirs


@pytest.fixture(scope="module")
def provider_url() -> Iterator[str]:
    with running(Options(port=0, latency_seconds=0, image_port=0)) as url:
        yield url


@pytest.fixture
def provider(provider_url: str) -> Iterator[Client]:
    with steered(provider_url) as client:
        yield client


#: Opens a workshop with the settings given.
Open = Callable[..., WorkerHarness]


@pytest.fixture
def open_harness(empty_redis_url: str, s3: S3Server, provider: Client) -> Iterator[Open]:
    opened: list[WorkerHarness] = []

    def build(**changes: Any) -> WorkerHarness:
        opened.append(WorkerHarness(empty_redis_url, changes.pop("s3", s3), provider, **changes))
        return opened[-1]

    yield build
    for harness in opened:
        harness.close()


@pytest.fixture
def harness(open_harness: Open) -> WorkerHarness:
    return open_harness()


@pytest.fixture(scope="module")
def url(redis_url: str) -> Iterator[str]:
    with served(settings(redis_url)) as url:
        yield url


#: `POST /v1/jobs` as FastAPI serves it, and the shorter way: a test of both must pass on either.
both_ways = pytest.fixture(scope="module", params=[True, False], ids=["fast", "ordinary"])


@pytest.fixture
def api_server(url: str, empty_redis_url: str) -> Iterator[ApiServer]:
    with tenant_at(url, empty_redis_url) as api_server:
        yield api_server


@pytest.fixture
def operator(api_server: ApiServer) -> Iterator[httpx.Client]:
    with client_of(api_server.url, api_server.credentials.ops_key) as client:
        yield client


@pytest.fixture
def other(api_server: ApiServer) -> Iterator[ApiServer]:
    """Another tenant at the same API."""
    with tenant_at(api_server.url, api_server.world.settings.redis_url) as other:
        yield other


class Program:
    """The program without a process of its own: starting one costs more than what it does."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def run(self, *words: str) -> tuple[int, str, str]:
        """Return the exit code, and what was written to stdout and stderr."""
        self._capsys.readouterr()  # what was written before is not of the program
        try:
            build()(words)
        except SystemExit as ended:
            code = int(ended.code or 0)
        else:
            code = 0
        return (code, *self._capsys.readouterr())

    def run_json(self, *words: str) -> Any:
        code, out, wrong = self.run(*words, "--json")
        assert code == 0, wrong
        return json.loads(out)


@pytest.fixture
def program(
    empty_redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Program:
    monkeypatch.setenv("DARKROOM_REDIS_URL", empty_redis_url)
    return Program(capsys)


@pytest.fixture
def inbox() -> Iterator[WebhookReceiver]:
    """A program that webhooks are sent to."""
    with receiver() as server:
        yield server
