"""Usage over a span of days, grouped: rows that add up to the total, as JSON or CSV."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Literal, NotRequired, cast

import orjson
from pydantic import Field, WithJsonSchema
from starlette.datastructures import Headers
from starlette.responses import Response
from typing_extensions import TypedDict

from api.context import AppContext
from api.problems import FieldError, invalid
from api.query import OPTIONAL, QueryModel, Reader, Text, is_given
from shared.schemas import Count
from shared.store.functions import CREDIT_DIGITS, RUN_COUNTS_DAYS
from shared.store.run_counts import Sums, UsageColumn, date_of, day_of

DAYS_MOST = 400
CSV = "text/csv"
_DAY_MS = 86_400_000
#: What a spreadsheet takes for a formula.
_FORMULA = re.compile(r"[=+\-@]")
#: `q` among the parameters of a media type in `Accept`.
_WEIGHT = re.compile(r"(?:^|;)\s*q=([01](?:\.[0-9]{0,3})?)\s*(?:;|$)", re.IGNORECASE)
#: What rows can be grouped by, with the column behind it; `tag` is the whole set of tags.
_COLUMNS: Mapping[str, UsageColumn] = {
    "tenant": UsageColumn.TENANT,
    "day": UsageColumn.DAY,
    "month": UsageColumn.DAY,
    "model": UsageColumn.MODEL,
    "key": UsageColumn.KEY,
    "tag": UsageColumn.TAGS,
    "status": UsageColumn.STATUS,
}
_OPERATORS_ONLY = "tenant"
_SUMS = ("jobs", "calls", "credits")

DateText = Annotated[str, Field(json_schema_extra={"format": "date"})]


class UsageSums(TypedDict):
    """Jobs that ended (each run counts), calls that were or may have been billed, and credits."""

    jobs: Count
    calls: Count
    credits: float


class UsageRow(UsageSums):
    """One group; it has what the report is grouped by. `key` is null if it is not known."""

    tenant: NotRequired[str]
    day: NotRequired[DateText]
    month: NotRequired[str]
    model: NotRequired[str]
    key: NotRequired[str | None]
    tags: NotRequired[list[str]]
    status: NotRequired[Literal["succeeded", "failed", "canceled"]]


_From = TypedDict("_From", {"from": DateText})


class UsageReport(_From):
    """Usage of the days from `from` to `to` (UTC), both included; the rows add up to `total`.

    Credits are an estimate by the operator's prices at the time of each job.
    """

    to: DateText
    group_by: list[str]
    data: list[UsageRow]
    total: UsageSums
    estimated: Literal[True]


def _date(written: str) -> date:
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", written):
            return date.fromisoformat(written)
    except ValueError:
        pass
    raise ValueError("must be a date such as 2026-01-31")


def _grouping(*names: str) -> Reader[str]:
    """Parse names separated by commas."""

    def read(written: str) -> str:
        chosen = written.split(",")
        if not {*chosen} <= {*names} or len({*chosen}) < len(chosen):
            raise ValueError(f"must be some of {', '.join(names)}, separated by commas, each once")
        return written

    return read


_GROUPING = Field(description="What to group by, separated by commas; default: `day`")
_DATE_SCHEMA = WithJsonSchema({"type": "string", "format": "date"})
_First = Annotated[
    date | None, is_given(_date), _DATE_SCHEMA, Field(alias="from", description="The first day")
]
_Last = Annotated[date | None, is_given(_date), _DATE_SCHEMA, Field(description="The last day")]
_OWN = tuple(name for name in _COLUMNS if name != _OPERATORS_ONLY)


class ReportQuery(QueryModel):
    """The span of a report, both days included (UTC), and its grouping."""

    first: _First = None
    to: _Last = None
    group_by: Annotated[str | None, is_given(_grouping(*_OWN)), OPTIONAL, _GROUPING] = None


class OpsReportQuery(ReportQuery):
    """The same for operators."""

    group_by: Annotated[str | None, is_given(_grouping(*_COLUMNS)), OPTIONAL, _GROUPING] = None
    tenant: Annotated[Text, Field(description="Only of this tenant")] = None


class Span:
    """The days of a report and its grouping, from a request's parameters."""

    def __init__(self, parts: AppContext, query: ReportQuery) -> None:
        """Use the present month and `day` by default; raise a Problem for a wrong span."""
        today = int(parts.records.now_ms // _DAY_MS)
        self.last = query.to or max(date_of(today), query.first or date.min)
        self.first = query.first or self.last.replace(day=1)
        self.group_by = (query.group_by or "day").split(",")
        if faults := self._faults(today, has_history=parts.records.has_history):
            raise invalid(faults)

    def _faults(self, today: int, *, has_history: bool) -> list[FieldError]:
        if self.first > self.last:
            return [FieldError("/query/to", "must not be before `from`")]
        if (self.last - self.first).days >= DAYS_MOST:
            return [FieldError("/query/to", f"must be less than {DAYS_MOST} days after `from`")]
        oldest = date_of(today - RUN_COUNTS_DAYS + 1)
        if self.first < oldest and not has_history:
            return [
                FieldError(
                    "/query/from",
                    f"must not be before {oldest}: this service keeps usage for "
                    f"{RUN_COUNTS_DAYS} days, because it has no history database",
                )
            ]
        return []

    @property
    def columns(self) -> list[UsageColumn]:
        """The columns to sum up by."""
        return [*dict.fromkeys(_COLUMNS[name] for name in self.group_by)]


async def read_report(parts: AppContext, span: Span, tenant: str) -> UsageReport:
    """Read the usage of a tenant ('' for all). Raise StoreError, HistoryDown."""
    first, last = day_of(span.first), day_of(span.last)
    columns = span.columns
    found = await parts.records.usage(tenant, first=first, last=last, by=columns)
    groups: dict[tuple[str | int, ...], Sums] = {}
    total = Sums()
    for values, sums in found.items():
        value_of = dict(zip(columns, values, strict=True))
        group = tuple(_value(name, value_of[_COLUMNS[name]]) for name in span.group_by)
        groups.setdefault(group, Sums()).add(sums)
        total.add(sums)
    return {
        "from": span.first.isoformat(),
        "to": span.last.isoformat(),
        "group_by": span.group_by,
        "data": [_row(span.group_by, group, groups[group]) for group in sorted(groups)],
        "total": _sums(total),
        "estimated": True,
    }


def _value(name: str, stored: str | int) -> str | int:
    """Return the value of a group: a day as its date, a month as its beginning."""
    if name in {"day", "month"}:
        written = date_of(int(stored)).isoformat()
        return written if name == "day" else written[:7]
    return stored


def _row(group_by: Sequence[str], group: Sequence[str | int], sums: Sums) -> UsageRow:
    row: dict[str, object] = {}
    for name, value in zip(group_by, group, strict=True):
        if name == "tag":
            row["tags"] = str(value).split("\n") if value else []
        else:
            row[name] = (value or None) if name == "key" else value
    return cast("UsageRow", {**row, **_sums(sums)})


def _sums(sums: Sums) -> UsageSums:
    return {"jobs": sums.jobs, "calls": sums.calls, "credits": sums.credits}


def _wants_csv(headers: Headers) -> bool:
    """Return whether `Accept` names CSV, and JSON with no greater weight (RFC 9110, 12.5.1)."""
    weights: dict[str, float] = {}
    for one in ",".join(headers.getlist("accept")).split(","):
        name, _, parameters = one.partition(";")
        found = _WEIGHT.search(parameters)
        weights[name.strip().lower()] = float(found[1]) if found else 1.0
    return weights.get(CSV, 0.0) > 0 and weights[CSV] >= weights.get("application/json", 0.0)


def respond(headers: Headers, report: UsageReport) -> Response:
    """Respond with the report in the form that was asked for."""
    sent = {"Cache-Control": "private, no-cache", "Vary": "Accept"}
    if not _wants_csv(headers):
        return Response(orjson.dumps(report), 200, sent, "application/json")
    name = f"usage-{report['from']}-{report['to']}.csv"
    sent["Content-Disposition"] = f'attachment; filename="{name}"'
    return Response(csv_of(report), 200, sent, f"{CSV}; charset=utf-8; header=present")


def csv_of(report: UsageReport) -> str:
    """Write the rows as CSV (RFC 4180) with a header row; tags are separated by commas."""
    columns = ["tags" if name == "tag" else name for name in report["group_by"]]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*columns, *_SUMS])
    for row in report["data"]:
        cells = [_cell(cast("Mapping[str, object]", row)[name]) for name in columns]
        writer.writerow([*cells, row["jobs"], row["calls"], f"{row['credits']:.{CREDIT_DIGITS}f}"])
    return text.getvalue()


def _cell(value: object) -> str:
    """Write a cell that no spreadsheet takes for a formula."""
    written = ", ".join(value) if isinstance(value, list) else str(value or "")
    return f"'{written}" if _FORMULA.match(written) else written
