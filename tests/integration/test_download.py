import gzip
import re
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from threading import Event

import pytest
from PIL import Image

from shared.errors import (
    FetchFailed,
    ImageExpired,
    ImageHostDown,
    ImageHostForbidden,
    ImageInvalid,
    ImageTooLarge,
    JobError,
)
from shared.net.http_client import build_client
from shared.net.ssrf import AddressGuard, Endpoint, Resolver, resolve
from tests.faults.dns_server import look_up_at, names
from tests.integration.loopback import OK, Script, answering, dripping, serving, silent
from worker.image_download import Downloader

IMAGE = b"RIFF and so on" * 10
HERE = ("127.0.0.1",)


def encoded(kind: str) -> bytes:
    Image.new("RGB", (16, 16)).save(out := BytesIO(), kind)
    return out.getvalue()


WEBP, PNG, JPEG = encoded("WEBP"), encoded("PNG"), encoded("JPEG")


@contextmanager
def downloader(
    *,
    allowed: tuple[str, ...] = HERE,
    allow_private: tuple[str, ...] = HERE,
    timeout_seconds: float = 5.0,
    look_up: Resolver = resolve,
) -> Iterator[Downloader]:
    guard = AddressGuard(allow_private)
    built = Downloader(
        build_client(concurrency=2, timeout_seconds=60, guard=guard, resolver=look_up),
        allowed_hosts=allowed,
        allow_private=allow_private,
        timeout_seconds=timeout_seconds,
        max_bytes=100_000,
    )
    try:
        yield built
    finally:
        built.close()


def sent(body: bytes, status: str = "200 OK", **headers: str) -> Script:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return answering("\r\n".join([*lines, "", ""]).encode() + body)


def test_an_image_comes_over_whole() -> None:
    with serving(sent(IMAGE)) as port, downloader() as images:
        assert images.fetch(f"http://127.0.0.1:{port}/a.webp?sig=1") == IMAGE


@pytest.mark.parametrize(
    "script",
    [
        sent(WEBP, Content_Encoding="aws-chunked"),
        sent(WEBP, Content_Encoding="gzip"),
        sent(gzip.compress(WEBP), Content_Encoding="gzip"),
        sent(zlib.compress(WEBP), Content_Encoding="deflate"),
        sent(WEBP, Content_Type="text/html"),
        sent(WEBP, "203 Non-Authoritative Information"),
        answering(OK + b"Content-Length: 9999\r\n\r\n" + WEBP),
        answering(OK + b"Content-Length: 9999\r\n\r\n" + PNG),
        answering(OK + b"Content-Length: 9999\r\n\r\n" + JPEG),
    ],
    ids=[
        *("aws-chunked", "not gzip", "gzip", "deflate", "text/html", "203"),
        *("longer WebP announced", "longer PNG announced", "longer JPEG announced"),
    ],
)
def test_what_is_an_image_is_not_lost_by_its_headers(script: Script) -> None:
    with serving(script) as port, downloader() as images:
        assert images.fetch(f"http://127.0.0.1:{port}/a.webp") in {WEBP, PNG, JPEG}


def test_an_international_name_is_allowed_in_the_form_that_dns_has() -> None:
    name = ("xn--bcher-kva.example",)

    def here(_: str, port: int, timeout: float | None) -> tuple[Endpoint, ...]:
        return resolve("127.0.0.1", port, timeout)

    with (
        serving(sent(IMAGE)) as port,
        downloader(allowed=name, allow_private=name, look_up=here) as images,
    ):
        assert images.fetch(f"http://bücher.example:{port}/a.webp") == IMAGE


def chunked(count: int) -> bytes:
    chunk = b"2710\r\n" + b"x" * 10_000 + b"\r\n"
    return OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * count


@pytest.mark.parametrize(
    ("script", "meant"),
    [
        (sent(b"", "403 Forbidden"), ImageExpired),
        (sent(b"", "404 Not Found"), ImageExpired),
        (sent(b"", "410 Gone"), ImageExpired),
        (sent(b"", "302 Found", Location="http://169.254.169.254/"), FetchFailed),
        (sent(b"", "302 Found"), ImageHostDown),
        (sent(b"", "503 Slow Down"), ImageHostDown),
        (sent(b"", "429 Too Many Requests", Retry_After="7"), ImageHostDown),
        (sent(b"x", "206 Partial Content"), ImageHostDown),
        (sent(b"<html>", Content_Type="text/html; charset=utf-8"), ImageHostDown),
        (sent(b" <?xml version='1.0'?><Error/>"), ImageHostDown),
        (sent(b"<Error><Code>SlowDown</Code></Error>"), ImageHostDown),
        (sent(b'{"message": "Service Unavailable"}'), ImageHostDown),
        (sent(b"\xef\xbb\xbf<!DOCTYPE html>"), ImageHostDown),
        (sent(b"", "401 Unauthorized"), ImageHostDown),
        (sent(b"", "400 Bad Request"), ImageHostDown),
        (sent(b"<Error><Code>ExpiredToken</Code></Error>", "400 Bad Request"), ImageExpired),
        (sent(b'{"code": "expired_auth_token"}', "401 Unauthorized"), ImageExpired),
        (sent(b"<Error><Code>InvalidToken</Code></Error>", "400 Bad Request"), ImageHostDown),
        (sent(b"x" * 3000 + b"<Code>ExpiredToken</Code>", "400 Bad Request"), ImageHostDown),
        (sent(b"<Error><Code>ExpiredToken</Code></Error>", "503 Slow Down"), ImageHostDown),
        (answering(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 50\r\n\r\ncut"), ImageHostDown),
        (sent(gzip.compress(bytes(10_000_000)), Content_Encoding="gzip"), FetchFailed),
        (sent(b""), ImageHostDown),
        (answering(OK + b"Content-Length: 50\r\n\r\nshort"), FetchFailed),
        (answering(chunked(1)), FetchFailed),
        (answering(b""), ImageHostDown),
        (answering(b"SSH-2.0-no\r\n"), ImageHostDown),
        (answering(OK + b"Content-Length: 100001\r\n\r\n"), ImageTooLarge),
        (answering(chunked(11)), ImageTooLarge),
    ],
    ids=[
        *("403", "404", "410", "redirect", "redirect to nowhere", "503", "429", "part"),
        *("web page", "XML", "XML without a prologue", "JSON", "web page with a BOM"),
        *("401", "400"),
        *(
            "expired, XML",
            "expired, JSON",
            "another code",
            "a code far away",
            "expired, 503",
            "cut 400",
        ),
        *("gzip bomb", "empty"),
        *("cut", "cut chunks", "closed", "no HTTP", "told too large", "too large"),
    ],
)
def test_each_way_to_fail_is_told_apart(script: Script, meant: type[JobError]) -> None:
    with serving(script) as port, downloader() as images, pytest.raises(JobError) as caught:
        images.fetch(f"http://127.0.0.1:{port}/a.webp?X-Amz-Signature=secret")

    assert type(caught.value) is meant
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "script",
    [silent, dripping(OK, b"X: 1\r\n"), dripping(OK + b"Content-Length: 9999\r\n\r\n", b"x")],
    ids=["silence", "headers", "body"],
)
def test_a_slow_host_is_left_when_the_total_is_over(script: Script) -> None:
    with serving(script) as port, downloader(timeout_seconds=0.5) as images:
        started_at = time.monotonic()
        with pytest.raises(ImageHostDown):
            images.fetch(f"http://127.0.0.1:{port}/a.webp")

        assert time.monotonic() - started_at < 10


def test_an_endless_image_takes_no_more_memory_than_the_cap() -> None:
    with serving(answering(chunked(5000))) as port, downloader() as images:
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            with pytest.raises(ImageTooLarge):
                images.fetch(f"http://127.0.0.1:{port}/a.webp")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert peak - before < 2_000_000


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("https://evil.example/a.webp", "does not allow"),
        ("https://127.0.0.1.evil.example/a.webp", "does not allow"),
        ("https://127.0.0.1:{port}@evil.example/", "has a user name in it"),
        ("https://user@127.0.0.1:{port}/", "has a user name in it"),
        ("ftp://127.0.0.1/a.webp", "not http or https"),
        ("file:///etc/passwd", "not http or https"),
        ("https://[::1", "an invalid URL"),
        ("https://xn--a/a.webp", "an invalid URL"),
        ("http://images.example/a.webp", "not https"),
        ("https://localhost:{port}/a.webp", "resolves to an address that is loopback"),
    ],
)
def test_an_address_that_is_not_allowed_is_never_connected_to(url: str, sentence: str) -> None:
    reached = Event()
    allowed = (*HERE, "localhost", "images.example")
    with (
        serving(lambda *_: reached.set()) as port,
        downloader(allowed=allowed) as images,
        pytest.raises((ImageInvalid, ImageHostForbidden), match=re.escape(sentence)),
    ):
        images.fetch(url.format(port=port))

    assert not reached.is_set()


#: Public by number and given to nobody (2d00::/8 is not allocated).
NOWHERE = "2d00::1"


@pytest.mark.parametrize(
    "answers",
    [
        [[NOWHERE], ["127.0.0.1"]],
        [[NOWHERE, "127.0.0.1"]],
        [["127.0.0.1", NOWHERE]],
        [["::ffff:127.0.0.1"]],
        [["64:ff9b::7f00:1"]],
        [["169.254.169.254"]],
    ],
)
def test_an_allowed_name_that_leads_inside_is_looked_up_once_and_not_connected_to(
    answers: list[list[str]],
) -> None:
    connected: list[int] = []
    with (
        serving(lambda connection, _: connected.append(connection.fileno())) as port,
        names({"asset.test": answers}) as served,
        downloader(
            allowed=("asset.test",),
            allow_private=(),
            timeout_seconds=1,
            look_up=look_up_at(served.port),
        ) as images,
    ):
        faults = []
        for _ in answers:
            with pytest.raises(JobError) as caught:
                images.fetch(f"https://asset.test:{port}/a.webp")
            faults.append(caught.type)
        assert served.asked["asset.test"] == len(answers)
    assert faults[-1] is ImageHostForbidden
    assert connected == []
