"""`make bench`: measure every row, print the table, write the page."""

import argparse
import importlib
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import machine, report, table
from bench.results import Row
from bench.run import Run

#: The rows in the order of the table, by the word that `ONLY=` takes.
ROWS = (
    "accept",
    "pickup",
    "waiting",
    "throughput",
    "cpu",
    "counted",
    "fanout",
    "growth",
    "batch",
    "startup",
    "webhooks",
    "many_images",
)
ROUNDS = 3


def main(words: Sequence[str]) -> int:
    """Measure the requested rows; return the exit code."""
    asked = _read(words)
    names = asked.only.split(",") if asked.only else ROWS
    began = time.monotonic()
    facts = machine.describe()
    for name, fact in facts.items():
        print(f"{name:<10} {fact}", flush=True)
    rows = [_measure(name, asked.rounds) for name in names]
    lines = [line for row in rows for line in row.lines]
    print("\n" + table.plain(lines))
    minutes = (time.monotonic() - began) / 60
    print(f"\n{len(lines)} comparisons in {minutes:.1f} minutes")
    if not asked.only:
        report.write(facts, rows, minutes=minutes)
    return 0


def _read(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--only", default="", help=f"rows, of {', '.join(ROWS)}")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args(words)
    unknown = set(filter(None, asked.only.split(","))) - set(ROWS)
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    return asked


def _measure(name: str, rounds: int) -> Row:
    module = importlib.import_module(f"bench.benchmarks.{name}")
    print(f"\n{module.NUMBER}. {module.TITLE}", flush=True)
    with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as directory:
        row: Row = module.measure(Run(Path(directory), rounds, _say))
    return row


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
