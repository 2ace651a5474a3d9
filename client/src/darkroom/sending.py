"""The two senders: they send what an operation yields and hand back the reply. No rule is here."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import httpx

from darkroom.places import Place
from darkroom.wire import Answer, Found, NoAnswer, Reply, Request, Steps, Stream, T

#: What httpx raises before the first byte of a request has left.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Sender:
    """Sends one request after the other, blocking."""

    def __init__(self, client: httpx.Client, timeout_seconds: float) -> None:
        self._client = client
        self._timeout_seconds = timeout_seconds

    def run(self, steps: Steps[T]) -> T:
        """Run an operation to its result."""
        try:
            request = next(steps)
            while True:
                request = steps.send(self._send(request))
        except StopIteration as end:
            return cast("T", end.value)

    def each(self, stream: Stream[T]) -> Iterator[T]:
        """Run an operation of many results, as far as they are asked for."""
        reply: Reply | None = None
        while True:
            try:
                step = stream.send(cast("Reply", reply))
            except StopIteration:
                return
            if isinstance(step, Found):
                yield step.value
            else:
                reply = self._send(step)

    def _send(self, request: Request) -> Reply:
        if request.after_seconds:
            time.sleep(request.after_seconds)
        try:
            answer = self._client.request(**_spelled(request, self._timeout_seconds))
        except httpx.HTTPError as error:
            return _no_answer(self._client.base_url, error)
        return _answer(answer)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class AsyncSender:
    """Sends one request after the other, on an event loop."""

    def __init__(self, client: httpx.AsyncClient, timeout_seconds: float) -> None:
        self._client = client
        self._timeout_seconds = timeout_seconds

    async def run(self, steps: Steps[T]) -> T:
        """Run an operation to its result."""
        try:
            request = next(steps)
            while True:
                request = steps.send(await self._send(request))
        except StopIteration as end:
            return cast("T", end.value)

    async def each(self, stream: Stream[T]) -> AsyncIterator[T]:
        """Run an operation of many results, as far as they are asked for."""
        reply: Reply | None = None
        while True:
            try:
                step = stream.send(cast("Reply", reply))
            except StopIteration:
                return
            if isinstance(step, Found):
                yield step.value
            else:
                reply = await self._send(step)

    async def _send(self, request: Request) -> Reply:
        if request.after_seconds:
            await asyncio.sleep(request.after_seconds)
        try:
            answer = await self._client.request(**_spelled(request, self._timeout_seconds))
        except httpx.HTTPError as error:
            return _no_answer(self._client.base_url, error)
        return _answer(answer)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def client_options(place: Place, connections: int) -> dict[str, Any]:
    """Give what both kinds of httpx client are built with."""
    return {
        "base_url": place.url,
        "headers": {"Authorization": f"Bearer {place.key}", "User-Agent": "darkroom-python"},
        "limits": httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
    }


def _spelled(request: Request, timeout_seconds: float) -> dict[str, Any]:
    spelled: dict[str, Any] = {
        "method": request.method,
        "url": request.path,
        "params": dict(request.query),
        "headers": dict(request.headers),
        "timeout": timeout_seconds + request.held_seconds,
    }
    return spelled if request.body is None else {**spelled, "json": request.body}


def _answer(answer: httpx.Response) -> Answer:
    return Answer(answer.status_code, answer.headers, answer.content, time.monotonic())


def _no_answer(url: httpx.URL, error: httpx.HTTPError) -> NoAnswer:
    sent = not isinstance(error, _NEVER_SENT)
    # the class says what happened in one word; the text of some is empty
    why = f"Darkroom at {url} did not answer ({str(error) or type(error).__name__})."
    return NoAnswer(why, sent, time.monotonic())
