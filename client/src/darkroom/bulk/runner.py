"""Generate the images of a folder, requesting each once."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from darkroom.async_client import AsyncClient, Job
from darkroom.bodies import faults_in
from darkroom.bulk.downloads import Report, save_batch
from darkroom.bulk.faults import LineFault, refuse
from darkroom.bulk.journal import Journal, RequestedImage
from darkroom.bulk.plan import Entry
from darkroom.bulk.row import ENTRY
from darkroom.errors import REFUSALS, DarkroomError, InvalidInput, NotFound, UsageError
from darkroom.models import Batch, Raw
from darkroom.options import option_of

#: What the service accepts in one request, with a margin.
JOBS_MOST = 10_000
BYTES_MOST = 16_000_000
#: The service remembers idempotency keys for a day; after that the batch itself is searched.
KEY_LIVES_SECONDS = 23 * 3600
#: How far this machine's clock may differ from the service's.
CLOCK_SKEW_SECONDS = 600


@dataclass
class Filling:
    """One run over a folder."""

    client: AsyncClient
    folder: Path
    journal: Journal

    async def record_requested(self, entries: Sequence[Entry]) -> None:
        """Create the jobs that do not exist yet.

        Raise UsageError with the lines at fault. A request with one creates nothing, but a long
        file needs several requests, and those before it have created their jobs.
        """
        for requested in list(self.journal.requested.values()):
            if requested.batch is None:
                # what is still wanted of a refused one is requested below, and refused by its line
                with suppress(InvalidInput):
                    await self._send(requested, is_new=False)
        known_names = self.journal.names
        pieces = list(_pieces([one for one in entries if one.id not in known_names]))
        for piece in pieces:
            faults = list(faults_in({"jobs": [one.body for one in piece]}))
            if faults:
                raise _by_line(InvalidInput.of(faults), piece)
        created = 0
        for piece in pieces:
            self.journal.record_requested(piece)
            *_, requested = self.journal.requested.values()
            try:
                await self._send(requested, is_new=True)
            except InvalidInput as error:
                raise _by_line(error, piece, created=created) from None
            created += len(piece)

    def wanted(self, entries: Iterable[Entry]) -> dict[str, str]:
        """Return the file name of each entry whose image is not in the folder yet."""
        there = {file.stem for file in self.folder.iterdir() if not file.name.startswith(".")}
        names = self.journal.names
        return {one.id: names[one.id] for one in entries if names[one.id] not in there}

    async def retry_failed(self, wanted: Mapping[str, str], report: Report) -> None:
        """Retry the jobs that failed or were canceled; skip deleted batches, which `save` names."""
        for batch_id in self._batches(wanted):
            try:
                lines = await self.client.batches.manifest(batch_id)
            except NotFound:
                continue
            for line in lines:
                if _entry(line) in wanted and line["status"] in {"failed", "canceled"}:
                    try:
                        await self.client.jobs.retry(line["id"])
                    except REFUSALS as error:
                        report.refused(line["id"], error)

    async def save(self, wanted: Mapping[str, str], report: Report) -> None:
        """Save the missing images as they finish. Then raise NotFound for deleted batches."""
        deleted: list[str] = []

        def path_of(job: Job) -> Path:
            return self.folder / wanted[job.metadata[ENTRY]]

        for batch_id in self._batches(wanted):
            try:
                await save_batch(
                    self.client, batch_id, path_of, report, only=lambda one: _entry(one) in wanted
                )
            except NotFound:
                deleted.append(batch_id)
        if deleted:
            raise NotFound(
                f"Images are missing in {self.folder}: the service has deleted their jobs "
                f"({', '.join(deleted)}). With another --out, they would be paid for again."
            )

    def _batches(self, wanted: Mapping[str, str]) -> Iterator[str]:
        for requested in self.journal.requested.values():
            if requested.batch and not wanted.keys().isdisjoint(requested.names):
                yield requested.batch

    async def _send(self, requested: RequestedImage, *, is_new: bool) -> None:
        """Create the batch of a request; one that created nothing leaves the journal.

        A refusal says nothing about an earlier run, which may have created the batch.
        """
        found = (
            await self._find(requested) if time.time() > requested.at + KEY_LIVES_SECONDS else None
        )
        try:
            batch = found or await self.client.batches.create(
                requested.jobs, idempotency_key=requested.key, metadata={"run": requested.key}
            )
        except DarkroomError as error:
            if isinstance(error, InvalidInput) or (is_new and not error.outcome_unknown):
                self.journal.refused(requested.key)
            raise
        self.journal.accepted(requested.key, batch.id)

    async def _find(self, requested: RequestedImage) -> Batch | None:
        """Find the batch created by a key that the service may have forgotten."""
        async for batch in self.client.batches.list():
            if batch.metadata.get("run") == requested.key:
                return batch
            if batch.created_at.timestamp() < requested.at - CLOCK_SKEW_SECONDS:
                return None
        return None


def _entry(line: Raw) -> str | None:
    return (line.get("metadata") or {}).get(ENTRY)


def _pieces(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Split new entries into requests that the service accepts."""
    piece: list[Entry] = []
    size = 0
    for one in entries:
        length = len(json.dumps(one.body)) + 200  # including the tag that marks it
        if piece and (len(piece) == JOBS_MOST or size + length > BYTES_MOST):
            yield piece
            piece, size = [], 0
        piece.append(one)
        size += length
    if piece:
        yield piece


def _by_line(
    error: InvalidInput, piece: Sequence[Entry], *, created: int = 0
) -> UsageError | InvalidInput:
    """Report faults by the lines of the file, instead of the entries of the batch.

    Faults in command options are reported as options. `created` jobs of earlier lines exist.
    """
    faults: list[LineFault] = []
    options: list[str] = []
    for fault in error.faults:
        _, line_word, number, *names = [*fault.pointer.split("/"), "", ""]
        if line_word != "jobs" or not number.isdigit() or int(number) >= len(piece):
            return error
        line, names = piece[int(number)].line, [name for name in names if name]
        names = names[1:] if names[:1] == ["input"] else names
        if names and names[0] in line.defaults:
            options.append(f"{option_of(names[0])} {fault.message}.")
        else:
            faults.append(LineFault(line.number, "/".join(names), fault.message))
    return refuse(piece[0].line.source, faults, options, created=created) if error.faults else error
