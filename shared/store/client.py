"""Runs calls from threads: what the workers use."""

from typing import TypeVar

import redis
from redis.exceptions import NoScriptError, RedisError

from shared.errors import OutcomeLost, StoreDown
from shared.store import replicas
from shared.store.call import Argument, Call
from shared.store.connect import translate
from shared.store.replicas import Replicas
from shared.store.scripts import Scripts

T = TypeVar("T")


class Store:
    """Runs calls over a pool of connections, one round trip each."""

    def __init__(
        self, client: "redis.Redis", scripts: Scripts, replicas: Replicas = replicas.NONE
    ) -> None:
        """Take a client (of `shared.store.connect`), the scripts, and who must have a write."""
        self._client = client
        self._scripts = scripts
        self._replicas = replicas

    def run(self, call: Call[T]) -> T:
        """Run a call and give what its answer means.

        A connection that broke is tried again once, on a new one: every call can be sent twice.
        Raises StoreDown, OutcomeLost, StoreFull, StoreError, and what the call itself raises.
        """
        try:
            return call.read(self._send(call))
        except (StoreDown, OutcomeLost):
            return call.read(self._send(call))

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _send(self, call: Call[T]) -> object:
        script = self._scripts[call.script]
        command = (script.sha, len(call.keys), *call.keys, *call.args)
        execute = self._believed if call.writes and self._replicas.count else self._executed
        try:
            try:
                return execute("EVALSHA", *command)
            except NoScriptError:
                self._client.execute_command("SCRIPT LOAD", script.text)
                return execute("EVALSHA", *command)
        except (RedisError, OSError) as error:
            raise translate(error, sent=call.writes) from error

    def _executed(self, *command: Argument) -> object:
        return self._client.execute_command(*command)

    def _believed(self, *command: Argument) -> object:
        """Run a write, and wait in the same round trip until the replicas have it."""
        with self._client.pipeline(transaction=False) as pipe:
            pipe.execute_command(*command)
            pipe.execute_command(*self._replicas.wait)
            reply, have = pipe.execute(raise_on_error=False)
        doubt = reply if isinstance(reply, Exception) else self._replicas.doubt(have)
        if doubt is not None:
            raise doubt
        return reply
