"""`darkroom queue`: for operators, with an ops key."""

from typing import Literal

from cyclopts import App

from darkroom.commands.connection import HERE, Where
from darkroom.commands.exits import DONE
from darkroom.commands.output import show_rows

queue = App(name="queue", help="Pause and resume the queues; needs an ops key.")

#: Those who make the images, and those who tell of them.
Name = Literal["generate", "deliver"]
_COLUMNS = ("name", "depth", "oldest_age_seconds", "in_flight", "paused", "blocked_by")


@queue.command
def status(*, where: Where = HERE) -> int:
    """Show how the queues stand, and why nothing is given out of one."""
    with where.client("ops") as client:
        found = [one.raw for one in client.queues.list()]
    show_rows(found, _COLUMNS, as_json=where.json)
    return DONE


@queue.command
def pause(name: Name = "generate", *, where: Where = HERE) -> int:
    """Give nothing new out of a queue; what is begun goes on. Deadlines count all the same."""
    with where.client("ops") as client:
        show_rows([client.queues.pause(name).raw], _COLUMNS, as_json=where.json)
    return DONE


@queue.command
def resume(name: Name = "generate", *, where: Where = HERE) -> int:
    """Let a queue go on."""
    with where.client("ops") as client:
        show_rows([client.queues.resume(name).raw], _COLUMNS, as_json=where.json)
    return DONE
