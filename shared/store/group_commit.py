"""Run commands from asyncio: all that wait are sent in one write, and Redis syncs them once.

While Redis processes one group, the next one gathers, so concurrent requests share the cost of a
round trip and of a sync to disk (group commit). One connection achieves more than a pool.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

import hiredis
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import ConnectionError as ConnectionBroken
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError, ResponseError

from shared import metrics
from shared.errors import OutcomeUnknown, StoreDown, StoreError
from shared.store import durability
from shared.store.command import Command
from shared.store.connection import is_unknown, translate
from shared.store.durability import Replicas
from shared.store.functions import FunctionLibrary

T = TypeVar("T")

#: Commands in one group: more would block Redis for others too long.
MOST = 128
#: A broken or refused connection, or an unreadable reply.
BROKEN = (RedisError, OSError, UnicodeError)
#: What a command raises that cannot be encoded.
UNWRITABLE = (UnicodeEncodeError, TypeError)
#: Errors that the caller gets without translation.
_AS_IT_IS = (*UNWRITABLE, StoreError)
#: A connection that the server closed some time ago.
CLOSED = (ConnectionBroken, ConnectionError)


@dataclass(slots=True, eq=False)
class _Waiting(Generic[T]):
    call: Command[T]
    answer: "asyncio.Future[Any]"
    writes: bool
    sent: bool = False

    def settle(self, reply: object) -> None:
        if self.answer.done():
            return
        if isinstance(reply, _AS_IT_IS):
            self.answer.set_exception(reply)
        elif isinstance(reply, Exception):
            self.answer.set_exception(translate(reply, sent=self.sent and self.writes))
        else:
            self.answer.set_result(reply)


class GroupCommitClient:
    """Run commands over one connection, in groups."""

    def __init__(
        self,
        pool: ConnectionPool,
        scripts: FunctionLibrary,
        *,
        timeout_seconds: float,
        replicas: Replicas = durability.NONE,
    ) -> None:
        """Take a pool; `timeout_seconds` limits each command from its call to its reply.

        A write succeeds when this many `replicas` have it.
        """
        self._replicas = replicas
        self._pool = pool
        self._scripts = scripts
        self._timeout = timeout_seconds
        self._queue: deque[_Waiting[Any]] = deque()
        self._batch: Sequence[_Waiting[Any]] = ()
        self._more = asyncio.Event()
        self._connection: AbstractConnection | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start."""
        self._task = asyncio.create_task(self._serve(), name="committer")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, and close the connection."""
        while self._task and not self._task.done():
            self._task.cancel()  # Python 3.11's wait_for, inside redis-py, can swallow one
            await asyncio.wait({self._task}, timeout=0.05)
        await self._drop()
        for one in self._batch:
            one.settle(ConnectionBroken("closed"))
        for one in self._queue:
            one.settle(ConnectionBroken("closed"))

    async def run(self, call: Command[T]) -> T:
        """Run a command and return its result.

        Raise StoreDown (nothing was executed), OutcomeUnknown (a write was sent, and no reply came
        in time), StoreFull, StoreError, and what the command raises.
        """
        began = time.perf_counter()
        waiting: _Waiting[T] = _Waiting(
            call, asyncio.get_running_loop().create_future(), self._scripts.writes(call.script)
        )
        self._queue.append(waiting)
        self._more.set()
        try:
            async with asyncio.timeout(self._timeout):
                reply = await waiting.answer
        except TimeoutError:
            if waiting.sent and waiting.writes:
                raise OutcomeUnknown(
                    "Redis did not reply in time after a command was sent."
                ) from None
            raise StoreDown("Redis did not answer in time.") from None
        if call.script == "accept":
            metrics.ACCEPT_SECONDS.observe(time.perf_counter() - began)
        return call.read(reply)

    async def _serve(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            while self._queue:
                count = min(len(self._queue), MOST)
                batch = [self._queue.popleft() for _ in range(count)]
                self._batch = [one for one in batch if not one.answer.done()]
                if self._batch:
                    await self._commit(self._batch)
                self._batch = ()

    async def _commit(self, batch: Sequence[_Waiting[Any]]) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await self._commit_over_any(batch)
        except BROKEN as error:
            await self._drop()
            for one in batch:
                one.settle(error)

    async def _commit_over_any(self, batch: Sequence[_Waiting[Any]]) -> None:
        """Send a group; repeat it if the connection had long been closed.

        Every command is safe to repeat.
        """
        was_open = self._connection is not None
        try:
            await self._exchange(await self._connected(), batch)
        except CLOSED:
            if not was_open:
                raise
            await self._drop()
            rest = [one for one in batch if not one.answer.done()]
            await self._exchange(await self._connected(), rest)

    async def _connected(self) -> AbstractConnection:
        if self._connection is not None and _is_closed(self._connection):
            # known before anything is sent: current callers learn that nothing was executed
            await self._drop()
        if self._connection is None:
            self._connection = await self._pool.get_connection()
        return self._connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)

    async def _exchange(
        self, connection: AbstractConnection, batch: Sequence[_Waiting[Any]]
    ) -> None:
        """Send a group and settle its replies; load the library if the server does not have it."""
        unknown = await self._run_one(connection, batch)
        if unknown:
            is_loaded = await self._load(connection)
            for one in await self._run_one(connection, unknown, alone=not is_loaded):
                one.settle(ResponseError("Redis lost the functions right after they were loaded."))

    async def _run_one(
        self,
        connection: AbstractConnection,
        batch: Sequence[_Waiting[Any]],
        *,
        alone: bool = False,
    ) -> list[_Waiting[Any]]:
        """Send a group, settle each command on its reply; return those with unknown functions.

        `alone` sends each with its script, for a Redis that accepted no library.
        """
        packed = [(one, self._packed(one, alone=alone)) for one in batch]
        sent = [(one, command) for one, command in packed if command]
        for one, _ in sent:
            one.sent = True
        waits = self._replicas.count > 0 and any(one.writes for one, _ in sent)
        wait: Any = self._replicas.wait
        last = [hiredis.pack_command(wait)] if waits else []
        await connection.send_packed_command([*(command for _, command in sent), *last])
        unknown, written = [], []
        for one, _ in sent:
            reply = await _reply(connection)
            if isinstance(reply, ResponseError) and is_unknown(reply):
                unknown.append(one)
            elif waits and one.writes and not isinstance(reply, Exception):
                written.append((one, reply))
            else:
                one.settle(reply)
        doubt = self._replicas.doubt(await _reply(connection)) if waits else None
        for one, reply in written:
            one.settle(doubt or reply)
        return unknown

    async def _load(self, connection: AbstractConnection) -> bool:
        """Load the library; return False if Redis is too full for it."""
        command: Any = ("FUNCTION", "LOAD", "REPLACE", self._scripts.text)
        await connection.send_packed_command([hiredis.pack_command(command)])
        reply = await _reply(connection)
        if isinstance(reply, OutOfMemoryError):
            return False
        if isinstance(reply, Exception):
            raise reply
        return True

    def _packed(self, waiting: _Waiting[Any], *, alone: bool) -> bytes:
        """Encode a command; one that cannot be encoded fails alone, not with its group."""
        call, scripts = waiting.call, self._scripts
        name = call.script
        command_words = (
            ("EVAL", scripts.standalone(name)) if alone else ("FCALL", scripts.function(name))
        )
        try:
            # its stubs know only commands of one word
            command: Any = (*command_words, 0, *call.args)
            # redis-py packs in Python, which is half the cost of a command
            packed: bytes = hiredis.pack_command(command)
        except UNWRITABLE as error:
            waiting.settle(error)
            return b""
        return packed


def _is_closed(connection: AbstractConnection) -> bool:
    """Return whether the peer has closed or broken the connection."""
    reader: asyncio.StreamReader | None = getattr(connection, "_reader", None)
    return reader is not None and (reader.at_eof() or reader.exception() is not None)


async def _reply(connection: AbstractConnection) -> object:
    """Return the next reply; an error of one command is a value, so that others are read too."""
    try:
        # the group has a timeout; one per reply would cost 4 % of an accept
        return await connection.read_response(timeout=math.inf)
    except ReadOnlyError:
        raise  # a replica: the new primary must be looked up
    except ResponseError as error:
        return error
