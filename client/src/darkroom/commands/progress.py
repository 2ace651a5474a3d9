"""How far it is: a bar where a person looks, a line now and then where none does."""

import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from darkroom.commands.output import print_notice, show_json, show_line
from darkroom.models import ImageFacts, Job

#: Where no bar can be drawn, this part of the whole is worth a line.
_STEP = 0.1


class _Rate(ProgressColumn):
    """Images a second, of late."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


class Bar:
    """Counts images on stderr, and prints each file on stdout."""

    def __init__(self, total: int, *, done: int = 0, as_json: bool = False) -> None:
        """Begin at `done` of `total`: those were there already."""
        self.failures = 0
        self._total = total
        self._done = done
        self._as_json = as_json
        self._shown_at = 0.0
        self._bar: Progress | None = None
        if sys.stderr and sys.stderr.isatty():
            columns = (
                TextColumn("images"),
                BarColumn(),
                MofNCompleteColumn(),
                _Rate(),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("images", total=total, completed=done)

    def saved(self, file: Path, job: Job[ImageFacts]) -> None:
        """Print the file. Where that fails images are saved all the same: they are paid."""
        try:
            self._print(file, job)
        except OSError as error:
            if not isinstance(error, BrokenPipeError):  # whoever read the results has enough
                print_notice(f"{file} is saved; the result cannot be printed ({error.strerror}).")
        self._count()

    def _print(self, file: Path, job: Job[ImageFacts]) -> None:
        if self._as_json:
            seed = job.input.get("seed")
            fields = {"file": str(file), "job_id": job.id, "seed": seed}
            show_json({**fields, "prompt": job.input.get("prompt")}, indent=None)
        else:
            show_line(str(file))

    def failed(self, job: Job[ImageFacts]) -> None:
        """Say why there is no image."""
        self.failures += 1
        reason = f"{job.error.code}: {job.error.message}" if job.error else job.status
        print_notice(f"{job.id} has no image ({reason})")
        self._count()

    def _count(self) -> None:
        self._done += 1
        if self._bar:
            self._bar.advance(self._task)
        elif self._total > 1 and self._has_changed():
            self._shown_at = self._done / self._total
            print_notice(f"{self._done} of {self._total} images")

    def _has_changed(self) -> bool:
        return self._done == self._total or self._done / self._total >= self._shown_at + _STEP

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()
