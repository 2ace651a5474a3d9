"""A Redis as it is rented: behind TLS and a password, with its settings out of reach."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import create_connection, create_server, socket

import pytest
import redis
import trustme

from shared.celery_app import build_celery
from shared.settings import Settings
from tests.support.cluster import Cluster, fleet

PASSWORD = "rented-word"


@contextmanager
def tls_before(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """Speak TLS before a server on loopback; return the port."""
    with create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    taken, _ = server.accept()
                    threading.Thread(target=_join, args=(taken, port, context), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def _join(taken: socket, port: int, context: ssl.SSLContext) -> None:
    with suppress(OSError):
        outside = context.wrap_socket(taken, server_side=True)
        inside = create_connection(("127.0.0.1", port))
        threading.Thread(target=_pass, args=(inside, outside), daemon=True).start()
        _pass(outside, inside)


def _pass(source: socket, target: socket) -> None:
    with suppress(OSError):
        while part := source.recv(65536):
            target.sendall(part)
    for one in (source, target):
        one.close()


@pytest.fixture
def rented(tmp_path: Path) -> Iterator[tuple[Cluster, str]]:
    """A service's ground, and the address of its Redis as a client has it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with fleet(tmp_path / "fleet") as here, tls_before(here.redis.port, context) as port:
        with redis.Redis.from_url(here.redis.url) as client:
            client.execute_command("ACL", "SETUSER", "default", f">{PASSWORD}", "-config")
        yield here, f"rediss://:{PASSWORD}@localhost:{port}/0"


def test_the_service_runs_on_a_redis_behind_tls_and_a_password(
    rented: tuple[Cluster, str], tmp_path: Path
) -> None:
    here, url = rented
    here.changes["redis_url"] = f"{url}?ssl_ca_certs={tmp_path / 'ca.pem'}"
    api = here.api()
    here.worker("generate")

    with here.client(api.url) as http:
        asked = {"input": {"prompt": "A rented lighthouse", "megapixels": "0.25"}}
        made = http.post("/v1/jobs", json=asked, headers={"Prefer": "wait=30"})

    assert made.json()["status"] == "succeeded"


def test_a_certificate_that_nobody_vouches_for_is_refused_by_celery_too(
    rented: tuple[Cluster, str],
) -> None:
    _, url = rented
    app = build_celery(Settings(redis_url=url))

    with app.connection_for_read() as connection, pytest.raises(redis.ConnectionError) as raised:
        connection.channel().client.ping()  # type: ignore[attr-defined]  # the stubs know no transport

    assert "CERTIFICATE_VERIFY_FAILED" in str(raised.value)
