"""A small name server on loopback whose answers change as a test says, and the way to ask it.

One question (ANY) is one look-up and gets IPv4 and IPv6 addresses together, so that the server's
count is the number of times that a worker looked a name up. Wire format: RFC 1035, 4.1.
"""

import ipaddress
import itertools
import socket
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Event

from shared.net.ssrf import Endpoint, Resolver, resolve
from shared.net.timeouts import within
from tests.support.background import in_background

_HEAD = struct.Struct("!6H")
_RECORD = struct.Struct("!HHHIH")
_ANY, _IN, _IPV4, _IPV6 = 255, 1, 1, 28
_IS_ANSWER, _NO_SUCH_NAME = 0x8400, 3
#: "the name that was asked for", which stands right behind the head
_THE_NAME = 0xC000 | _HEAD.size
_FAMILIES = {_IPV4: socket.AF_INET, _IPV6: socket.AF_INET6}


class Names:
    """Answers each look-up of a name with the next of its answers, then always with the last."""

    def __init__(self, answers: Mapping[str, Sequence[Sequence[str]]], port: int) -> None:
        self.port = port
        self.asked: Counter[str] = Counter()
        self._answers = answers

    def answer(self, question: bytes) -> bytes:
        number, *_ = _HEAD.unpack_from(question)
        name = _read_name(question[_HEAD.size :])
        rounds = self._answers.get(name, [()])
        found = rounds[min(self.asked[name], len(rounds) - 1)]
        self.asked[name] += 1
        flags = _IS_ANSWER | (0 if found else _NO_SUCH_NAME)
        head = _HEAD.pack(number, flags, 1, len(found), 0, 0)
        return head + question[_HEAD.size :] + b"".join(map(_record, found))


def _record(address: str) -> bytes:
    packed = ipaddress.ip_address(address).packed
    kind = _IPV4 if len(packed) == 4 else _IPV6
    return _RECORD.pack(_THE_NAME, kind, _IN, 0, len(packed)) + packed


def _write_name(name: str) -> bytes:
    labels = name.rstrip(".").encode().split(b".")
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def _read_name(written: bytes) -> str:
    labels = []
    while written[0]:
        labels.append(written[1 : 1 + written[0]].decode())
        written = written[1 + written[0] :]
    return ".".join(labels)


@contextmanager
def names(answers: Mapping[str, Sequence[Sequence[str]]]) -> Iterator[Names]:
    """Serve these names until the block ends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.05)
        made = Names(answers, server.getsockname()[1])

        def serve(stopped: Event) -> None:
            while not stopped.is_set():
                with suppress(TimeoutError):
                    question, asker = server.recvfrom(512)
                    server.sendto(made.answer(question), asker)

        with in_background(serve):
            yield made


def look_up_at(port: int) -> Resolver:
    """Return what asks the server at `port` for names; addresses are read as ever."""
    numbers = itertools.count(1)

    def look_up(host: str, wanted_port: int, timeout: float | None) -> tuple[Endpoint, ...]:
        with suppress(ValueError):
            ipaddress.ip_address(host)
            return resolve(host, wanted_port, timeout)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(within(timeout))
            head = _HEAD.pack(next(numbers) & 0xFFFF, 0, 1, 0, 0, 0)
            question = head + _write_name(host) + struct.pack("!HH", _ANY, _IN)
            asking.sendto(question, ("127.0.0.1", port))
            found = tuple(_addresses(asking.recv(512), len(question)))
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return tuple(Endpoint(_FAMILIES[kind], (text, wanted_port)) for kind, text in found)

    return look_up


def _addresses(answer: bytes, start: int) -> Iterator[tuple[int, str]]:
    """Read the records behind the question."""
    _, _, _, count, _, _ = _HEAD.unpack_from(answer)
    for _ in range(count):
        _, kind, _, _, length = _RECORD.unpack_from(answer, start)
        start += _RECORD.size
        yield kind, str(ipaddress.ip_address(answer[start : start + length]))
        start += length
