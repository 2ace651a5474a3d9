"""The API as operators start it: a process of uvicorn's own, with whatever flags."""

import http.client
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from sandbox.servers import free_port
from sandbox.subprocesses import Child
from sandbox.wait import wait_for_http, wait_until
from tests.support.api_server import PROMPT, tenant_at
from tests.support.servers import ACCESS_KEY, BUCKET, SECRET_KEY

COMMAND = (sys.executable, "-m", "uvicorn", "--factory", "api.main:create_app")
WIRE = ("--http", "api.server:LimitedHttpProtocol")


@contextmanager
def started(redis_url: str, log: Path, *flags: str, **more: str) -> Iterator[tuple[Child, str]]:
    """Start the API on a port of its own; return its process and its address."""
    port = free_port()
    environment = {
        "DARKROOM_REDIS_URL": redis_url,
        "DARKROOM_S3_ACCESS_KEY": ACCESS_KEY,
        "DARKROOM_S3_SECRET_KEY": SECRET_KEY,
        "DARKROOM_S3_BUCKET": BUCKET,
        **more,
    }
    with Child([*COMMAND, "--port", str(port), *flags], log, environment=environment) as child:
        yield child, f"http://127.0.0.1:{port}"


def test_several_workers_behind_one_port_are_refused_in_a_sentence(
    redis_url: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with started(redis_url, log, "--workers", "2", *WIRE) as (child, _):
        wait_until(lambda: not child.alive, "the server to end", seconds=60)
    said = log.read_text()
    assert "The API cannot start.\nSeveral workers behind one port" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "flags", [(), ("--access-log", "--log-level", "trace", *WIRE), ("--no-access-log", *WIRE)]
)
def test_no_log_has_a_signed_address(
    empty_redis_url: str, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    # given
    log = tmp_path / "log"
    with started(empty_redis_url, log, *flags, DARKROOM_LOG_FORMAT="json") as (_, url):
        wait_for_http(f"{url}/readyz", status=200)
        with tenant_at(url, empty_redis_url) as api_server:
            job = api_server.create()
            api_server.succeed()
            signed = httpx.URL(
                api_server.client.get(f"/v1/jobs/{job['id']}").json()["image"]["url"]
            )
        # when
        query = signed.query.decode()
        for written in (query, query.replace("signature", "%73ignature")):
            httpx.get(f"{url}{signed.path}?{written}")
        httpx.get(f"{url}/healthz")
    # then
    said = log.read_text()
    assert ("/image" in said) is ("--no-access-log" not in flags)
    assert signed.params["signature"] not in said


def test_the_real_server_closes_in_stages_ignores_offers_and_counts_what_can_occur(
    empty_redis_url: str, tmp_path: Path
) -> None:
    with started(empty_redis_url, tmp_path / "log", *WIRE) as (_, url):
        wait_for_http(f"{url}/readyz", status=200)
        with tenant_at(url, empty_redis_url) as api_server:
            headers = {"Authorization": f"Bearer {api_server.credentials.api_key}"}
            where = httpx.URL(url)
            connection = http.client.HTTPConnection(where.host, where.port, timeout=20)
            connection.request("POST", "/v1/jobs", b"x" * 20_000_000, headers)
            assert connection.getresponse().status == 413
            connection.close()
            offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c"}
            assert api_server.client.post("/v1/jobs", json=PROMPT, headers=offer).status_code == 202
            # and its metrics are those that can occur: about seven a route, and a few hundred
            for path in ("/v1/jobs", "/v1/models", "/v1/usage", "/healthz", "/nowhere") * 3:
                api_server.client.get(path)
            lines = api_server.client.get("/metrics").text.splitlines()
    series = [line for line in lines if not line.startswith("#")]
    assert 'darkroom_http_requests_total{method="POST",route="/v1/jobs",status="503"} 0.0' in series
    assert len([one for one in series if one.startswith("darkroom_http_")]) < 500
    assert len(series) < 1_000
    assert not [one for one in series if 'method="HEAD"' in one or "_created" in one]
