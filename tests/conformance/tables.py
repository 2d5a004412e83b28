"""A run as tables, for the terminal (rich) and for `docs/conformance.md` (markdown)."""

import importlib.metadata
import os
import platform
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from kerasvino.cli import installed

from .results import ALONE, Row, Run, per_file, per_folder, skip_groups, total

COLUMNS = ("file", "passed", "failed", "errors", "skipped", "excluded", "neutralised", "seconds")
SHOWN = 20  # failed tests named on the terminal

INTRODUCTION = """\
# Conformance

Keras's own tests, from the installed wheel, run on kerasvino. This file is generated:

    {command}

{versions}

A file with {alone} tests or more has a row of its own, the others of a folder share one.
Columns: *skipped*: by the test itself or by its marks, the reasons are below; *excluded*: on our
list (`tests/conformance/exclusions.toml`); *neutralised*: the test, its class or a function it
called skips or branches on the name "openvino", which the runner undoes while it loads the test
files, by the rule in `tests/conformance/neutralise.py`. Neutralised tests were run, and count in
the other columns too.
"""


def versions() -> str:
    parts = [f"{name} {number}" for name, number in installed.keras().items()]
    parts += [f"{n} {importlib.metadata.version(n)}" for n in ("openvino", "numpy", "pytest")]
    return ", ".join([*parts, f"Python {platform.python_version()}", platform.machine()])


def duration(seconds: float) -> str:
    """Wall time, as 12 min 5 s.

    >>> duration(61.2)
    '1 min 1 s'
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def cells(row: Row) -> tuple[str, ...]:
    counts = (row.passed, row.failed, row.error, row.skipped, row.excluded, row.neutralised)
    return (row.file, *(f"{count:,}" for count in counts), f"{row.seconds:.1f}")


def title(run: Run) -> str:
    if run.mode == "peer":
        return "Keras's bundled backend"
    return f"KERASVINO_EAGER={run.mode}"


def show(run: Run, console: Console) -> None:
    """Prints the table, the grouped reasons of skips, and the first failed tests."""
    table = Table(title=title(run), title_justify="left", show_footer=True)
    for name, sum_ in zip(COLUMNS, cells(total(run.tests)), strict=True):
        left = name == "file"
        table.add_column(
            name, sum_, justify="left" if left else "right", overflow="fold", no_wrap=not left
        )
    for row in per_file(run.tests):
        table.add_row(*cells(row))
    console.print(table)
    for reason, tests, files in skip_groups(run.tests):
        console.print(f"skipped {tests:,} (files: {files}): {reason}", markup=False)
    for test in run.failures[:SHOWN]:
        console.print(f"{test.outcome} {test.id}", markup=False, highlight=False)
        console.print(f"    {test.message}", markup=False, highlight=False, style="dim")
    if len(run.failures) > SHOWN:
        console.print(f"… and {len(run.failures) - SHOWN:,} more (--failures FILE lists all)")
    for id in run.unknown:
        console.print(f"unknown test in exclusions.toml: {id}", markup=False)


def markdown(runs: Iterable[Run], command: str) -> str:
    parts = [INTRODUCTION.format(command=command, versions=versions(), alone=ALONE)]
    for run in runs:
        parts.append(f"## {title(run)}\n")
        workers = f"{run.workers} process{'es' * (run.workers > 1)}"
        parts.append(f"{duration(run.seconds)} in {workers} on {os.cpu_count()} cores.\n")
        rows = [cells(row) for row in per_folder(run.tests)]
        sums = tuple(f"**{cell}**" for cell in cells(total(run.tests)))
        parts.append(_table(COLUMNS, [*rows, sums], numbers=True))
        skipped = [(f"{tests:,}", str(files), why) for why, tests, files in skip_groups(run.tests)]
        excluded = [(t.id, t.message) for t in run.tests if t.outcome == "excluded"]
        failed = [(f"`{t.id}`", t.message) for t in run.failures]
        for heading, names, body in (
            ("Skipped", ("tests", "files", "reason"), skipped),
            ("Excluded", ("test", "reason"), excluded),
            ("Failed", ("test", "error"), failed),
        ):
            if body:
                parts += [f"### {heading}\n", _table(names, body)]
    return "\n".join(parts)


def _table(names: tuple[str, ...], rows: Iterable[tuple[str, ...]], numbers: bool = False) -> str:
    rule = ["---", *(("--:" if numbers else "---") for _ in names[1:])]
    lines = [names, rule, *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
