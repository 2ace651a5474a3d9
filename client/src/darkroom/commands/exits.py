"""The exit codes of the program.

| code | meaning |
|---|---|
| 0 | success |
| 1 | partial failure: a failed job or check, an image that is not saved, a webhook not accepted |
| 2 | invalid arguments or input; nothing was requested |
| 3 | refused: missing permission, not found, or impossible in the current state |
| 4 | the service is unavailable; the same command may work later |
| 130 | Ctrl-C |
"""

from darkroom.errors import (
    Conflict,
    DarkroomError,
    InvalidInput,
    NotConfigured,
    NotFound,
    StillRunning,
    Unauthorized,
    Unavailable,
    UsageError,
)

DONE = 0
FAILED = 1
USAGE = 2
REFUSED = 3
AWAY = 4
INTERRUPTED = 130


def exit_code(error: DarkroomError) -> int:
    """Return the exit code for an error."""
    kinds: tuple[tuple[int, tuple[type[DarkroomError], ...]], ...] = (
        (USAGE, (UsageError, InvalidInput, NotConfigured)),
        (REFUSED, (Unauthorized, NotFound, Conflict)),
        (AWAY, (Unavailable, StillRunning)),
    )
    return next((code for code, classes in kinds if isinstance(error, classes)), FAILED)
