"""Servers whose certificates a company's own authority has signed, and the API with one."""

import socket
import ssl
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import trustme

from sandbox.servers import free_port
from sandbox.subprocesses import Child
from sandbox.wait import wait_until
from shared.errors import HistoryDown, ProviderDown, StorageDown
from shared.history.database import Database
from shared.settings import Settings
from shared.storage.client import Storage
from shared.tracing.spans import open_tracer
from tests.integration.loopback import answering, serving
from tests.support.postgres import PostgresServer
from tests.support.servers import ACCESS_KEY, BUCKET, SECRET_KEY
from tests.support.tls import tls_before
from tests.support.trace_collector import collector
from worker.provider.client import OneMin

_BODY = b'{"models":[]}'
_NO_MODELS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture(scope="module")
def port(authority: trustme.CA) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with serving(answering(_NO_MODELS), tls=context) as port:
        yield port


def test_the_provider_is_trusted_by_the_bundle(port: int, bundle: str) -> None:
    url = f"https://localhost:{port}"
    with closing(OneMin.from_settings(Settings(onemin_base_url=url, ca_bundle=bundle))) as provider:
        assert provider.list_models() == []
    with (
        closing(OneMin.from_settings(Settings(onemin_base_url=url))) as provider,
        pytest.raises(ProviderDown, match=r"cannot be asked \(ConnectError\)"),
    ):
        provider.list_models()


def test_the_storage_is_trusted_by_the_bundle(port: int, bundle: str) -> None:
    keys: Any = {"s3_access_key": ACCESS_KEY, "s3_secret_key": SECRET_KEY}
    settings = Settings(s3_endpoint=f"https://localhost:{port}", ca_bundle=bundle, **keys)
    with closing(Storage.from_settings(settings)) as storage:
        storage.check()
    stranger = Settings(s3_endpoint=f"https://localhost:{port}", **keys)
    with (
        closing(Storage.from_settings(stranger)) as storage,
        pytest.raises(StorageDown, match="cannot be reached"),
    ):
        storage.check()


def test_a_collector_of_traces_is_trusted_by_the_bundle(authority: trustme.CA, bundle: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with collector() as seen, tls_before(urlsplit(seen.url).port or 0, context) as port:
        for ca_bundle in ("", bundle):
            endpoint = f"https://localhost:{port}"
            settings = Settings(otlp_endpoint=endpoint, ca_bundle=ca_bundle)
            tracer = open_tracer(settings, "api")
            with tracer.serve(f"bundle {ca_bundle}", None):
                pass
            tracer.close()

    assert [span.name for span in seen.spans] == [f"bundle {bundle}"]


def accept_tls(client: socket.socket) -> None:
    """Answer PostgreSQL's request for TLS, which the server of the tests does not speak."""
    client.recv(8)
    client.sendall(b"S")


def test_the_database_is_trusted_by_the_bundle(
    postgres: PostgresServer, authority: trustme.CA, bundle: str
) -> None:
    name = urlsplit(postgres.create("under_tls")).path
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with tls_before(postgres.port, context, greet=accept_tls) as port:
        url = f"postgresql://postgres@localhost:{port}{name}?sslmode=verify-full"
        database = Database(url, timeout_seconds=5, connections=1, ca_bundle=bundle)
        database.migrate()
        database.close()
        stranger = Database(url, timeout_seconds=5, connections=1)
        with pytest.raises(HistoryDown, match="root certificate"):
            stranger.migrate()
        stranger.close()


@contextmanager
def api(redis_url: str, log: Path, *flags: str) -> Iterator[tuple[Child, str]]:
    """Run `darkroom api` with these flags; return its process and its host and port."""
    port = free_port()
    environment = {
        "DARKROOM_REDIS_URL": redis_url,
        "DARKROOM_S3_ACCESS_KEY": ACCESS_KEY,
        "DARKROOM_S3_SECRET_KEY": SECRET_KEY,
        "DARKROOM_S3_BUCKET": BUCKET,
    }
    program = str(Path(sys.executable).with_name("darkroom"))
    command = [program, "api", "--port", str(port), *flags]
    with Child(command, log, environment=environment) as child:
        yield child, f"localhost:{port}"


def written(authority: trustme.CA, directory: Path) -> tuple[Path, Path]:
    """Write a certificate and its key."""
    made = authority.issue_cert("localhost")
    certificate, key = directory / "server.pem", directory / "server.key"
    made.cert_chain_pems[0].write_to_path(certificate)
    made.private_key_pem.write_to_path(key)
    return certificate, key


def test_the_api_speaks_https(
    redis_url: str, authority: trustme.CA, bundle: str, tmp_path: Path
) -> None:
    certificate, key = written(authority, tmp_path)
    flags = (f"--ssl-certfile={certificate}", f"--ssl-keyfile={key}")
    trusted = ssl.create_default_context(cafile=bundle)
    with api(redis_url, tmp_path / "log", *flags) as (child, place):

        def answers() -> bool:
            assert child.alive, child.said()
            try:
                return httpx.get(f"https://{place}/healthz", verify=trusted).is_success
            except httpx.ConnectError:
                return False

        wait_until(answers, "an answer over HTTPS")
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://{place}/healthz")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--ssl-certfile={certificate}"], "one of the two is missing"),
        (["--ssl-certfile={key}", "--ssl-keyfile={certificate}"], "not a certificate and its key"),
        (["--ssl-certfile={certificate}", "--ssl-keyfile={other}"], "KEY_VALUES_MISMATCH"),
    ],
)
def test_files_that_are_no_certificate_and_key_end_the_start(
    redis_url: str, authority: trustme.CA, tmp_path: Path, flags: Sequence[str], said: str
) -> None:
    certificate, key = written(authority, tmp_path)
    (tmp_path / "other").mkdir()
    _, other = written(authority, tmp_path / "other")
    given = [flag.format(certificate=certificate, key=key, other=other) for flag in flags]
    with api(redis_url, tmp_path / "log", *given) as (child, _):
        wait_until(lambda: not child.alive, "the end of the program")
    assert said in (tmp_path / "log").read_text()
    assert "Traceback" not in (tmp_path / "log").read_text()
