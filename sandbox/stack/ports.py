"""Where the stack listens: the same ports as last time where they are free, else others."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sandbox.servers import free_port, is_free
from sandbox.stack.plan import Ports
from shared.errors import DarkroomError

DEFAULT_PORT = 8000


class PortTaken(DarkroomError):
    """The port that was asked for cannot be had."""


def choose(
    remembered: Mapping[str, Any],
    *,
    asked: int | None,
    workers: int,
    taken: Callable[[int], bool] = lambda port: not is_free(port),
) -> Ports:
    """Choose every port. Raises PortTaken when the one `asked` for is not free."""
    if asked is not None and taken(asked):
        raise PortTaken(
            f"Port {asked} is taken; stop what listens there, or give another with --port."
        )
    known = remembered.get("metrics", ())
    used: set[int] = set()

    def pick(*wanted: object) -> int:
        port = next(_usable(wanted, used, taken), None) or _other(used)
        used.add(port)
        return port

    return Ports(
        api=pick(asked) if asked is not None else pick(DEFAULT_PORT, remembered.get("api")),
        redis=pick(remembered.get("redis")),
        s3=pick(remembered.get("s3")),
        provider=pick(remembered.get("provider")),
        metrics=tuple(pick(known[n] if n < len(known) else None) for n in range(workers + 1)),
    )


def _usable(
    wanted: Iterable[object], used: set[int], taken: Callable[[int], bool]
) -> Iterator[int]:
    return (p for p in wanted if isinstance(p, int) and p not in used and not taken(p))


def _other(used: set[int]) -> int:
    return next(port for port in iter(free_port, None) if port not in used)
