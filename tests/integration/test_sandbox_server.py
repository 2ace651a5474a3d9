"""How the sandbox provider is run, by program and by command."""

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from sandbox.provider.app import create_app
from sandbox.provider.listening import PortTaken
from sandbox.provider.server import Options, running, serve
from tests.integration.sandbox_client import PROMPT_OBJECT, Client

COMMAND = "import sys; from cli.stack import sandbox; sandbox(port=int(sys.argv[1]))"


@pytest.fixture(scope="module")
def provider_url() -> Iterator[str]:
    with running() as url:
        yield url


def test_an_address_expires_after_its_lifetime() -> None:
    with running(Options(port=0, latency_seconds=0, url_lifetime_seconds=0)) as url:
        client = Client(url)
        answer = client.fetch()
        client.http.close()

    assert answer.status_code == 403


def test_the_application_also_answers_without_a_server() -> None:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(create_app("http://elsewhere:1", latency_seconds=0.01))
        async with httpx.AsyncClient(transport=transport, base_url="http://provider") as http:
            body = {
                "type": "IMAGE_GENERATOR",
                "model": "black-forest-labs/flux-2-klein-9b",
                "promptObject": PROMPT_OBJECT,
            }
            return await http.post("/api/features", json=body, headers={"API-KEY": "k"})

    answer = asyncio.run(ask())

    assert answer.json()["aiRecord"]["temporaryUrl"].startswith("http://elsewhere:1/assets/")


def test_a_taken_port_is_told_in_a_sentence(provider_url: str) -> None:
    port = urlsplit(provider_url).port
    assert port is not None

    with pytest.raises(PortTaken, match=f"cannot listen on 127.0.0.1:{port}: .*in use"):
        serve(Options(port=port))


@pytest.mark.parametrize("options", [Options(port=70_000), Options(host="203.0.113.1")])
def test_a_place_that_cannot_be_listened_on_is_told_in_a_sentence(options: Options) -> None:
    with pytest.raises(PortTaken, match=r"^The sandbox cannot listen on [\w.]+:\d+: [^.]+\.$"):
        serve(options)


def test_the_command_ends_with_one_sentence_when_its_port_is_taken(provider_url: str) -> None:
    port = str(urlsplit(provider_url).port)

    ended = subprocess.run(
        [sys.executable, "-c", COMMAND, port], capture_output=True, text=True, check=False
    )

    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("The sandbox cannot listen on 127.0.0.1:")


def test_the_command_serves_until_interrupted_and_says_nothing_of_faults_made_on_purpose() -> None:
    command = [sys.executable, "-c", COMMAND, "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        url = re.search(rb"http://\S+", process.stdout.readline())
        assert url is not None
        client = Client(url[0].decode())
        _meet_every_kind_of_broken_connection(client)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
        client.http.close()

    assert process.returncode == 0
    assert errors == b""


def _meet_every_kind_of_broken_connection(client: Client) -> None:
    hang = {"fault": "hang", "seconds": 600}
    client.behave({"fault": "drop"}, {"fault": "truncated"}, {"fault": "slow_drip"}, default=hang)
    with pytest.raises(httpx.RemoteProtocolError):
        client.generate()
    with pytest.raises(httpx.RemoteProtocolError):
        client.fetch()
    with client.http.stream("GET", client.record()["temporaryUrl"]) as answer:
        next(answer.iter_raw())
    client.http.timeout = httpx.Timeout(0.3)
    with pytest.raises(httpx.ReadTimeout):
        client.generate()
