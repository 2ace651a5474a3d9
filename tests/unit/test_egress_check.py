"""Which answers of an egress proxy show that it fails; the proxies here answer by the port."""

import socketserver
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier

import pytest

from sandbox.servers import free_port
from shared.net.egress import EgressProxy
from shared.net.egress_check import EgressCheck
from tests.support.background import in_service

PROVIDER, STORAGE = ("api.example.com", 443), ("storage.example.com", 9000)
#: No answer at all: the proxy closes the connection.
CLOSES = 0


class _Proxy(socketserver.ThreadingTCPServer):
    def __init__(self, answers: Mapping[tuple[str, int], int]) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self.answers = answers
        self.asked: list[tuple[str, int]] = []


class _Tunnel(socketserver.StreamRequestHandler):
    server: _Proxy

    def handle(self) -> None:
        _, target, _ = self.rfile.readline().decode().split()
        while self.rfile.readline().strip():
            pass
        host, _, port = target.rpartition(":")
        self.server.asked.append((host, int(port)))
        if status := self.server.answers[host, int(port)]:
            self.wfile.write(f"HTTP/1.1 {status} Answer\r\n\r\n".encode())


@contextmanager
def proxy(provider: int, storage: int) -> Iterator[_Proxy]:
    with _Proxy({PROVIDER: provider, STORAGE: storage}) as running, in_service(running):
        yield running


def check(port: int, *, direct_hosts: Sequence[str] = ()) -> EgressCheck:
    with_direct = EgressProxy("127.0.0.1", port, direct_hosts=tuple(direct_hosts))
    return EgressCheck(with_direct, [PROVIDER, STORAGE])


@pytest.mark.parametrize(
    ("provider", "storage", "direct_hosts", "works"),
    [
        (200, 503, (), True),
        (503, 200, (), True),
        (403, 403, (), True),  # it works, and its rules forbid both
        (503, 503, (), False),
        (407, 407, (), False),
        (CLOSES, CLOSES, (), False),
        # a refusal says nothing about the network behind the proxy
        (503, 403, (), False),
        # nor does a host in one's own network
        (503, 200, ("storage.example.com",), False),
        (200, 503, ("storage.example.com",), True),
        # where it need not lead to either, any answer shows that it works
        (503, 503, ("storage.example.com", "api.example.com"), True),
        (407, 407, ("storage.example.com", "api.example.com"), False),
    ],
)
def test_a_proxy_fails_if_it_leads_to_none_of_the_hosts_that_need_it(
    provider: int, storage: int, direct_hosts: Sequence[str], *, works: bool
) -> None:
    with proxy(provider, storage) as running:
        failure = check(running.server_address[1], direct_hosts=direct_hosts).failure()
    assert (failure == "") is works


def test_threads_share_the_news_of_a_failure_and_ask_again_of_a_proxy_that_works() -> None:
    with proxy(503, 503) as running:
        failing = check(running.server_address[1])
        assert len({failing.failure() for _ in range(5)}) == 1
        assert running.asked == [PROVIDER, STORAGE]
    with proxy(200, 503) as running:
        working = check(running.server_address[1])
        assert {working.failure() for _ in range(3)} == {""}
        assert running.asked == [PROVIDER] * 3


def test_threads_that_ask_at_the_same_time_share_a_check_of_a_proxy_that_works() -> None:
    with proxy(200, 503) as running:
        working = check(running.server_address[1])
        threads = 20
        begin = Barrier(threads)

        def ask(_: int) -> str:
            begin.wait()
            return working.failure()

        with ThreadPoolExecutor(threads) as pool:
            assert set(pool.map(ask, range(threads))) == {""}
        assert 1 <= len(running.asked) < threads / 2


def test_a_proxy_that_is_away_fails_and_no_proxy_does_not() -> None:
    assert "cannot be reached" in check(free_port()).failure()
    assert EgressCheck(None, [PROVIDER]).failure() == ""
