"""What goes to the service and what comes back, as values: no connection is opened here.

An operation is a generator (`Steps`): it yields each Request that it wants sent and is given the
Reply; what it returns is the result. So every rule of the client stands once, and the synchronous
and the asynchronous sender only send. An operation that gives many results (`Stream`) yields each
of them as `Item`, between its requests.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

import httpx

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    `held_seconds` is how long the service may hold its answer on purpose; `after_seconds` is how
    long to pause before it is sent. `again` says that sending it twice is as good as once.
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
    """What the service answered; header names are found in any case. `at` is seconds, monotonic.

    `source` says who was asked, and through which proxy.
    """

    status: int
    headers: httpx.Headers
    content: bytes
    at: float
    source: str = "Darkroom"


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Why no answer came. `sent`: the service may have read the request all the same."""

    reason: str
    sent: bool
    at: float


@dataclass(frozen=True, slots=True)
class Item(Generic[T]):
    """One result of several."""

    value: T


Reply: TypeAlias = Answer | NoAnswer
Steps: TypeAlias = Generator[Request, Reply, T]
Stream: TypeAlias = Generator[Request | Item[T], Reply, None]
