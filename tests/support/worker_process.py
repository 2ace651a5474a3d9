"""Real worker processes, started and killed by their pid."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sandbox.subprocesses import Child
from sandbox.wait import wait_until
from shared.settings import PREFIX, inherited_environment
from shared.start_commands import worker_command

#: No log may contain any of these.
SECRETS = ("A lighthouse at dawn", "X-Signature", "darkroom-tests-secret-key", "whsec_M")


def environment(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment with these settings of Darkroom, and no others."""
    kept = {
        name: value
        for name, value in inherited_environment().items()
        if not name.startswith(PREFIX)
    }
    told = {f"{PREFIX}{name.upper()}": str(value) for name, value in settings.items()}
    return {**kept, **told, "PYTHONUNBUFFERED": "1"}


class Worker(Child):
    """One `celery worker`, and its log."""

    def wait_until_ready(self) -> None:
        wait_until(self._is_ready, "a worker that takes permits", seconds=20)

    def wait_for_end(self, seconds: float) -> int:
        """Wait until it has ended by itself; return its exit code."""
        wait_until(lambda: not self.alive, "the end of a worker", seconds=seconds)
        return self._process().wait()

    @property
    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def _is_ready(self) -> bool:
        assert self.alive, self.said()
        return "@" in self.text and " ready." in self.text


@contextmanager
def worker(
    directory: Path,
    settings: Mapping[str, Any],
    queue: str = "generate",
    *,
    threads: int = 8,
    app: str = "worker.app",
    **told: str,
) -> Iterator[Worker]:
    """Run a worker that takes permits; at the end its log must have no secret and no traceback.

    `told` are further variables of its environment.
    """
    log = directory / f"worker-{len(list(directory.glob('worker-*')))}.log"
    child = Worker(
        worker_command(queue, threads=threads, app=app),
        log,
        environment={**environment(settings), **told},
    )
    with ExitStack() as stack:
        stack.enter_context(child)
        child.wait_until_ready()
        yield child
    assert [secret for secret in SECRETS if secret in child.text] == []
    assert "Traceback" not in child.text, child.said()
