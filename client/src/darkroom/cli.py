"""The `darkroom` program. Where the service is installed, it adds its own commands."""

import sys
from collections.abc import Sequence
from functools import partial
from importlib.metadata import entry_points, version
from typing import NoReturn

import cyclopts

from darkroom.commands import exits
from darkroom.commands.batches import batches
from darkroom.commands.generate import generate
from darkroom.commands.jobs import jobs
from darkroom.commands.mcp import mcp
from darkroom.commands.output import prepare_output, print_notice
from darkroom.commands.queue import queue
from darkroom.commands.usage import usage
from darkroom.commands.webhooks import webhooks
from darkroom.commands.wording import sentence_of
from darkroom.errors import DarkroomError

_OWN = (generate, jobs, batches, webhooks, usage, queue, mcp)
_EXITS = (
    "Exit codes: 0 success, 1 a job failed or a problem was found, 2 usage error, 3 refused, "
    "4 service unreachable, 130 interrupted."
)


def build(first: str = "") -> cyclopts.App:
    """Build the program: its own commands and those of installed packages.

    `first` is the first argument: if it is an own command, no other package is imported.
    """
    app = cyclopts.App(
        name="darkroom",
        help="Generate images through a Darkroom service, and run one.",
        help_epilogue=_EXITS,
        version=partial(version, "darkroom-client"),
        suppress_keyboard_interrupt=False,
    )
    for command in _OWN:
        app.command(command)
    if first in app and not first.startswith("-"):
        return app
    for entry in sorted(entry_points(group="darkroom.commands"), key=lambda entry: entry.name):
        app.command(entry.load(), name=entry.name)
    return app


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the program with these arguments; `darkroom.commands.exits` lists the exit codes.

    Without arguments, use those of the process.
    """
    prepare_output()
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = build(*arguments[:1])(
            arguments, exit_on_error=False, result_action="return_int_as_exit_code_else_zero"
        )
    except cyclopts.CycloptsError:
        code = exits.USAGE  # it has printed the fault
    except DarkroomError as error:
        print_notice(sentence_of(error))
        code = exits.exit_code(error)
    except BrokenPipeError:
        code = exits.DONE  # the reader of the results closed the pipe
    except OSError as error:  # of files: network errors are DarkroomErrors
        # of a failed rename, the second name is the one that was asked for
        name = error.filename2 or error.filename or "The disk"
        print_notice(f"{name}: {error.strerror or error}.")
        code = exits.FAILED
    except KeyboardInterrupt:
        code = exits.INTERRUPTED
    sys.exit(code)
