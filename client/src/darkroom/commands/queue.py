"""`darkroom queue`: for operators, with an operator key."""

from typing import Literal

from cyclopts import App

from darkroom.commands.connection import HERE, Where
from darkroom.commands.exits import DONE
from darkroom.commands.output import show_rows

queue = App(name="queue", help="Pause and resume the queues; needs an ops key.")

#: Image generation, and webhook delivery.
Name = Literal["generate", "deliver"]
_COLUMNS = ("name", "depth", "oldest_age_seconds", "in_flight", "paused", "blocked_by")


@queue.command
def status(*, where: Where = HERE) -> int:
    """Show the state of the queues, and why one is on hold."""
    with where.client("ops") as client:
        found = [one.raw for one in client.queues.list()]
    show_rows(found, _COLUMNS, as_json=where.json)
    return DONE


@queue.command
def pause(name: Name = "generate", *, where: Where = HERE) -> int:
    """Pause a queue: nothing new starts, running work continues. Deadlines still apply."""
    with where.client("ops") as client:
        show_rows([client.queues.pause(name).raw], _COLUMNS, as_json=where.json)
    return DONE


@queue.command
def resume(name: Name = "generate", *, where: Where = HERE) -> int:
    """Resume a queue."""
    with where.client("ops") as client:
        show_rows([client.queues.resume(name).raw], _COLUMNS, as_json=where.json)
    return DONE
