"""A run as tables: for the terminal (rich), and as a section of `docs/conformance.md`."""

import importlib.metadata
import os
import platform
import re
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kerasvino.cli import installed

from .exclusions import MODES
from .results import (
    ALONE,
    Row,
    Run,
    Test,
    per_file,
    per_folder,
    skip_groups,
    total,
    upstream_groups,
)

COLUMNS = (
    "file", "passed", "failed", "errors", "upstream", "skipped", "excluded", "neutralised",
    "seconds",
)  # fmt: skip
SHOWN = 20  # failed tests named on the terminal
NAMED = 5  # tests of one error that are named in the document

INTRODUCTION = f"""\
# Conformance

Keras's own tests, run on kerasvino. This file is generated: each section by the command that stands
in it. With `--keep RECORDS` the run had several parts: what had passed, or was skipped, in one part
was not run again in the next.

A file with {ALONE} tests or more has a row of its own, the others of a folder share one. Columns:

- *upstream*: failed here, and on Keras's own NumPy or JAX backend too, where the runner tries each
  test that fails; they are listed with the backend. *failed* and *errors* are all others.
- *skipped*: by the test itself or by its marks, the reasons are below.
- *excluded*: on our list (`tests/conformance/exclusions.toml`).
- *neutralised*: the test, its class or a function it called skips or branches on the name
  "openvino", which the runner undoes while it loads the test files, by the rule in
  `tests/conformance/neutralise.py`. Neutralised tests were run, and count in the other columns too.
"""

WHEEL = """\
## The installed Keras

The tests of the wheel, by `make conformance`:
"""

CHECKOUT = """\
## The pluggable layout

The branch of Keras in which backends are packages of their own, with its own tests, by
`make conformance-pluggable KERAS_SOURCE=/path/to/keras`, where the caller has made the folder with
`git clone --branch pluggable_backend https://github.com/keras-team/keras /path/to/keras`:
"""

CHANGED = """\
## The pluggable layout, with changes

Keras's branch `pluggable_backend`, with changes in:

{files}

At commit 937c08e60a the branch's `Functional.call` calls a function that is not defined, so every
functional model fails on every backend. Here it calls `self._run_through_graph(inputs)` alone, as
it did before the branch, and the tests that failed for that are run:
"""

HUB = """\
## KerasHub

KerasHub's tests of its samplers, of `layers/modeling` and of the models that generate, with the
code of the same checkout and the installed Keras, by
`make conformance-hub KERAS_HUB_SOURCE=/path/to/keras-hub`, where the caller has made the folder
with `git clone https://github.com/keras-team/keras-hub /path/to/keras-hub`. Not run are the tests
of preprocessors, converters and tokenizers, which compute in TensorFlow on every backend.
KerasHub's own `conftest.py` is not used: it skips on "openvino" what it does not list, and all
training.
"""

# The sections of the document, by their headings.
SECTIONS = tuple(text.splitlines()[0] for text in (WHEEL, CHECKOUT, CHANGED, HUB))


def versions(checkout: Path | None) -> str:
    """What a run stands on: Keras, of the folder `checkout` where there is one, and the rest."""
    if checkout is None:
        found = installed.keras()
    elif is_hub(checkout):
        found = {**installed.keras(), "keras-hub": checkout_version(checkout)}
    else:
        found = {"keras": checkout_version(checkout)}
    parts = [f"{name} {number}" for name, number in found.items()]
    parts += [f"{n} {importlib.metadata.version(n)}" for n in ("openvino", "numpy", "pytest")]
    return ", ".join([*parts, f"Python {platform.python_version()}", platform.machine()])


def is_hub(checkout: Path) -> bool:
    return (checkout / "keras_hub" / "src").is_dir()


def checkout_version(checkout: Path) -> str:
    """The version and, where git knows it, the commit with its date."""
    package = "keras_hub" if is_hub(checkout) else "keras"
    text = (checkout / package / "src" / "version.py").read_text(encoding="utf-8")
    number = text.partition('__version__ = "')[2].partition('"')[0]
    commit = "".join(git(checkout, "log", "-1", "--format=%h of %cs"))
    return f"{number} (commit {commit})" if commit else number


def git(folder: Path, *arguments: str) -> list[str]:
    """The lines that a command of git writes; none where `folder` is no checkout of git's."""
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True).stdout.splitlines()


def opening(checkout: Path | None) -> str:
    """The text with which the section of a run begins."""
    if checkout is None:
        return WHEEL
    if is_hub(checkout):
        return HUB
    changed = git(checkout, "diff", "--name-only", "HEAD")
    return CHANGED.format(files="\n".join(f"- `{f}`" for f in changed)) if changed else CHECKOUT


def duration(seconds: float) -> str:
    """Wall time, as 12 min 5 s.

    >>> duration(61.2)
    '1 min 1 s'
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def cells(row: Row) -> tuple[str, ...]:
    counts = (row.passed, row.failed, row.error, row.upstream, row.skipped, row.excluded)
    return (row.file, *(f"{count:,}" for count in (*counts, row.neutralised)), f"{row.seconds:.1f}")


def title(run: Run) -> str:
    return f"KERASVINO_EAGER={run.mode}" if run.mode in MODES else f"Keras's {run.mode} backend"


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


def document(text: str, section: str) -> str:
    """The document `text` with `section` in the place of the one that has the same heading."""
    parts = {part.splitlines()[0]: part.strip() for part in re.split(r"(?m)^(?=## )", text) if part}
    parts[section.splitlines()[0]] = section.strip()
    kept = [parts[heading] for heading in SECTIONS if heading in parts]
    return "\n\n".join([INTRODUCTION.strip(), *kept]) + "\n"


def section(runs: Iterable[Run], command: str, checkout: Path | None) -> str:
    parts = [opening(checkout), f"    {command}\n", f"{versions(checkout)}\n"]
    for run in runs:
        parts.append(f"### {title(run)}\n")
        workers = f"{run.workers} process{'es' * (run.workers > 1)}"
        parts.append(f"{duration(run.seconds)} in {workers} on {os.cpu_count()} cores.\n")
        rows = [cells(row) for row in per_folder(run.tests)]
        sums = tuple(f"**{cell}**" for cell in cells(total(run.tests)))
        parts.append(_table(COLUMNS, [*rows, sums], numbers=True))
        skipped = [(f"{tests:,}", str(files), why) for why, tests, files in skip_groups(run.tests)]
        excluded = [(t.id, t.message) for t in run.tests if t.outcome == "excluded"]
        failed = [(f"`{t.id}`", t.message) for t in run.failures]
        upstream = [
            (f"{len(some):,}", named(some), peers, message)
            for (peers, message), some in upstream_groups(run.tests)
        ]
        for heading, names, body in (
            ("Skipped", ("tests", "files", "reason"), skipped),
            ("Excluded", ("test", "reason"), excluded),
            ("Upstream", ("tests", "which", "fail also on", "error"), upstream),
            ("Failed", ("test", "error"), failed),
        ):
            if body:
                parts += [f"#### {heading}\n", _table(names, body)]
    return "\n".join(parts)


def named(tests: list[Test]) -> str:
    """The ids of a few tests; of many, how many each file has."""
    if len(tests) <= NAMED:
        return ", ".join(f"`{test.id}`" for test in tests)
    files = Counter(test.file for test in tests)
    return ", ".join(f"{file} ({count:,})" for file, count in sorted(files.items()))


def _table(names: tuple[str, ...], rows: Iterable[tuple[str, ...]], numbers: bool = False) -> str:
    rule = ["---", *(("--:" if numbers else "---") for _ in names[1:])]
    lines = [names, rule, *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
