"""A loopback proxy for Redis that knows the scripts, and loses, delays or breaks their replies.

It reads RESP 2 in both directions, so that a fault strikes exactly one reply: that of a script
which the server has run, whose caller does not learn what came of it.
"""

import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal, Self
from urllib.parse import urlsplit

import hiredis

from shared.store.functions import FunctionLibrary
from shared.store.operations import all_operations

#: What happens to a reply: it never comes and the connection closes, it never comes and the
#: connection stays, it comes late, half of it comes, or a reset comes in its place.
Action = Literal["drop", "swallow", "delay", "cut", "reset"]
ANY = "*"
_PIECE_BYTES = 65536
_LINGER = struct.pack("ii", 1, 0)


@dataclass
class Rule:
    """What becomes of the next `times` replies of a script (`ANY`: of whatever command)."""

    script: str
    action: Action
    times: int = 1
    seconds: float = 0


class Proxy:
    """Stands before one Redis; everything passes until a rule says otherwise."""

    def __init__(self, redis_url: str, scripts: FunctionLibrary) -> None:
        """Take the Redis to stand before, and the scripts of those who ask through it."""
        parts = urlsplit(redis_url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 6379)
        self._names = names_by_function(scripts)
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pipes: list[_Pipe] = []
        self._closed = False
        #: how many replies were struck, since the last rule was set
        self.struck = 0

    @property
    def url(self) -> str:
        """The address of the proxy, for who is to meet its faults."""
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, name="proxy", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset_all()

    def set(self, *rules: Rule) -> None:
        """Put these rules in place of those before."""
        with self._lock:
            self._rules, self.struck = list(rules), 0

    def reset_all(self) -> None:
        """Reset every connection that is open now."""
        for pipe in list(self._pipes):
            pipe.close(reset=True)

    def strike(self, script: str, reply: bytes) -> Rule | None:
        """Return the rule that this reply falls under, and count it."""
        if reply.startswith(b"-ERR Function not found"):  # the script has not run yet
            return None
        with self._lock:
            for rule in self._rules:
                if rule.times > 0 and rule.script in {script, ANY}:
                    rule.times -= 1
                    self.struck += 1
                    return rule
        return None

    def name(self, command: Sequence[bytes]) -> str:
        """Name a command: the script that it runs, else its first word in small letters."""
        first = command[0].decode().lower()
        return self._names.get(command[1].decode(), first) if first == "fcall" else first

    def _serve(self) -> None:
        while not self._closed:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target, timeout=5)
            except OSError:
                caller.close()
                continue
            server.settimeout(None)
            pipe = _Pipe(self, caller, server)
            self._pipes.append(pipe)
            pipe.start()


class _Pipe:
    """One connection through the proxy: a thread each way."""

    def __init__(self, proxy: Proxy, caller: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._caller = caller
        self._server = server
        #: what was asked and is not answered yet
        self._asked: deque[str] = deque()

    def start(self) -> None:
        for work in (self._there, self._back):
            threading.Thread(target=self._run, args=(work,), name="proxy", daemon=True).start()

    def close(self, *, reset: bool = False) -> None:
        with suppress(OSError):
            if reset:
                self._caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
            else:
                self._caller.shutdown(socket.SHUT_RDWR)
        for end in (self._caller, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RD)
            end.close()

    def _run(self, work: Callable[[], None]) -> None:
        with suppress(OSError, ValueError):
            work()
        self.close()

    def _there(self) -> None:
        reader = hiredis.Reader()
        while piece := self._caller.recv(_PIECE_BYTES):
            reader.feed(piece)
            while (command := reader.gets()) is not False:
                self._asked.append(self._proxy.name(command))
            self._server.sendall(piece)

    def _back(self) -> None:
        kept = b""
        while piece := self._server.recv(_PIECE_BYTES):
            kept += piece
            while (end := end_of(kept)) is not None:
                reply, kept = kept[:end], kept[end:]
                if not self._answer(reply):
                    return

    def _answer(self, reply: bytes) -> bool:
        """Hand a reply on, or do to it what a rule says; False where that ends the connection."""
        script = self._asked.popleft() if self._asked else ""
        rule = self._proxy.strike(script, reply)
        action = rule.action if rule else None
        if rule and action == "delay":
            time.sleep(rule.seconds)
        if action == "cut":
            self._caller.sendall(reply[: len(reply) // 2])
        if action == "reset":
            self.close(reset=True)
        if action in {None, "delay"}:
            self._caller.sendall(reply)
        return action in {None, "delay", "swallow"}


def end_of(data: bytes, start: int = 0) -> int | None:
    """Return where the RESP 2 value at `start` ends; None where it is not whole yet."""
    line = data.find(b"\r\n", start)
    if line < 0:
        return None
    kind, told, end = data[start : start + 1], data[start + 1 : line], line + 2
    if kind == b"$" and int(told) >= 0:
        end += int(told) + 2
        return end if end <= len(data) else None
    for _ in range(int(told) if kind == b"*" else 0):
        inner = end_of(data, end)
        if inner is None:
            return None
        end = inner
    return end


def names_by_function(scripts: FunctionLibrary) -> Mapping[str, str]:
    """Return the names of scripts by what the wire calls them."""
    return {scripts.function(one.script): one.script for one in all_operations()}


@contextmanager
def proxied(redis_url: str, scripts: FunctionLibrary) -> Iterator[Proxy]:
    """Run a proxy before a Redis."""
    with Proxy(redis_url, scripts) as proxy:
        yield proxy
