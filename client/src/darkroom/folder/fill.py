"""Fills a folder with the pictures of its entries, asking for each once."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from darkroom.async_client import AsyncClient, Job
from darkroom.bodies import faults_in
from darkroom.errors import BadWords, InvalidInput, NotFound
from darkroom.folder.entries import Entry
from darkroom.folder.faults import LineFault, refuse
from darkroom.folder.journal import Asked, Journal
from darkroom.folder.saving import Report, save_batch
from darkroom.options import option_of
from darkroom.values import Batch, Raw

#: What the service takes in one request, with room to spare.
JOBS_MOST = 10_000
BYTES_MOST = 16_000_000
#: The service knows an idempotency key for a day; later the batch itself is looked for.
KEY_LIVES_SECONDS = 23 * 3600
#: How far this machine's clock may be from the service's.
CLOCKS_APART_SECONDS = 600


@dataclass
class Filling:
    """One run over a folder."""

    client: AsyncClient
    folder: Path
    journal: Journal

    async def ask(self, entries: Sequence[Entry]) -> None:
        """Have everything accepted that was not yet.

        Raises BadWords that names the lines; of such a request nothing is made.
        """
        for asked in list(self.journal.asked.values()):
            if asked.batch is None:
                # what of a refused one is still wanted is asked for below, and refused by its line
                with suppress(InvalidInput):
                    await self._send(asked)
        known = self.journal.names
        for piece in _pieces([one for one in entries if one.id not in known]):
            faults = list(faults_in({"jobs": [one.body for one in piece]}))
            if faults:
                raise _by_line(InvalidInput.of(faults), piece)
            self.journal.ask(piece)
            *_, asked = self.journal.asked.values()
            try:
                await self._send(asked)
            except InvalidInput as error:
                raise _by_line(error, piece) from None

    def wanted(self, entries: Iterable[Entry]) -> dict[str, str]:
        """Give the file name of each entry whose picture is not in the folder yet."""
        there = {file.stem for file in self.folder.iterdir() if not file.name.startswith(".")}
        names = self.journal.names
        return {one.id: names[one.id] for one in entries if names[one.id] not in there}

    async def retry_failed(self, wanted: Mapping[str, str]) -> None:
        """Send those again that failed or were canceled."""
        for batch_id in self._batches(wanted):
            for line in await self.client.batches.manifest(batch_id):
                if _entry(line) in wanted and line["status"] in {"failed", "canceled"}:
                    await self.client.jobs.retry(line["id"])

    async def save(self, wanted: Mapping[str, str], report: Report) -> None:
        """Save what is wanted, as it comes."""

        def path_of(job: Job) -> Path:
            return self.folder / wanted[job.metadata["entry"]]

        for batch_id in self._batches(wanted):
            try:
                await save_batch(
                    self.client, batch_id, path_of, report, only=lambda one: _entry(one) in wanted
                )
            except NotFound:
                raise NotFound(
                    f"{batch_id} or a picture of it is forgotten by the service, and missing in "
                    f"{self.folder}. Another folder would have it made, and paid, again."
                ) from None

    def _batches(self, wanted: Mapping[str, str]) -> Iterator[str]:
        for asked in self.journal.asked.values():
            if asked.batch and not wanted.keys().isdisjoint(asked.names):
                yield asked.batch

    async def _send(self, asked: Asked) -> None:
        found = await self._find(asked) if time.time() > asked.at + KEY_LIVES_SECONDS else None
        try:
            batch = found or await self.client.batches.create(
                asked.jobs, idempotency_key=asked.key, metadata={"run": asked.key}
            )
        except InvalidInput:
            self.journal.refused(asked.key)
            raise
        self.journal.accepted(asked.key, batch.id)

    async def _find(self, asked: Asked) -> Batch | None:
        """Look for the batch that came of a key which the service may not know any more."""
        async for batch in self.client.batches.list():
            if batch.metadata.get("run") == asked.key:
                return batch
            if batch.created_at.timestamp() < asked.at - CLOCKS_APART_SECONDS:
                return None
        return None


def _entry(line: Raw) -> str | None:
    return (line.get("metadata") or {}).get("entry")


def _pieces(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Cut what is new into requests that the service takes."""
    piece: list[Entry] = []
    size = 0
    for one in entries:
        length = len(json.dumps(one.body)) + 200  # what marks it, too
        if piece and (len(piece) == JOBS_MOST or size + length > BYTES_MOST):
            yield piece
            piece, size = [], 0
        piece.append(one)
        size += length
    if piece:
        yield piece


def _by_line(error: InvalidInput, piece: Sequence[Entry]) -> BadWords | InvalidInput:
    """Say in which lines of the file the faults are, in the place of entries of a batch.

    What a line has from the options of the program is named as an option.
    """
    faults: list[LineFault] = []
    options: list[str] = []
    for fault in error.faults:
        _, place, number, *names = [*fault.pointer.split("/"), "", ""]
        if place != "jobs" or not number.isdigit() or int(number) >= len(piece):
            return error
        line, names = piece[int(number)].line, [name for name in names if name]
        names = names[1:] if names[:1] == ["input"] else names
        if names and names[0] in line.given:
            options.append(f"{option_of(names[0])} {fault.message}.")
        else:
            faults.append(LineFault(line.number, "/".join(names), fault.message))
    return refuse(piece[0].line.source, faults, options) if error.faults else error
