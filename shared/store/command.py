"""An operation on the store as a value: which script, on which keys, and how to read its answer.

Building a call does nothing. `shared.store.client.Store` (threads) and `shared.store.group_commit.
Committer` (asyncio, many in one round trip) send them; so each operation stands once, in the module
of whoever needs it: `asking`, `moves`, `upkeep`, `deliveries`, `reading`, `tenants`. All are safe
to send again after a lost reply: accept by its job id, a claim by its nonce, a worker's move by
(job, fence, move), a client's by a word of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

PREFIX = "{dr}:"
T_co = TypeVar("T_co", covariant=True)
Argument = str | int | float


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """One script to run. `read` makes the answer of the reply, and raises what it refuses."""

    script: str
    keys: tuple[str, ...]
    args: tuple[Argument, ...]
    read: Callable[[Any], T_co]
    writes: bool = True


def job_key(job_id: str) -> str:
    """Name a job's record."""
    return f"{PREFIX}job:{job_id}"


def state_list(states: frozenset[Any]) -> str:
    """Write states as the scripts read them."""
    return " ".join(sorted(state.value for state in states))
