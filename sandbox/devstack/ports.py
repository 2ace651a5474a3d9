"""The ports of the stack: the same as last time if they are free, else others."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sandbox.devstack.plan import Ports
from sandbox.servers import free_port, is_free, reserve
from shared.errors import DarkroomError

DEFAULT_PORT = 8000
NUMBERS = range(1, 65536)


class PortTaken(DarkroomError):
    """The requested port is not available."""


def choose(
    remembered: Mapping[str, Any],
    *,
    requested: int | None,
    workers: int,
    usable: Callable[[int], bool] = reserve,
) -> Ports:
    """Choose all ports. Raise PortTaken if the `requested` one is not free.

    Stacks that start at the same time choose different ones. Another program may still take one
    before a server listens on it: then they are chosen again.
    """
    if requested is not None and not is_free(requested):
        raise PortTaken(
            f"Port {requested} is taken; stop what listens there, or give another with --port."
        )
    metrics = remembered.get("metrics")
    previous = metrics if isinstance(metrics, list) else []
    used: set[int] = set()

    def pick(*wanted: object) -> int:
        port = next(_usable(wanted, used, usable), None) or _other(used)
        used.add(port)
        return port

    if requested is not None:
        used.add(requested)
    return Ports(
        api=requested if requested is not None else pick(DEFAULT_PORT, remembered.get("api")),
        redis=pick(remembered.get("redis")),
        s3=pick(remembered.get("s3")),
        provider=pick(remembered.get("provider")),
        metrics=tuple(pick(previous[n] if n < len(previous) else None) for n in range(workers + 1)),
    )


def _usable(
    wanted: Iterable[object], used: set[int], usable: Callable[[int], bool]
) -> Iterator[int]:
    numbers = (p for p in wanted if isinstance(p, int) and p in NUMBERS)
    return (port for port in numbers if port not in used and usable(port))


def _other(used: set[int]) -> int:
    return next(port for port in iter(free_port, None) if port not in used)
