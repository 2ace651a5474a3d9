"""Requests and responses as values: no connection is opened here.

An operation is a generator (`Steps`): it yields each Request to send and receives the Reply; what
it returns is the result. So all logic of the client exists once, and the blocking and the asyncio
transport only send. An operation with several results (`Stream`) yields each of them as `Item`,
between its requests.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

import httpx

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """A request.

    `held_seconds` is how long the service may hold its response on purpose; `after_seconds` is how
    long to wait before sending. `idempotent` is whether it is safe to repeat.
    """

    method: str
    path: str
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    idempotent: bool = True
    held_seconds: float = 0
    after_seconds: float = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; header names are case-insensitive. `at` is seconds, monotonic.

    `source` is the URL asked, and the proxy.
    """

    status: int
    headers: httpx.Headers
    content: bytes
    at: float
    source: str = "Darkroom"


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Why no response came. `sent`: the service may have read the request."""

    reason: str
    sent: bool
    at: float


@dataclass(frozen=True, slots=True)
class Item(Generic[T]):
    """One of several results."""

    value: T


Reply: TypeAlias = Answer | NoAnswer
Steps: TypeAlias = Generator[Request, Reply, T]
Stream: TypeAlias = Generator[Request | Item[T], Reply, None]
