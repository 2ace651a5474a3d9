"""Write `docs/benchmarks.md` from the measurements."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import plots, table
from bench.results import Row

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
#: Starts the handwritten part of the page, which is kept.
_WORDS = "<!-- words -->"


def write(facts: Mapping[str, str], rows: Sequence[Row], *, minutes: float) -> None:
    """Write the page; keep everything after the mark."""
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    words = old.partition(_WORDS)[2].strip()
    for drawing in (drawing for row in rows for drawing in row.curves):
        (PAGE.parent / drawing.file).write_text(plots.draw(drawing), encoding="utf-8")
    PAGE.write_text(f"{_measured(facts, rows, minutes)}\n{_WORDS}\n\n{words}\n", encoding="utf-8")


def _measured(facts: Mapping[str, str], rows: Sequence[Row], minutes: float) -> str:
    lines = [line for row in rows for line in row.lines]
    told = "\n".join(f"| {name} | {fact} |" for name, fact in facts.items())
    checked = "\n".join(f"- {row.number}. {row.title}: {row.checked}." for row in rows)
    notes = "\n".join(f"- {row.number}. {note}" for row in rows for note in row.notes)
    drawn = [drawing for row in rows for drawing in row.curves]
    return _PAGE.format(
        minutes=minutes,
        facts=told,
        table=table.markdown(lines),
        checked=checked,
        notes=notes,
        drawings="\n\n".join(f"![{one.title}]({one.file})" for one in drawn),
    )


_PAGE = """# Benchmarks

Written by `make bench` ({minutes:.0f} minutes); `make bench ONLY=accept` runs one row. Darkroom
and its peers take turns on one machine, so the ratio of a round is what counts; its range over the
rounds shows how reliable it is. The absolute figures belong to this machine on that day.

`ours` and `theirs` are medians over the rounds; `ratio` is the median of the ratios of each
round. It is ours ÷ theirs for figures per second, in rows 2, 5 and 12, and for commands sent. It is
theirs ÷ ours for all other times, CPU and memory. Without a peer it is our own figure. `at
least` is the bound, `aim` the goal beyond it: with ≥ more is better, with ≤ less. `reached`
says which of the two the ratio meets: **no** means that it misses the bound, `not the aim` that
there is only an aim and it is missed, and a dash that the line has no goal.

| | |
|---|---|
{facts}

{table}

Each run also checks its result:

{checked}

Notes:

{notes}

How costs grow with the load:

{drawings}
"""
