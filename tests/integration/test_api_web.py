"""The pages as files: what is kept for how long, and what is no file."""

import io
import re

import httpx
import pytest
from PIL import Image, ImageChops, ImageStat

from sandbox.provider.image_rendering import RenderedImage
from tests.support.api_server import ApiServer, problem

#: That of the example: of its first seeds the one whose image fits the prompt best.
EXAMPLE_SEED = 26


def styles_of(api_server: ApiServer) -> str:
    found = re.search(r'href="(/pages/[^"]+/styles/tokens.css)"', api_server.client.get("/").text)
    assert found
    return found.group(1)


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_is_asked_about_each_time_and_sent_once(api_server: ApiServer, path: str) -> None:
    first = api_server.client.get(path)
    assert first.headers["content-type"] == "text/html; charset=utf-8"
    assert first.headers["cache-control"] == "no-cache"

    again = api_server.client.get(path, headers={"if-none-match": first.headers["etag"]})

    assert (again.status_code, again.content) == (304, b"")


def test_a_file_of_this_edition_is_kept_and_of_another_asked_about(api_server: ApiServer) -> None:
    path = styles_of(api_server)
    assert "immutable" in api_server.client.get(path).headers["cache-control"]
    assert api_server.client.get(path).headers["content-type"] == "text/css; charset=utf-8"

    other = api_server.client.get(re.sub("/pages/[^/]+/", "/pages/0000/", path))

    assert other.headers["cache-control"] == "no-cache"
    assert other.text == api_server.client.get(path).text


def test_the_models_can_be_read_without_a_key_but_not_their_price_nor_state(
    api_server: ApiServer,
) -> None:
    path = styles_of(api_server).replace("styles/tokens.css", "models.json")
    public = httpx.get(f"{api_server.url}{path}")
    assert public.headers["content-type"] == "application/json"
    assert "immutable" in public.headers["cache-control"]
    known = api_server.client.get("/v1/models").json()["data"]
    hidden = {"price", "state", "listing"}
    assert public.json()["data"] == [
        {name: value for name, value in model.items() if name not in hidden} for model in known
    ]


def test_the_example_is_what_the_sandbox_makes_of_its_prompt(api_server: ApiServer) -> None:
    path = styles_of(api_server).replace("styles/tokens.css", "playground/example")
    script = api_server.client.get(f"{path}.js").text
    found = re.search(r'PROMPT = "([^"]+)"', script)
    assert found
    served = api_server.client.get(f"{path}.webp")
    assert served.headers["content-type"] == "image/webp"
    # another encoder may write other bytes of the same image
    drawn = RenderedImage(found[1], EXAMPLE_SEED, (512, 512), "webp", 80).encode()
    images = [Image.open(io.BytesIO(body)).convert("RGB") for body in (served.content, drawn)]
    assert max(ImageStat.Stat(ImageChops.difference(*images)).mean) < 2


@pytest.mark.parametrize(
    "path",
    [
        "/pages/x/nothing.css",
        "/pages/x/playground.html",
        "/pages/x/../show.py",
        "/pages/x/%2e%2e/show.py",
    ],
)
def test_what_is_no_file_of_the_pages_is_not_found(api_server: ApiServer, path: str) -> None:
    problem(api_server.client.get(path), 404, "not_found")


def test_a_page_can_be_looked_at_without_its_body_but_not_written(api_server: ApiServer) -> None:
    assert api_server.client.head("/").status_code == 200
    refused = api_server.client.post("/")
    problem(refused, 405, "method_not_allowed")
    assert refused.headers["allow"] == "GET, HEAD"


def test_requests_for_files_are_counted_under_one_name(api_server: ApiServer) -> None:
    api_server.client.get(styles_of(api_server))
    text = api_server.client.get("/metrics").text
    assert 'route="/pages/{build_hash}/{name}"' in text
