"""The sandbox's image host as a whole: on a port of its own, away while the API is well."""

from urllib.parse import urlsplit

import httpx
import pytest

from sandbox.provider.server import running
from sandbox.wait import wait_until
from tests.integration.sandbox_client import Client, steered


@pytest.fixture
def client(provider: Client) -> Client:
    return provider


def status(client: Client, url: str) -> int:
    return client.http.get(url).status_code


def is_refused(url: str) -> bool:
    try:
        httpx.get(url, timeout=5)
    except httpx.ConnectError:
        return True
    return False


def test_images_are_served_on_the_port_of_the_image_host(client: Client) -> None:
    url = client.record()["temporaryUrl"]

    port = client.http.get("/_sandbox/images").json()["port"]

    assert urlsplit(url).port == port != urlsplit(client.url).port
    assert status(client, url) == 200


def test_the_image_host_refuses_connections_until_it_is_well_on_the_same_port(
    client: Client,
) -> None:
    url = client.record()["temporaryUrl"]
    assert status(client, url) == 200  # and the connection is kept

    client.images(state="refuse")

    with pytest.raises(httpx.TransportError):
        client.http.get(url)
    assert is_refused(url)
    assert client.generate().status_code == 200

    client.images()

    assert status(client, url) == 200


def test_the_image_host_recovers_by_itself(client: Client) -> None:
    url = client.record()["temporaryUrl"]

    client.images(state="refuse", until_seconds=0.3)

    wait_until(lambda: not is_refused(url), "the image host to recover")
    assert client.http.get("/_sandbox/images").json()["state"] == "ok"


def test_every_download_is_answered_with_a_status(client: Client) -> None:
    urls = [client.record(seed=seed)["temporaryUrl"] for seed in range(2)]

    client.images(state="status", status=404)

    assert [status(client, url) for url in urls] == [404, 404]
    assert client.outcomes()[-1] == ("download", "404", False)


def test_a_download_hangs_while_the_api_answers(client: Client) -> None:
    url = client.record()["temporaryUrl"]

    client.images(state="hang")

    with pytest.raises(httpx.ReadTimeout):
        client.http.get(url, timeout=0.2)
    assert client.generate().status_code == 200


def test_an_image_is_missing_at_first(client: Client) -> None:
    client.images(missing_seconds=0.5)
    url = client.record()["temporaryUrl"]

    assert status(client, url) == 404
    wait_until(lambda: status(client, url) == 200, "the image to appear")


@pytest.mark.parametrize(
    ("state", "answer"), [({"state": "status"}, 503), ({"missing_seconds": 60}, 404)]
)
def test_an_image_host_without_a_port_of_its_own_fails_too(
    state: dict[str, object], answer: int
) -> None:
    with running() as url, steered(url) as client:
        client.images(**state)

        assert client.fetch().status_code == answer
        assert client.http.get("/_sandbox/images").json()["port"] is None


def test_an_unknown_state_is_refused_and_changes_nothing(client: Client) -> None:
    answer = client.http.put("/_sandbox/images", json={"state": "away", "extra": 1})

    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/state", "/extra"]
    assert client.fetch().status_code == 200
