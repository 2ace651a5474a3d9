"""Run commands from threads: the workers' client."""

from collections.abc import Callable
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
            seconds, micros = self._client.time()
        except (RedisError, OSError) as error:
            raise translate(error, sent=False) from error
        return float(seconds) * 1000 + float(micros) / 1000

    def delete_keys(self, matches: Callable[[str], object]) -> None:
        """Delete all keys whose names match. Raise StoreError."""
        try:
            for found in self._client.scan_iter(f"{PREFIX}*".replace("{", "[{]"), count=1000):
                if matches(str(found)):
                    self._client.unlink(found)
        except (RedisError, OSError) as error:
            raise translate(error, sent=True) from error

    def close(self) -> None:
        """Close all connections."""
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
        reply: object = self._client.execute_command(*command)
        return reply

    def _believed(self, *command: Argument) -> object:
        """Run a write, and wait in the same round trip until the replicas have it."""
        with self._client.pipeline(transaction=False) as pipe:
            pipe.execute_command(*command)
            pipe.execute_command(*self._replicas.wait)
            reply, have = pipe.execute(raise_on_error=False)
        doubt = reply if isinstance(reply, Exception) else self._replicas.doubt(have)
        if doubt is not None:
            raise doubt
        return cast("object", reply)
