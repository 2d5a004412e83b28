"""What a run recorded: one `Test` each, a `Run` for one eager mode, and counts per file."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

ALONE = 100  # tests with which a file has a row of its own in a table by folder
RARE = 3  # tests with fewer of which the reasons of skips are counted together
OUTCOMES = ("passed", "failed", "error", "upstream", "skipped", "excluded")


@dataclass(frozen=True)
class Test:
    """`message`: the error on one line, or the reason of a skip or exclusion. A file that could
    not be collected stands here too, under its own name."""

    id: str
    outcome: str
    seconds: float
    neutralised: bool
    message: str = ""
    traceback: str = ""
    peers: tuple[str, ...] = ()  # Keras's own backends on which it fails, too

    __test__ = False  # it is no test class of pytest's

    @property
    def file(self) -> str:
        return self.id.partition("::")[0]

    @property
    def bad(self) -> bool:
        return self.outcome in ("failed", "error")


@dataclass
class Run:
    mode: str  # "host", "compiled", or the name of one of Keras's own backends
    tests: list[Test]
    unknown: list[str] = field(default_factory=list)  # excluded tests that do not exist
    status: int = 0  # of pytest; above 1: it could not run
    seconds: float = 0.0  # of the wall
    workers: int = 1

    @property
    def failures(self) -> list[Test]:
        return [test for test in self.tests if test.bad]

    @property
    def ok(self) -> bool:
        return not self.failures and not self.unknown and self.status in (0, 1)

    def as_json(self) -> dict:
        rows = [asdict(row) for row in [*per_file(self.tests), total(self.tests)]]
        tests = [asdict(test) for test in self.tests]
        return {"mode": self.mode, "files": rows, "tests": tests, "unknown": self.unknown}


@dataclass(frozen=True)
class Row:
    """The line of one file in the table."""

    file: str
    passed: int
    failed: int
    error: int
    upstream: int
    skipped: int
    excluded: int
    neutralised: int
    seconds: float


def per_file(tests: Iterable[Test]) -> list[Row]:
    files: dict[str, list[Test]] = {}
    for test in tests:
        files.setdefault(test.file, []).append(test)
    return [_row(file, files[file]) for file in sorted(files)]


def per_folder(tests: Iterable[Test]) -> list[Row]:
    """A row for each folder of at most two names, without its large files, which have their own."""
    tests = list(tests)
    sizes = Counter(test.file for test in tests)
    places: dict[tuple[str, str], list[Test]] = {}
    for test in tests:
        folder = "/".join(test.file.split("/")[:-1][:2])
        large = sizes[test.file] >= ALONE
        places.setdefault((folder, test.file if large else ""), []).append(test)
    rows = []
    for (folder, file), some in sorted(places.items()):
        count = len({test.file for test in some})
        rows.append(_row(file or f"{folder} ({count} file{'s' * (count > 1)})", some))
    return rows


def total(tests: list[Test]) -> Row:
    return _row("total", tests)


def _row(file: str, tests: list[Test]) -> Row:
    counts = Counter(test.outcome for test in tests)
    return Row(
        file,
        **{outcome: counts[outcome] for outcome in OUTCOMES},
        neutralised=sum(test.neutralised for test in tests),
        seconds=round(sum(test.seconds for test in tests), 1),
    )


def skip_groups(tests: Iterable[Test]) -> list[tuple[str, int, int]]:
    """(reason, tests, files) of the skipped tests; reasons that differ in values are one."""
    groups: dict[str, list[Test]] = {}
    for test in tests:
        if test.outcome == "skipped":
            groups.setdefault(reason_group(test.message), []).append(test)
    rare = [reason for reason, some in groups.items() if len(some) < RARE]
    if len(rare) > 1:
        others = [test for reason in rare for test in groups.pop(reason)]
        groups[f"{len(rare)} other reasons, of fewer than {RARE} tests each"] = others
    rows = [(reason, len(some), len({t.file for t in some})) for reason, some in groups.items()]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


def upstream_groups(tests: Iterable[Test]) -> list[tuple[tuple[str, str], list[Test]]]:
    """((backends, error), tests) of the tests that fail on backends of Keras's, too.

    The errors are without the line of the test in which they were raised.
    """
    groups: dict[tuple[str, str], list[Test]] = {}
    for test in tests:
        if test.outcome == "upstream":
            message = re.sub(r" \(\w+_test\.py:\d+\)$", "", test.message)
            groups.setdefault((", ".join(test.peers), message), []).append(test)
    return sorted(groups.items(), key=lambda group: (-len(group[1]), group[1][0].id))


def reason_group(reason: str) -> str:
    """The reason without the values that are formatted into it.

    >>> reason_group("Resizing is not supported. Received: interpolation=area.")
    'Resizing is not supported'
    """
    reason = " ".join(reason.split())
    return re.sub(r"\s*\bReceived:.*", "", reason).rstrip(".") or "no reason given"


def read_records(folder: Path) -> Iterator[dict]:
    for path in sorted(folder.glob("*.jsonl")):
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                if line.endswith("\n"):  # a process that died may leave half a line
                    yield {"process": path.stem, **json.loads(line)}


def collect(folder: Path) -> tuple[dict[str, Test], list[str], bool]:
    """The tests recorded in `folder` by id, the unknown exclusions, and whether pytest finished.

    A test that started and did not end is a failure: its process died.
    """
    tests: dict[str, Test] = {}
    started: dict[str, str] = {}
    unknown: set[str] = set()
    finished = False
    for record in read_records(folder):
        event, process = record.pop("event"), record.pop("process")
        if event == "start":
            started[record["id"]] = process
        elif event == "unknown":
            unknown.add(record["id"])
        elif event == "finished":
            finished = True
        else:
            tests[record["id"]] = Test(**record)
    for id in started.keys() - tests.keys():
        text = (folder / f"{started[id]}.dump").read_text(encoding="utf-8")
        tests[id] = _died(id, text)
    return tests, sorted(unknown), finished


def _died(id: str, dump: str) -> Test:
    first = next(iter(dump.splitlines()), "no trace of why")
    if first.startswith("Timeout"):
        message = f"timed out in native code: {first}"
    else:
        message = f"the process died: {first}"
    return Test(id, "failed", 0.0, False, message, dump[-8000:])
