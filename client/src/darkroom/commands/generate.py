"""`darkroom generate`: one image, or a folder of them."""

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter, validators

from darkroom.bulk.downloads import save_batch
from darkroom.bulk.journal import open_journal
from darkroom.bulk.plan import Entry, entries_of
from darkroom.bulk.prompt_files import Line, read_lines
from darkroom.bulk.runner import Filling
from darkroom.commands.connection import HERE, Pairs, Where, pairs
from darkroom.commands.exits import DONE, FAILED
from darkroom.commands.jobs import job_goes_on, saved
from darkroom.commands.output import print_notice
from darkroom.commands.progress import Bar
from darkroom.commands.wording import sentence_of
from darkroom.errors import DarkroomError, JobFailed, NotFound, NotSaved, UsageError
from darkroom.files import DRAFT, image_path
from darkroom.options import job_body

_GROUP = Group("Image", sort_key=5)
Seconds = int | Literal["forever"]
Count = Annotated[int, Parameter(validator=validators.Number(gte=1, lte=10_000))]


@Parameter(name="*", group=_GROUP)
@dataclass(frozen=True)
class GenerateOptions:
    """Options of all images; a line of a file can override them. The service has defaults."""

    model: str | None = None
    fallback_model: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            help="Model that makes the image while --model is not available; may be repeated. "
            "The value `default` stands for the fallbacks of --model.",
        ),
    ] = None
    aspect_ratio: Annotated[str | None, Parameter(help="1:1, 16:9, 9:16, 3:2, 2:3, 4:5, 5:4")] = (
        None
    )
    output_format: Annotated[str | None, Parameter(help="webp, jpg, png")] = None
    output_quality: Annotated[int | None, Parameter(help="0 to 100")] = None
    num_inference_steps: Annotated[int | None, Parameter(help="1 to 4")] = None
    go_fast: bool | None = None
    megapixels: Annotated[str | None, Parameter(help="0.25, 1")] = None
    disable_safety_checker: bool | None = None
    seed: Annotated[
        int | None, Parameter(help="The same seed and input generate the same image again.")
    ] = None
    priority: Literal["high", "normal", "low"] | None = None
    deadline_seconds: Annotated[
        int | None, Parameter(help="Deadline in seconds; a job that is not done by then fails.")
    ] = None
    tag: Annotated[
        list[str] | None, Parameter(help="Tag for finding the jobs; may be repeated.")
    ] = None

    input: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            help="Parameter of another model, as steps=20; may be repeated. A value that is JSON "
            "is sent as such, every other one as text.",
        ),
    ] = None
    metadata: Pairs = None
    record_seconds: Annotated[
        Seconds | None,
        Parameter(help="Delete each job this many seconds after it ends, or `forever`: never."),
    ] = None
    image_seconds: Annotated[
        Seconds | None,
        Parameter(
            help="Delete each image this many seconds after its job ends; `forever`: with the job."
        ),
    ] = None

    def options(self) -> dict[str, Any]:
        """Return the given options, named as in JobOptions."""
        options = {name: value for name, value in asdict(self).items() if value is not None}
        if self.input:
            given = pairs(self.input, "--input", "steps=20")
            if "prompt" in given:
                raise UsageError(
                    "--input cannot set the prompt: give it as PROMPT, or in the file of --from."
                )
            options["input"] = {name: _value(text) for name, text in given.items()}
        if tags := options.pop("tag", None):
            options["tags"] = tags
        if models := options.pop("fallback_model", None):
            options["fallback_models"] = "default" if models == ["default"] else models
        if self.metadata:
            options["metadata"] = pairs(self.metadata)
        kept = {
            name: options.pop(name)
            for name in ("record_seconds", "image_seconds")
            if name in options
        }
        if kept:
            options["retention"] = {
                name: None if seconds == "forever" else seconds for name, seconds in kept.items()
            }
        return options


def _value(text: str) -> Any:  # noqa: ANN401  JSON
    """Read the value of a parameter: JSON, or else text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


PLAIN = GenerateOptions()


def generate(
    prompt: str | None = None,
    *,
    from_: Annotated[Path | None, Parameter(name="--from")] = None,
    variations: Count = 1,
    out: Path = Path(),
    retry_failed: Annotated[bool, Parameter(negative="")] = False,
    generate_options: GenerateOptions = PLAIN,
    where: Where = HERE,
) -> int:
    """Generate images and write them to files; print each file name as soon as the file is written.

    With --from, create a batch with an image for each prompt in a file and write the images to the
    folder --out. After an interruption, the same command continues where it stopped and pays for no
    image twice.

    Parameters
    ----------
    prompt
        What the image should show.
    from_
        A file of prompts: .txt (one a line), .csv or .tsv (with a column `prompt`, others are
        parameters) or .jsonl (objects with `prompt` and parameters).
    variations
        Number of images for each prompt, with different seeds.
    out
        Folder for the images, or the file for a single image; the extension follows its format.
    retry_failed
        With --from: retry the jobs that failed in an earlier run.

    """
    if (prompt is None) == (from_ is None):
        raise UsageError("Give either a prompt or --from FILE.")
    if from_ is not None:
        entries = list(entries_of(read_lines(from_, generate_options.options()), variations))
        return asyncio.run(_fill(out, entries, where, retry_failed=retry_failed))
    if retry_failed:
        raise UsageError("--retry-failed needs --from FILE.")
    if variations > 1:
        line = Line(1, job_body(prompt or "", generate_options.options()))
        _make_folder(out)
        return asyncio.run(_several(list(entries_of([line], variations)), out, where))
    return _one(prompt or "", generate_options.options(), out, where)


def _make_folder(folder: Path, file: str = "") -> None:
    """Create the folder for the images before any is paid for; raise UsageError.

    `file` is the name of the only one, whose extension may be added.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=folder, prefix=DRAFT):
            pass
        image_path(folder / file, name="", extension=".webp").exists()  # raises if it is too long
    except OSError as error:
        place = folder / file if folder.is_dir() else folder
        reason = f"{place} cannot be written ({error.strerror})"
        raise UsageError(
            f"{reason}. No image was requested; choose another place with --out."
        ) from None


def _one(prompt: str, options: dict[str, Any], out: Path, where: Where) -> int:
    is_folder = os.path.isdir(out)  # noqa: PTH112  the method raises for a name that is too long
    _make_folder(out if is_folder else out.parent, "" if is_folder else out.name)
    with where.client() as client, Bar(1, as_json=where.json) as bar:
        job = client.submit(prompt, **options)
        try:
            job = client.wait(job)
            file = saved(job.image, out) if job.image else None
        except NotFound:
            raise  # somebody has deleted it
        except KeyboardInterrupt:
            job_goes_on(job.id)
            raise
        except DarkroomError as error:
            job_goes_on(job.id)
            raise NotSaved(sentence_of(error)) from error
        if file is None:
            raise JobFailed(job)
        bar.saved(file, job)
    return DONE


async def _several(entries: Sequence[Entry], out: Path, where: Where) -> int:
    """Generate variations of one prompt, with progress on the terminal."""
    async with where.async_client() as client:
        batch = await client.batches.create([one.body for one in entries], priority="normal")
        slug = entries[0].slug
        with Bar(len(entries), as_json=where.json) as bar:
            try:
                await save_batch(
                    client,
                    batch.id,
                    lambda job: out / f"{slug}-{job.input.get('seed', job.id)}",
                    bar,
                )
            except asyncio.CancelledError:
                print_notice(
                    f"{batch.id} continues; `darkroom batches cancel {batch.id}` stops it."
                )
                raise
            except (DarkroomError, OSError) as error:
                print_notice(
                    f"Images that are not saved are kept: `darkroom jobs list --batch {batch.id}` "
                    "lists them, and `darkroom jobs save JOB --out PLACE` writes one."
                )
                if isinstance(error, DarkroomError):
                    raise NotSaved(sentence_of(error)) from error
                raise
    return FAILED if bar.failures else DONE


async def _fill(out: Path, entries: Sequence[Entry], where: Where, *, retry_failed: bool) -> int:
    with open_journal(out) as journal:
        async with where.async_client() as client:
            filling = Filling(client, out, journal)
            await filling.record_requested(entries)
            wanted = filling.wanted(entries)
            done = len(entries) - len(wanted)
            if not wanted:
                print_notice(f"All {len(entries)} images are in {out} already.")
            with Bar(len(entries), done=done, as_json=where.json) as bar:
                if retry_failed:
                    await filling.retry_failed(wanted, bar)
                try:
                    await filling.save(wanted, bar)
                except asyncio.CancelledError:
                    print_notice("The jobs continue; run the same command again to get the rest.")
                    raise
    missing = filling.wanted(entries)
    if missing:
        print_notice(f"{len(missing)} of {len(entries)} images could not be generated.")
    return FAILED if missing else DONE
