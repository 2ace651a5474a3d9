"""`darkroom jobs`: single jobs."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from darkroom.client import Job
from darkroom.commands.connection import HERE, Limit, Pairs, Where, pairs
from darkroom.commands.exits import DONE, FAILED, REFUSED
from darkroom.commands.output import print_notice, show_facts, show_json, show_line, show_rows
from darkroom.commands.wording import sentence_of
from darkroom.errors import REFUSALS, JobFailed
from darkroom.images import Image
from darkroom.options import JobFilter

jobs = App(name="jobs", help="List, follow, save, cancel and retry jobs.")

Preview = Annotated[
    bool, Parameter(negative="", help="Write a small WebP instead of the whole image.")
]
_COLUMNS = ("id", "status", "waiting_on", "attempt", "created_at", "prompt", "error")
_PROMPT_LETTERS = 40


@Parameter(name="*")
@dataclass(frozen=True)
class Filter:
    """Which jobs: those that match everything given."""

    status: Literal["queued", "running", "succeeded", "failed", "canceled"] | None = None
    tag: str | None = None
    batch: str | None = None
    error_code: str | None = None
    metadata: Pairs = None
    seed: int | None = None
    q: Annotated[str | None, Parameter(help="Words of the prompt, all of them.")] = None

    def wanted(self) -> JobFilter:
        """Return what is given, named as in JobFilter."""
        given: Any = {name: value for name, value in asdict(self).items() if value is not None}
        if self.metadata:
            given["metadata"] = pairs(self.metadata)
        if self.batch is not None:
            given["batch_id"] = given.pop("batch")
        found: JobFilter = given
        return found


ALL = Filter()


@jobs.command(name="list")
def list_jobs(*, wanted: Filter = ALL, limit: Limit = 50, where: Where = HERE) -> int:
    """List jobs, newest first."""
    with where.client() as client:
        found = [job.raw for job in islice(client.jobs.list(**wanted.wanted()), limit)]
    show_rows(found if where.json else map(_row, found), _COLUMNS, as_json=where.json)
    return DONE


@jobs.command
def show(job_id: str, *, where: Where = HERE) -> int:
    """Show one job in full."""
    with where.client() as client:
        show_facts(client.jobs.get(job_id).raw, as_json=where.json)
    return DONE


@jobs.command
def watch(job_id: str, *, where: Where = HERE) -> int:
    """Follow a job until it is final, one line per change. Exit with 1 unless it succeeded."""
    status = ""
    with where.client() as client:
        for job in client.jobs.watch(job_id):
            _print_job(job, as_json=where.json)
            status = job.status
    return DONE if status == "succeeded" else FAILED


@jobs.command
def save(job_id: str, *, out: Path = Path(), preview: Preview = False, where: Where = HERE) -> int:
    """Wait for a job and write its image to a folder or a file."""
    with where.client() as client:
        job = client.wait(job_id)
        if job.image is None:
            raise JobFailed(job)
        show_line(str(saved(job.image, out, preview=preview)))
    return DONE


@jobs.command
def cancel(job_id: str, *more: str, where: Where = HERE) -> int:
    """Cancel jobs. Queued jobs cost nothing; the result of a running job is discarded."""
    with where.client() as client:
        return _change(client.jobs.cancel, (job_id, *more), as_json=where.json)


@jobs.command
def retry(job_id: str, *more: str, where: Where = HERE) -> int:
    """Retry failed or canceled jobs."""
    with where.client() as client:
        return _change(client.jobs.retry, (job_id, *more), as_json=where.json)


def _change(change: Callable[[str], Job], job_ids: Iterable[str], *, as_json: bool) -> int:
    """Change every job that can be changed, print each, and return the exit code."""
    code = DONE
    for job_id in job_ids:
        try:
            _print_job(change(job_id), as_json=as_json)
        except REFUSALS as error:
            print_notice(f"{job_id}: {sentence_of(error)}")
            code = REFUSED
    return code


def _print_job(job: Job, *, as_json: bool) -> None:
    if as_json:
        show_json(job.raw, indent=None)
        return
    details = (job.step, job.waiting_on, job.error and f"{job.error.code}: {job.error.message}")
    detail = next((f" ({one})" for one in details if one), "")
    show_line(f"{job.id} {job.status}{detail}")


def _row(raw: Any) -> dict[str, Any]:  # noqa: ANN401  JSON
    prompt, error = str(raw["input"].get("prompt", "")), raw["error"]
    cut = prompt if len(prompt) <= _PROMPT_LETTERS else f"{prompt[: _PROMPT_LETTERS - 1]}…"
    return {**raw, "prompt": cut, "error": error and error["code"]}


def saved(image: Image, out: Path, *, preview: bool = False) -> Path:
    """Save an image; if that fails, first print how to download it otherwise."""
    try:
        return image.save(out, preview=preview)
    except OSError:
        print_notice(
            f"The image is kept: `darkroom jobs save {image.job_id} --out PLACE` writes it."
        )
        raise


def job_goes_on(job_id: str) -> None:
    """Print how to get the image of a job that is no longer waited for."""
    print_notice(
        f"{job_id} continues: get its image with `darkroom jobs save {job_id}`, or stop it with "
        f"`darkroom jobs cancel {job_id}`."
    )
