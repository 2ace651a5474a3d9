"""What the program ends with: the one place where its exit codes stand.

| code | says |
|---|---|
| 0 | done |
| 1 | done, and not well: a job failed, a webhook was not taken, a check found fault |
| 2 | the words or the input are wrong; nothing was asked for |
| 3 | refused: the key may not, there is no such thing, or it cannot be as things stand |
| 4 | the service is away or cannot take work now; the same command may work later |
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
    """Give the code that an error ends the program with."""
    kinds: tuple[tuple[int, tuple[type[DarkroomError], ...]], ...] = (
        (USAGE, (UsageError, InvalidInput, NotConfigured)),
        (REFUSED, (Unauthorized, NotFound, Conflict)),
        (AWAY, (Unavailable, StillRunning)),
    )
    return next((code for code, classes in kinds if isinstance(error, classes)), FAILED)
