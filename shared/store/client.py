"""Run commands from threads: the workers' client."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import redis
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from shared.errors import OutcomeUnknown, StoreDown
from shared.store import durability
from shared.store.command import Command
from shared.store.connection import is_unknown, translate
from shared.store.durability import Replicas
from shared.store.functions import LIBRARIES_KEPT, FunctionLibrary
from shared.store.keys import PREFIX
from shared.store.operations import Argument

T = TypeVar("T")


class Store:
    """Run commands, one round trip each, with one connection per running thread."""

    def __init__(
        self, client: "redis.Redis", scripts: FunctionLibrary, replicas: Replicas = durability.NONE
    ) -> None:
        """Take a client of `shared.store.connection`, the functions, and required replicas."""
        self._client = client
        self._scripts = scripts
        self._replicas = replicas
        #: connections that no thread uses now; the pool counts them as in use
        self._idle: list[redis.Connection] = []

    def run(self, call: Command[T]) -> T:
        """Run a command and return its result.

        A broken connection is retried once on a new one, because every command is safe to repeat.
        Raise StoreDown, OutcomeUnknown, StoreFull, StoreError, and what the command raises.
        """
        try:
            return call.read(self._send(call))
        except (StoreDown, OutcomeUnknown):
            return call.read(self._send(call))

    def now_ms(self) -> float:
        """Return Redis' clock, in milliseconds since 1970. Raise StoreError."""
        try:
            seconds, micros = cast("list[str]", self._executed("TIME"))
        except (RedisError, OSError) as error:
            raise translate(error, sent=False) from error
        return float(seconds) * 1000 + float(micros) / 1000

    def delete_keys(self, matches: Callable[[str], object]) -> None:
        """Delete all keys whose names match. Raise StoreError."""
        pattern = f"{PREFIX}*".replace("{", "[{]")
        cursor = "0"
        try:
            while True:
                scanned = self._executed("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
                cursor, names = cast("tuple[str, list[str]]", scanned)
                if found := [name for name in names if matches(name)]:
                    self._executed("UNLINK", *found)
                if cursor == "0":
                    return
        except (RedisError, OSError) as error:
            raise translate(error, sent=True) from error

    def close(self) -> None:
        """Close all connections."""
        self._release_idle()
        self._client.close()

    def _send(self, call: Command[T]) -> object:
        command = (0, *call.args)  # without keys: a cluster is refused
        function = self._scripts.function(call.script)
        writes = self._scripts.writes(call.script)
        execute = self._believed if writes and self._replicas.count else self._executed
        try:
            try:
                return execute("FCALL", function, *command)
            except ResponseError as error:
                if not is_unknown(error):
                    raise
            if self._load():
                return execute("FCALL", function, *command)
            return execute("EVAL", self._scripts.standalone(call.script), *command)
        except (RedisError, OSError) as error:
            raise translate(error, sent=writes) from error

    def _load(self) -> bool:
        """Load the library; return False if Redis is too full for it."""
        try:
            self._executed("FUNCTION", "LOAD", "REPLACE", self._scripts.text)
        except OutOfMemoryError:
            return False
        found: Any = self._executed("FUNCTION", "LIST", "LIBRARYNAME", self._scripts.PATTERN)
        names = {str(library[1]) for library in found} - {self._scripts.library_name}
        if len(names) >= LIBRARIES_KEPT:
            for name in names:
                self._delete(name)
        return True

    def _delete(self, library: str) -> None:
        try:
            self._executed("FUNCTION", "DELETE", library)
        except ResponseError as error:
            # another process that makes room was faster
            if str(error) != "Library not found":
                raise

    def _executed(self, *command: Argument) -> object:
        (reply,) = self._exchange(command)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _believed(self, *command: Argument) -> object:
        """Run a write, and wait in the same round trip until the replicas have it."""
        reply, have = self._exchange(command, self._replicas.wait)
        doubt = reply if isinstance(reply, Exception) else self._replicas.doubt(have)
        if doubt is not None:
            raise doubt
        return reply

    def _exchange(self, *commands: Sequence[Argument]) -> list[object]:
        """Send commands in one round trip, and return their replies; a ResponseError is one.

        An idle connection is used as it is: redis-py's pool would ask the system about it, and its
        `execute_command` counts for telemetry, a quarter of the CPU time of a round trip. When a
        connection turns out to be broken, the pool gets all idle ones back: it checks each before
        it is used again.
        """
        connection = self._connection()
        try:
            connection.send_packed_command(connection.pack_commands(commands))
            replies = [_reply(connection) for _ in commands]
        except BaseException:
            connection.disconnect()
            self._idle.append(connection)
            self._release_idle()
            raise
        self._idle.append(connection)
        return replies

    def _connection(self) -> "redis.Connection":
        try:
            return self._idle.pop()
        except IndexError:
            return self._client.connection_pool.get_connection()

    def _release_idle(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._client.connection_pool.release(self._idle.pop())


def _reply(connection: "redis.Connection") -> object:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error
