"""Addresses, keys and proxies: what is cut, what is refused, and that nothing shows a key."""

import asyncio
import inspect
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

import darkroom
from darkroom.commands.connection import Where
from darkroom.config import load_config
from darkroom.errors import InvalidInput, NotConfigured, Unavailable
from darkroom.proxies import find_proxy, is_loopback
from darkroom.retries import RetryPolicy

SECRET = "dk_ThisIsTheKey"
URL = "http://127.0.0.1:9"

Way = Callable[[str, str, Path, pytest.MonkeyPatch], None]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("URL", "API_KEY", "OPS_KEY", "STACK"):
        monkeypatch.delenv(f"DARKROOM_{name}", raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.chdir(tmp_path)


def environment(url: str, key: str, _: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_URL", url)
    monkeypatch.setenv("DARKROOM_API_KEY", key)
    darkroom.Client().close()


def options(url: str, key: str, _: Path, __: pytest.MonkeyPatch) -> None:
    where = Where(url=url, key=key)
    assert SECRET not in repr(where)
    with where.client():
        pass


def stack(url: str, key: str, folder: Path, _: pytest.MonkeyPatch) -> None:
    (folder / "stack.json").write_text(json.dumps({"api": url, "api_key": key}))
    darkroom.Client(stack=folder / "stack.json").close()


def constructor(url: str, key: str, _: Path, __: pytest.MonkeyPatch) -> None:
    with darkroom.Client(url, key) as client:
        assert SECRET not in repr(client)


def async_constructor(url: str, key: str, _: Path, __: pytest.MonkeyPatch) -> None:
    asyncio.run(darkroom.AsyncClient(url, key).close())


WAYS = (environment, options, stack, constructor, async_constructor)


def find(url: str, key: str, _: Path, __: pytest.MonkeyPatch) -> None:
    load_config(url, key)


@pytest.mark.parametrize(
    ("way", "before", "after"),
    [
        *((way, "“", "”") for way in WAYS),
        *((find, '"', '"'), (find, "", "\nX: y"), (find, "", " x"), (find, "\u200b", "")),
        *((find, "", "é"), (find, "", "\udce9"), (find, "Bearer ", "")),
    ],
)
def test_a_key_that_no_header_carries_is_refused_in_every_way_to_configure_it_and_never_shown(
    way: Way, before: str, after: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotConfigured) as refused:
        way(URL, f"{before}{SECRET}{after}", tmp_path, monkeypatch)
    assert SECRET not in repr(refused.getrepr(showlocals=False))
    assert "has a character that no key has (U+" in str(refused.value)
    assert (refused.value.__cause__, refused.value.__context__) == (None, None)


@pytest.mark.parametrize(
    ("way", "blank"),
    [
        *((way, "\n") for way in WAYS),
        *((find, blank) for blank in ("\r\n", " ", "\t", "\u00a0", "\ufeff", "\ufeff \n")),
    ],
)
def test_blanks_and_a_mark_around_a_key_and_an_address_are_cut(
    way: Way, blank: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    way(f"{blank}{URL}{blank}", f"{blank}{SECRET}{blank}", tmp_path, monkeypatch)
    config = load_config(f"{blank}HTTP://Host:8000/x/{blank}", f"{blank}{SECRET}{blank}")
    assert (config.url, config.key) == ("http://host:8000/x", SECRET)


@pytest.mark.parametrize("way", [environment, find])
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:port", "check its host and its port (1 to 65535)"),
        ("http://127.0.0.1:0", "check its host"),
        ("http://127.0.0.1:65536", "check its host"),
        ("http://", "check its host"),
        ("http://a..b", "check its host"),
        ("http://" + "a" * 64, "check its host"),
        ("http://a b", "check its host"),
        ("http://[::1", "check its host"),
        ("http://999.1.1.1", "check its host"),
        ("http://“h”", "check its host"),
        ("http://h\nX: y", "check its host"),
        ("“http://h”", "does not begin with http"),
        ("127.0.0.1:8000", "does not begin with http"),
        (SECRET, "does not begin with http"),
        (f"http://user:{SECRET}@h", "must have no user, password"),
        (f"http://h?key={SECRET}", "query or fragment"),
        ("http://h#there", "query or fragment"),
        ("http://h/v1", "ends in /v1: leave that out"),
        ("http://h/x/v1/", "ends in /v1"),
    ],
)
def test_an_address_that_cannot_be_asked_is_refused_without_quoting_it(
    way: Way, url: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotConfigured) as refused:
        way(url, SECRET, tmp_path, monkeypatch)
    assert says in str(refused.value)
    assert SECRET not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["http://[::1]:8000", "https://bücher.example", "http://n8n_1", "http://h."]
)
def test_addresses_of_every_kind_are_taken(url: str) -> None:
    assert load_config(url, SECRET).url == str(httpx.URL(url))


@pytest.mark.parametrize("text", ['{"api": 5, "api_key": "x"}', "{", "[" * 100_000, "\udcff"])
def test_a_stack_file_that_says_nothing_usable_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.json").write_text(text, errors="surrogateescape")
    with pytest.raises(NotConfigured, match=r"is not text|cannot be read as a"):
        darkroom.Client(stack=tmp_path / "s.json")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:9", "ALL_PROXY names a SOCKS proxy"),
        (
            "HTTP_PROXY",
            f"http://u:{SECRET[:5]}#{SECRET}@h:1",
            "HTTP_PROXY is not the URL of a proxy",
        ),
        ("http_proxy", "ftp://h", "HTTP_PROXY is not the URL of a proxy"),
        ("HTTP_PROXY", "“http://h:1”", "HTTP_PROXY is not the URL"),
        ("HTTP_PROXY", "http://h:port", "HTTP_PROXY is not the URL"),
        ("HTTP_PROXY", "http://", "HTTP_PROXY is not the URL"),
        ("SSL_CERT_FILE", "/nowhere.pem", "SSL_CERT_DIR or SSLKEYLOGFILE names cannot be used"),
        ("SSL_CERT_FILE", __file__, "names cannot be used (no certificate is in it)"),
    ],
)
def test_what_the_environment_says_wrong_of_proxies_and_certificates_is_one_sentence(
    name: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    for build in (darkroom.Client, darkroom.AsyncClient):
        with pytest.raises(NotConfigured) as refused:
            build("http://darkroom.example", SECRET)
        assert says in str(refused.value)
        assert SECRET not in str(refused.value)


def test_this_machine_is_asked_directly_and_others_through_the_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "user:password@proxy:3128\n")
    monkeypatch.setenv("ALL_PROXY", "http://all")
    monkeypatch.setenv("NO_PROXY", "inside.example,10.0.0.1")
    for host in ("127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST.", "a.localhost", "[::1]"):
        assert find_proxy(httpx.URL(f"http://{host}:8000")) is None
    for host in ("inside.example", "x.inside.example", "10.0.0.1"):
        assert find_proxy(httpx.URL(f"http://{host}")) is None
    assert str(find_proxy(httpx.URL("http://darkroom"))) == (
        "the proxy http://proxy:3128 (HTTP_PROXY)"
    )
    assert str(find_proxy(httpx.URL("https://darkroom"))) == "the proxy http://all (ALL_PROXY)"
    assert not is_loopback("128.0.0.1")


def test_what_happened_to_a_request_is_said_without_its_headers() -> None:
    def service(request: httpx.Request) -> httpx.Response:
        raise httpx.LocalProtocolError(f"Illegal header value {request.headers['authorization']!r}")

    transport = httpx.MockTransport(service)
    with darkroom.Client(
        URL, SECRET, transport=transport, retry_policy=RetryPolicy(retries=0)
    ) as client:
        with pytest.raises(Unavailable) as away:
            client.jobs.get("job_1")
        assert SECRET not in str(away.value)


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"seed": float("nan")}, "/input/seed"),
        ({"seed": 2**64}, "/input/seed"),
        ({"tags": ["a\ud83d"]}, "/tags/0"),
        ({"metadata": {"a/b": Path()}}, "/metadata/a~1b"),
        ({"input": 5}, "/input"),
        ({"idempotency_key": "a\nb"}, "/idempotency_key"),
        ({"idempotency_key": "“a”"}, "/idempotency_key"),
        ({"idempotency_key": "a" * 256}, "/idempotency_key"),
    ],
)
def test_what_cannot_be_written_is_named_and_nothing_is_sent(
    options: dict[str, object], pointer: str
) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(500))
    with darkroom.Client(URL, SECRET, transport=transport) as client:
        submit: Callable[..., object] = client.submit
        with pytest.raises(InvalidInput) as refused:
            submit("x", **options)
    assert [fault.pointer for fault in refused.value.faults] == [pointer]


def test_an_answer_of_another_service_is_said_to_be_none() -> None:
    answers = iter(
        [
            httpx.Response(200, json={"ok": True}),
            httpx.Response(502, html="<h1>Bad Gateway</h1>"),
            httpx.Response(404, json={"error": "no"}),
        ]
    )
    transport = httpx.MockTransport(lambda _: next(answers))
    with darkroom.Client(
        URL, SECRET, transport=transport, retry_policy=RetryPolicy(retries=0)
    ) as client:
        for status in ("200", "502", "404"):
            with pytest.raises(darkroom.DarkroomError, match=f"is not Darkroom: {status}, "):
                list(client.jobs.list())


def test_both_clients_have_the_same_methods() -> None:
    parts = ("jobs", "batches", "webhooks", "queues")
    plain, other = darkroom.Client(URL, SECRET), darkroom.AsyncClient(URL, SECRET)
    pairs = [(getattr(plain, part), getattr(other, part)) for part in parts]
    for one, two in [*pairs, (plain.webhooks.endpoints, other.webhooks.endpoints)]:
        names = [
            {name for name, _ in inspect.getmembers(of, inspect.ismethod) if name[0] != "_"}
            for of in (one, two)
        ]
        assert names[0] == names[1] != set()
    plain.close()
    asyncio.run(other.close())


@pytest.mark.parametrize(
    ("body", "secret"), [("{}", ""), ("[]", "whsec_x"), ("{}", "“whsec_eA==”"), (b"\xff", "x")]
)
def test_a_webhook_that_cannot_be_checked_is_none(body: str | bytes, secret: str) -> None:
    with pytest.raises(darkroom.WebhookInvalid):
        darkroom.webhooks.verify(body, {}, secret)
