"""`darkroom batches`: batches of jobs."""

from itertools import islice

from cyclopts import App

from darkroom.commands.connection import HERE, Limit, Where
from darkroom.commands.exits import DONE
from darkroom.commands.output import show_facts, show_rows

batches = App(
    name="batches",
    help="List, read and cancel batches. `darkroom generate --from FILE` creates them.",
)

_COLUMNS = ("id", "status", "total", "progress", "eta_seconds", "created_at", "tags")


@batches.command(name="list")
def list_batches(*, limit: Limit = 50, where: Where = HERE) -> int:
    """List batches, newest first."""
    with where.client() as client:
        found = [batch.raw for batch in islice(client.batches.list(), limit)]
    show_rows(found, _COLUMNS, as_json=where.json)
    return DONE


@batches.command
def show(batch_id: str, *, where: Where = HERE) -> int:
    """Show a batch: how many of its jobs are in each status."""
    with where.client() as client:
        show_facts(client.batches.get(batch_id).raw, as_json=where.json)
    return DONE


@batches.command
def cancel(batch_id: str, *, where: Where = HERE) -> int:
    """Cancel the jobs of a batch that are not final."""
    with where.client() as client:
        show_facts(client.batches.cancel(batch_id).raw, as_json=where.json)
    return DONE
