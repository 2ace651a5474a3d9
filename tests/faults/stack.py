"""`darkroom up` with workers that can be killed at a step: `python -m tests.faults.stack`."""

import sys
from pathlib import Path

import cyclopts

from sandbox.devstack.plan import StackOptions
from sandbox.devstack.run import run
from sandbox.devstack.tenant import open_local_tenant


def stack(*, data: Path, port: int, workers: int = 1, concurrency: int = 8) -> None:
    """Run the whole service in `data`, as `darkroom up` does, until it is told to stop."""
    wish = StackOptions(
        data,
        port=port,
        provider="sandbox",
        workers=workers,
        concurrency=concurrency,
        demo=False,
        worker_app="tests.faults.worker_app",
    )
    sys.exit(run(wish, open_local_tenant))


if __name__ == "__main__":
    cyclopts.run(stack)
