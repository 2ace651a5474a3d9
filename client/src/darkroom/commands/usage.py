"""`darkroom usage`: what was used, by day and more, and budgets, as a table, JSON or CSV."""

from typing import Annotated

from cyclopts import App, Parameter

from darkroom.commands.connection import HERE, Where
from darkroom.commands.exits import DONE
from darkroom.commands.output import show_json, show_line, show_rows
from darkroom.errors import UsageError

usage = App(name="usage", help="Show the jobs, calls and estimated credits of a range of days.")

_First = Annotated[
    str | None,
    Parameter(
        name="--from",
        help="The first day (UTC), such as 2026-01-31; default: the 1st of the month of --to.",
    ),
]
_Last = Annotated[str | None, Parameter(name="--to", help="The last day; default: today.")]
_GroupBy = Annotated[
    str, Parameter(help="Any of day, month, model, key, tag, status, separated by commas.")
]
_Csv = Annotated[bool, Parameter(negative="", help="Print CSV, without the total.")]


_BUDGET = ("scope", "period", "limit", "used", "promised", "left", "threshold", "resets_at")


@usage.command
def budgets(*, where: Where = HERE) -> int:
    """Show the budgets of your tenant and API key: what is used and left in this day or month."""
    with where.client() as client:
        found = client.usage(days=1).budgets
    if found or where.json:
        show_rows(found, _BUDGET, as_json=where.json)
    else:
        show_line("Neither your tenant nor your API key has a budget.")
    return DONE


@usage.default
def show(
    *,
    first: _First = None,
    last: _Last = None,
    group_by: _GroupBy = "day",
    csv: _Csv = False,
    where: Where = HERE,
) -> int:
    """Show what ended on some days: jobs, calls that may have been billed, estimated credits.

    The default is the present month. The rows add up to the total.
    """
    if csv and where.json:
        raise UsageError("Give either --csv or --json.")
    by = group_by.split(",")
    with where.client() as client:
        if csv:
            show_line(client.usage_csv(first, last, group_by=by).removesuffix("\n"))
            return DONE
        found = client.usage_report(first, last, group_by=by)
    if where.json:
        show_json(found.raw)
        return DONE
    columns = ["tags" if name == "tag" else name for name in found.group_by]
    total = {columns[0]: "total", **found.total}
    show_rows([*found.data, total], (*columns, "jobs", "calls", "credits"), as_json=False)
    return DONE
