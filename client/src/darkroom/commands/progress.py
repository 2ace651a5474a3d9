"""Progress: a bar on a terminal, otherwise occasional lines."""

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
from darkroom.commands.wording import sentence_of
from darkroom.errors import DarkroomError
from darkroom.models import ImageFacts, Job

#: Without a terminal, print a line each time this share is done.
_STEP = 0.1


class _Rate(ProgressColumn):
    """Recent images per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


class Bar:
    """Count images on stderr, and print each file on stdout."""

    def __init__(self, total: int, *, done: int = 0, as_json: bool = False) -> None:
        """Start at `done` of `total`, the images that exist already."""
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
        """Print the file. If that fails, saving continues, because the images are paid for."""
        try:
            self._print(file, job)
        except OSError as error:
            if not isinstance(error, BrokenPipeError):  # the reader of the results closed the pipe
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
        """Print why there is no image."""
        reason = f"{job.error.code}: {job.error.message}" if job.error else job.status
        self._fail(f"{job.id} has no image ({reason})")

    def unsaved(self, job: Job[ImageFacts], error: DarkroomError) -> None:
        """Print why the image cannot be saved."""
        self._fail(f"The image of {job.id} is not saved: {sentence_of(error)}")

    def refused(self, job_id: str, error: DarkroomError) -> None:
        """Print why a job cannot be retried."""
        print_notice(f"{job_id} cannot be retried: {sentence_of(error)}")

    def _fail(self, sentence: str) -> None:
        self.failures += 1
        print_notice(sentence)
        self._count()

    def _count(self) -> None:
        self._done += 1
        if self._bar:
            self._bar.advance(self._task)
        elif self._total > 1 and self._has_changed():
            self._shown_at = self._done / self._total
            failed = f" ({self.failures} failed)" if self.failures else ""
            print_notice(f"{self._done} of {self._total} done{failed}")

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
