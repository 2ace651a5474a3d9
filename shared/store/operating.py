"""What operators do with queues, and with the jobs of all tenants."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import orjson

from shared.jobs import MOVES, Status
from shared.store.audit import Deed
from shared.store.call import PREFIX, Argument, Call, words
from shared.store.reading import Filter, Page, Search, page_of

Action = Literal["again", "cancel"]
#: The filter of an operator, as it was written: what is given of tenant, status, tag, ...
Asked = Mapping[str, str]


def pause(deed: Deed, queue: str) -> Call[None]:
    """Give nothing new out of a queue (`generate` or `deliver`); what is held goes on."""
    return _switch(deed, queue, "pause")


def resume(deed: Deed, queue: str) -> Call[None]:
    """Let a queue go on."""
    return _switch(deed, queue, "resume")


def pause_model(deed: Deed, model: str) -> Call[None]:
    """Make no new call of a model; jobs for it are accepted and wait."""
    return _switch(deed, f"model:{model}", "pause")


def resume_model(deed: Deed, model: str) -> Call[None]:
    """Let the calls of a model go on."""
    return _switch(deed, f"model:{model}", "resume")


def _switch(deed: Deed, what: str, word: str) -> Call[None]:
    return Call("pause", (f"{PREFIX}gate",), (*deed.args, what, word), lambda _: None)


def search_of(
    tenant: str | None, wanted: Filter, among: Collection[Status], *, limit: int, look: int
) -> Search:
    """Say which indexes to walk for jobs of a tenant, or of all, that are `among` these.

    Statuses and error codes have indexes over all tenants; a tag has one within a tenant only, and
    is read from the records else. A batch is its tenant's: it needs a `tenant`.
    """
    whose = f"{PREFIX}jobs:{tenant or ''}"
    everything = tenant and len(among) == len(Status)
    some = [whose] if everything else [f"{whose}:status:{status}" for status in among]
    rest = [f"{whose}:error:{wanted.error_code}"] if wanted.error_code else []
    if tenant and wanted.batch_id:
        rest.append(f"{whose}:batch:{wanted.batch_id}")
    if tenant and wanted.tag:
        rest.append(f"{whose}:tag:{wanted.tag}")
    tag = None if tenant else wanted.tag
    return Search(some=some, rest=rest, wanted=wanted, limit=limit, look=look, tag=tag)


def find_jobs(search: Search) -> Call[Page]:
    """Find jobs, newest first."""
    return Call("list", search.keys, search.args(records=True), page_of, writes=False)


@dataclass(frozen=True, slots=True)
class Found:
    """Ids of jobs, newest first. `before` is the id to go on from, None at the end."""

    ids: tuple[str, ...]
    before: str | None


def find_ids(search: Search) -> Call[Found]:
    """Find jobs, newest first, and give their ids alone."""
    return Call("list", search.keys, search.args(records=False), _found, writes=False)


def _found(reply: Sequence[str]) -> Found:
    return Found(tuple(reply[1:]), reply[0] or None)


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of some jobs: how many were moved, and why how many were not."""

    moved: int
    refused: Mapping[str, int]


def move_jobs(
    deed: Deed, action: Action, ids: Sequence[str], *, deadline_seconds: int, asked: Asked
) -> Call[Moved]:
    """Send jobs again or cancel them, whosesoever they are; what was `asked` is noted with it."""
    sources = words(MOVES[action].sources)
    which = orjson.dumps(dict(asked)).decode()
    whose = asked.get("tenant") or "*"
    deadline_ms = deadline_seconds * 1000
    args: tuple[Argument, ...] = (*deed.args, action, sources, deadline_ms, which, whose, *ids)
    return Call("bulk", (f"{PREFIX}counts",), args, _moved)


def _moved(reply: Sequence[str]) -> Moved:
    refused = zip(reply[1::2], reply[2::2], strict=True)
    return Moved(int(reply[0]), {why: int(count) for why, count in refused})
