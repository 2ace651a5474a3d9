"""The two transports: they send the requests of an operation and return the replies."""

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, cast

import httpx

from darkroom.bodies import faults_in, write_body
from darkroom.config import ServiceConfig
from darkroom.errors import InvalidInput, NotConfigured
from darkroom.protocol import Answer, Item, NoAnswer, Reply, Request, Steps, Stream, T
from darkroom.proxies import Proxy, find_proxy

#: What httpx raises before the first byte of a request is sent.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Transport:
    """Send one request after the other, blocking."""

    def __init__(
        self,
        config: ServiceConfig,
        connections: int,
        timeout_seconds: float,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Build the connections; raise NotConfigured for an unusable environment."""
        proxy = None if transport else find_proxy(httpx.URL(config.url))
        self._source = _source(config, proxy)
        self._timeout_seconds = timeout_seconds

        def build() -> httpx.Client:
            return httpx.Client(
                base_url=config.url,
                headers=_headers(config),
                transport=transport or httpx.HTTPTransport(**_options(connections, proxy)),
            )

        self._build = build
        with _readable_certificates():
            self._client = build()
        self._process = os.getpid()

    def run(self, steps: Steps[T]) -> T:
        """Run an operation to its result."""
        try:
            request = next(steps)
            while True:
                request = steps.send(self._send(request))
        except StopIteration as end:
            return cast("T", end.value)

    def each(self, stream: Stream[T]) -> Iterator[T]:
        """Run an operation with several results, on demand."""
        reply: Reply | None = None
        while True:
            try:
                step = stream.send(cast("Reply", reply))
            except StopIteration:
                return
            if isinstance(step, Item):
                yield step.value
            else:
                reply = self._send(step)

    def _send(self, request: Request) -> Reply:
        if request.after_seconds:
            time.sleep(request.after_seconds)
        if self._process != os.getpid():  # after a fork, two processes would share connections
            self._client, self._process = self._build(), os.getpid()
        spelled = _spelled(request, self._timeout_seconds)
        try:
            answer = self._client.request(**spelled)
        except httpx.HTTPError as error:
            return _no_answer(self._source, error)
        return _answer(self._source, answer)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class AsyncSender:
    """Send one request after the other, on an event loop."""

    def __init__(
        self,
        config: ServiceConfig,
        connections: int,
        timeout_seconds: float,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Build the connections; raise NotConfigured for an unusable environment."""
        proxy = None if transport else find_proxy(httpx.URL(config.url))
        self._source = _source(config, proxy)
        self._timeout_seconds = timeout_seconds
        with _readable_certificates():
            self._client = httpx.AsyncClient(
                base_url=config.url,
                headers=_headers(config),
                transport=transport or httpx.AsyncHTTPTransport(**_options(connections, proxy)),
            )

    async def run(self, steps: Steps[T]) -> T:
        """Run an operation to its result."""
        try:
            request = next(steps)
            while True:
                request = steps.send(await self._send(request))
        except StopIteration as end:
            return cast("T", end.value)

    async def each(self, stream: Stream[T]) -> AsyncIterator[T]:
        """Run an operation with several results, on demand."""
        reply: Reply | None = None
        while True:
            try:
                step = stream.send(cast("Reply", reply))
            except StopIteration:
                return
            if isinstance(step, Item):
                yield step.value
            else:
                reply = await self._send(step)

    async def _send(self, request: Request) -> Reply:
        if request.after_seconds:
            await asyncio.sleep(request.after_seconds)
        spelled = _spelled(request, self._timeout_seconds)
        try:
            answer = await self._client.request(**spelled)
        except httpx.HTTPError as error:
            return _no_answer(self._source, error)
        return _answer(self._source, answer)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _headers(config: ServiceConfig) -> dict[str, str]:
    return {"Authorization": f"Bearer {config.key}", "User-Agent": "darkroom-python"}


def _options(connections: int, proxy: Proxy | None) -> dict[str, Any]:
    """Return the options of both transports."""
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    return {"limits": limits, "proxy": proxy and proxy.server}


@contextmanager
def _readable_certificates() -> Iterator[None]:
    """Raise NotConfigured for unusable certificate files named in the environment."""
    try:
        yield
    except OSError as error:
        reason = "no certificate is in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise NotConfigured(
            "A file that SSL_CERT_FILE, SSL_CERT_DIR or SSLKEYLOGFILE names cannot be used "
            f"({reason})."
        ) from None


def _source(config: ServiceConfig, proxy: Proxy | None) -> str:
    return f"Darkroom at {config.url}" + (f", asked through {proxy}," if proxy else "")


def _spelled(request: Request, timeout_seconds: float) -> dict[str, Any]:
    """Convert a request for httpx; raise InvalidInput for what cannot be encoded."""
    faults = list(faults_in(request.query, "/query"))
    if faults:
        raise InvalidInput.of(faults)
    spelled: dict[str, Any] = {
        "method": request.method,
        "url": request.path,
        "params": dict(request.query),
        "headers": dict(request.headers),
        "timeout": timeout_seconds + request.held_seconds,
    }
    if request.body is None:
        return spelled
    spelled["headers"]["Content-Type"] = "application/json"
    return {**spelled, "content": write_body(request.body)}


def _answer(source: str, answer: httpx.Response) -> Answer:
    return Answer(answer.status_code, answer.headers, answer.content, time.monotonic(), source)


def _no_answer(source: str, error: httpx.HTTPError) -> NoAnswer:
    sent = not isinstance(error, _NEVER_SENT)
    return NoAnswer(f"{source} did not answer ({_reason(error)}).", sent, time.monotonic())


def _reason(error: httpx.HTTPError) -> str:
    """Describe an error, without the headers that protocol errors quote."""
    if isinstance(error, httpx.ProtocolError):
        return "the connection was closed, or what answers there does not speak HTTP"
    # the class describes the error in one word; some have an empty text
    return str(error) or type(error).__name__
