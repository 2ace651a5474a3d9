"""Connections for threads, each kept from one exchange to the next.

redis-py's own way through its pool costs as much again as the exchange: a lock to take a connection
and one to give it back, the process looked up six times, and the system asked whether something
came unasked. What that would have found out, a connection that has gone, the exchange finds too.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

import redis
from redis.exceptions import ResponseError

from shared.store.operations import Argument

#: Stands for the count of failures of a connection that broke itself.
_BROKEN = -1


class Connections:
    """As many connections as threads exchange at the same time. Safe for threads."""

    def __init__(self, client: "redis.Redis") -> None:
        """Take them from the pool of `client`, which opens and closes them."""
        self._pool = client.connection_pool
        #: those that nobody uses now, with the count of failures when they were last used
        self._idle: deque[tuple[Any, int]] = deque()
        self._failures = 0

    def exchange(self, *commands: Sequence[Argument]) -> list[object]:
        """Send commands in one piece and give their replies; what Redis refused is its error.

        Raises ConnectionError and TimeoutError of redis-py, and OSError.
        """
        connection, failures = self._acquire()
        try:
            if failures != self._failures:
                # whatever broke one has likely broken this one too; sending would connect it,
                # but to where it was connected before: only this asks Sentinel who is the primary
                connection.disconnect()
                connection.connect()
            connection.send_packed_command(connection.pack_commands(commands))
            replies = [_reply(connection) for _ in commands]
        except BaseException:
            # a reply that comes later would be taken for the next one's
            connection.disconnect()
            self._failures += 1
            self._idle.append((connection, _BROKEN))
            raise
        self._idle.append((connection, self._failures))
        return replies

    def _acquire(self) -> tuple[Any, int]:
        try:
            return self._idle.pop()
        except IndexError:
            return self._pool.get_connection(), self._failures


def _reply(connection: Any) -> object:  # noqa: ANN401  the same
    try:
        return connection.read_response()
    except ResponseError as error:
        return error
