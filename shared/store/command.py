"""A store operation as a value: its arguments, and how to read its reply.

Building a command does nothing. `shared.store.client.Store` (threads) and
`shared.store.group_commit.GroupCommitClient` (asyncio, many in one round trip) send it. All are
safe to repeat after a lost reply: accept by its job id, a claim by its nonce, a worker's transition
by (job, fence, transition), a client's by its own token.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from shared.errors import TenantDeleting
from shared.store.operations import Argument, Operation

T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Command(Generic[T_co]):
    """One operation to run. `read` turns the reply into the result, and raises refusals."""

    operation: Operation
    read: Callable[[Any], T_co]

    def then(self, convert: Callable[[T_co], U]) -> "Command[U]":
        """Return this command with its result converted."""
        return Command(self.operation, lambda reply: convert(self.read(reply)))

    @property
    def script(self) -> str:
        """Return the name of the Lua function."""
        return self.operation.script

    @property
    def args(self) -> list[Argument]:
        """Return the arguments of the Lua function."""
        return self.operation.arguments()


def raise_if_deleting(word: str, tenant: str) -> None:
    """Raise TenantDeleting if an operation refused to write for a tenant that is being deleted."""
    if word == "deleting":
        raise TenantDeleting(f"The tenant {tenant} is being deleted; try again when it is done.")
