"""What a download from the sandbox provider can meet: one test a fault."""

import io
import time
from collections.abc import Iterator

import httpx
import pytest
from PIL import Image

from sandbox.provider.server import running
from tests.integration.sandbox_client import Client, steered


@pytest.fixture(scope="module")
def provider_url() -> Iterator[str]:
    with running() as url:
        yield url


@pytest.fixture
def client(provider_url: str) -> Iterator[Client]:
    with steered(provider_url) as client:
        yield client


def test_an_expired_address_is_good_again_after_a_look_up(client: Client) -> None:
    client.behave({"fault": "url_expired"})
    record = client.record()
    fresh = client.look_up(record["uuid"])["temporaryUrl"]

    assert client.http.get(record["temporaryUrl"]).status_code == 403
    assert client.http.get(fresh).status_code == 200
    assert client.http.get(record["temporaryUrl"]).status_code == 403
    assert ("download", "url_expired", False) in client.outcomes()


def test_a_fault_can_be_limited_to_the_first_downloads(client: Client) -> None:
    client.behave({"fault": "download_status", "status": 503, "times": 2})
    url = client.record()["temporaryUrl"]

    assert [client.http.get(url).status_code for _ in range(4)] == [503, 503, 200, 200]


@pytest.mark.parametrize("step", [{"fault": "truncated"}, {"fault": "truncated", "bytes": 0}])
def test_a_download_ends_before_its_length(client: Client, step: dict[str, object]) -> None:
    client.behave(step)

    with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
        client.fetch()


def test_a_download_declares_less_than_it_sends(client: Client) -> None:
    client.behave({"fault": "wrong_length", "declared": 100}, "ok")

    short = client.fetch()
    whole = client.fetch()

    assert len(short.content) == 100
    assert whole.content.startswith(short.content)


def test_a_download_declares_more_than_it_sends(client: Client) -> None:
    client.behave({"fault": "wrong_length", "declared": 1_000_000})

    with pytest.raises(httpx.RemoteProtocolError):
        client.fetch()


def test_a_download_is_a_page(client: Client) -> None:
    client.behave({"fault": "html"})

    answer = client.fetch()

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("declare", [True, False])
def test_a_download_is_huge(client: Client, declare: bool) -> None:  # noqa: FBT001
    client.behave({"fault": "huge", "bytes": 5_000_000, "declare": declare})

    answer = client.fetch()

    assert len(answer.content) == 5_000_000
    assert answer.content.startswith(b"RIFF")
    assert answer.headers.get("content-length") == ("5000000" if declare else None)


def test_a_download_drips(client: Client) -> None:
    client.behave({"fault": "slow_drip", "bytes": 10, "seconds": 0.05})
    url = client.record()["temporaryUrl"]
    began = time.monotonic()

    with client.http.stream("GET", url) as answer:
        pieces = answer.iter_raw()
        first = [next(pieces) for _ in range(3)]

    assert [len(piece) for piece in first] == [10, 10, 10]
    assert time.monotonic() - began >= 0.1


def test_a_download_has_another_format(client: Client) -> None:
    client.behave({"fault": "wrong_format"}, {"fault": "wrong_format", "format": "jpg"})

    assert client.fetch().content.startswith(b"\x89PNG")
    assert client.fetch().content.startswith(b"\xff\xd8")


def test_a_download_is_black(client: Client) -> None:
    client.behave({"fault": "black"})

    image = Image.open(io.BytesIO(client.fetch().content))

    assert (image.format, image.size) == ("WEBP", (672, 384))
    assert image.getextrema() == ((0, 0),) * 3


def test_a_download_has_another_size(client: Client) -> None:
    client.behave({"fault": "wrong_size"}, {"fault": "wrong_size", "width": 64, "height": 64})

    sizes = [Image.open(io.BytesIO(client.fetch().content)).size for _ in range(2)]

    assert sizes == [(336, 192), (64, 64)]


def test_a_download_is_a_gzip_bomb(client: Client) -> None:
    client.behave({"fault": "gzip_bomb", "bytes": 20_000_000})
    url = client.record()["temporaryUrl"]

    with client.http.stream("GET", url) as answer:
        packed = sum(len(piece) for piece in answer.iter_raw())

    assert packed < 100_000
    assert len(client.http.get(url).content) == 20_000_000


def test_a_download_is_a_pixel_bomb(client: Client) -> None:
    client.behave({"fault": "pixel_bomb"})

    content = client.fetch().content

    assert len(content) < 1_000_000
    assert content[16:24] == (60_000).to_bytes(4) * 2


def test_a_download_redirects(client: Client) -> None:
    client.behave({"fault": "redirect", "location": "http://10.0.0.1/"})

    answer = client.fetch()

    assert (answer.status_code, answer.headers["location"]) == (302, "http://10.0.0.1/")
