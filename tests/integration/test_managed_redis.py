"""A Redis as it is rented: behind TLS and a password, with its settings out of reach."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import trustme

from shared.celery_app import build_celery
from shared.settings import Settings
from tests.support.cluster import Cluster, fleet
from tests.support.tls import tls_before

PASSWORD = "rented-word"


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
