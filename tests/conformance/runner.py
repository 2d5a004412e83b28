"""Runs Keras's own tests on this backend: `python -m tests.conformance ops/nn_test.py`.

Without targets it runs the suite that has to pass: in host mode the tests of all folders but
`LEFT_OUT`, in compiled mode those of `COMPILED`, where operations and layers are computed.
The tests come from the installed keras wheel, or from a checkout of Keras (`--source`), whose
code is then run, too. They run in a pytest of their own process, with a temporary folder for its
settings and for what the tests write, so nothing is written beside them.
Exit status: 0 all well; 1 a test failed or errored, or an exclusion names no test; 2 wrong usage,
or pytest could not run.
"""

import argparse
import ast
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from . import exclusions, tables
from .exclusions import MODES
from .neutralise import named_comparisons, neutralise
from .options import UsageError, files_of, folders, parse, without_outputs
from .plugin import SETTINGS
from .results import Run, Test, collect

# The folder of these modules, importable under this name without importing the package around it.
ALIAS = "kerasvino_conformance"
RESTARTS = 50  # after processes that died in native code
SECONDS = "seconds"  # the file in a run's folder that says how long it has taken
GRACE = 30.0  # seconds after a test's time limit until its process is ended


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    try:
        options = parse(argv)
        if options.sites:
            return print_sites(options)
        runs = [run(mode, targets, options) for mode, targets in options.plan]
        runs = compare(runs, options)
    except UsageError as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    console = Console(width=None if sys.stdout.isatty() else 120)
    for one in runs:
        tables.show(one, console)
    write(runs, options, argv)
    if any(one.status > 1 for one in runs):
        return 2
    return 0 if all(one.ok for one in runs) else 1


def run(mode: str, targets: list[str], options: argparse.Namespace) -> Run:
    """Runs the tests of `targets` in `mode`, again after each death of the process.

    `mode` is an eager mode of kerasvino, or the name of one of Keras's own backends.
    """
    with run_folder(mode, options) as folder:
        tests = earlier(folder)
        prepare(folder)
        log = Path(options.log) if options.log else folder / "log"
        for _ in range(RESTARTS):
            records = folder / f"records{len(list(folder.glob('records*')))}"
            records.mkdir()
            settings = make_settings(mode, targets, options, records, sorted(tests))
            status = run_pytest(mode, targets, options, folder, settings, log)
            new, unknown, finished = collect(records)
            progress = new.keys() - tests.keys()
            tests |= new
            if finished or not progress:
                break
        if status == 5 and tests:  # all that was left after a death had been deselected
            status = 1
        if not finished or status > 1:
            status = max(status, 2)
            print("\n".join(log.read_text("utf-8").splitlines()[-30:]), file=sys.stderr)
        seconds = float((folder / SECONDS).read_text())
    missing = {e.test for e in options.exclusions if not _file_exists(options.source, e.test)}
    ordered = sorted(tests.values(), key=lambda test: test.id)
    unknown = sorted(missing.union(unknown))
    return Run(mode, ordered, unknown, status, seconds, options.workers)


def compare(runs: list[Run], options: argparse.Namespace) -> list[Run]:
    """The runs, where tests that fail on a backend of `options.compare`, too, are told apart."""
    ids = sorted({test.id for one in runs for test in one.failures})
    if not ids or not options.compare:
        return runs
    there: dict[str, list[Test]] = {}
    for peer in options.compare:
        asked = argparse.Namespace(**vars(options) | {"only": ids, "keep": None})
        for test in run(peer, files_of(ids), asked).failures:
            there.setdefault(test.id, []).append(replace(test, peers=(peer,)))
    return [replace(one, tests=[elsewhere(t, there.get(t.id, [])) for t in one.tests])
            for one in runs]  # fmt: skip


def elsewhere(test: Test, there: list[Test]) -> Test:
    """The failed test with the outcome "upstream" if it failed on Keras's backends `there`."""
    if not (test.bad and there):
        return test
    return replace(test, outcome="upstream", peers=tuple(p for t in there for p in t.peers))


@contextmanager
def run_folder(mode: str, options: argparse.Namespace) -> Iterator[Path]:
    """Where a run in `mode` has its settings, its records and what the tests write."""
    if options.keep:
        folder = Path(options.keep).resolve() / mode
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    else:
        with tempfile.TemporaryDirectory(prefix="kerasvino-conformance-") as name:
            yield Path(name)


def earlier(folder: Path) -> dict[str, Test]:
    """The tests that passed or were skipped in a run that kept its records in `folder`."""
    tests: dict[str, Test] = {}
    for records in folder.glob("records*"):
        tests |= {id: test for id, test in collect(records)[0].items() if not test.bad}
    return tests


@contextmanager
def counted_seconds(file: Path) -> Iterator[None]:
    """Adds the time of its body to the seconds in `file`, those of an interrupted run, too."""
    before = float(file.read_text()) if file.exists() else 0.0
    start = time.perf_counter()
    try:
        yield
    finally:
        file.write_text(str(before + time.perf_counter() - start))


def _file_exists(source: Path, test: str) -> bool:
    return (source / test.partition("::")[0]).is_file()


def prepare(folder: Path) -> None:
    """Makes what pytest and the tests find in the folder of the run."""
    (folder / "pytest.ini").write_text("[pytest]\npython_files = *_test.py\n", encoding="utf-8")
    (folder / "work").mkdir(exist_ok=True)
    (folder / "keras").mkdir(exist_ok=True)
    alias = folder / "path" / ALIAS
    alias.mkdir(parents=True, exist_ok=True)
    text = f"__path__ = [{str(Path(__file__).resolve().parent)!r}]\n"
    (alias / "__init__.py").write_text(text, encoding="utf-8")


def make_settings(
    mode: str, targets: list[str], options: argparse.Namespace, records: Path, done: list[str]
) -> dict[str, object]:
    whole = [_prefix(t) for t in targets if "::" not in t]
    return {
        "backend": "kerasvino" if mode in MODES else mode,
        "source": str(options.source),
        "records": str(records),
        "neutralise": not options.keep_skips,
        "trainable": options.trainable and mode != "numpy",
        "timeout": options.timeout,
        "hard_timeout": options.timeout + GRACE,
        "excluded": exclusions.reasons(options.exclusions, mode),
        "whole": whole,
        "only": options.only,
        "done": done,
    }


def _prefix(target: str) -> str:
    """What the ids of the tests of a file or folder begin with."""
    if target.endswith(".py"):
        return f"{target}::"
    path = Path(target).as_posix()
    return "" if path == "." else f"{path}/"


def run_pytest(
    mode: str, targets: list[str], options: argparse.Namespace, folder: Path, settings: dict,
    log: Path,
) -> int:  # fmt: skip
    settings_file = folder / "settings.json"
    settings_file.write_text(json.dumps(settings), encoding="utf-8")
    command = [*pytest_command(options, folder), *(str(options.source / t) for t in targets)]
    environment = make_environment(mode, options, folder, settings_file)
    with log.open("ab") as out, counted_seconds(folder / SECONDS):
        done = subprocess.run(
            command, cwd=folder / "work", env=environment, stdout=out, stderr=subprocess.STDOUT
        )
    return done.returncode


def pytest_command(options: argparse.Namespace, folder: Path) -> list[str]:
    source = options.source
    command = [sys.executable, "-m", "pytest", "-c", str(folder / "pytest.ini")]
    command += [f"--rootdir={source}", f"--confcutdir={source}", "-p", f"{ALIAS}.plugin"]
    command += ["-p", "no:cacheprovider", "-p", "no:faulthandler", "-q", "--tb=short"]
    command += ["--disable-warnings", "--continue-on-collection-errors"]
    if options.workers > 1 or "-n" in options.extra:
        command += ["-p", "xdist.plugin"]
    if options.workers > 1:
        command += ["-n", str(options.workers)]
    if options.exclude_marker:
        command += ["-m", f"not ({' or '.join(options.exclude_marker)})"]
    if options.keyword:
        command += ["-k", options.keyword]
    return [*command, *options.extra]


def make_environment(
    mode: str, options: argparse.Namespace, folder: Path, settings_file: Path
) -> dict[str, str]:
    left_out = ("PYTEST_ADDOPTS", "KERASVINO_EAGER")
    environment = {key: value for key, value in os.environ.items() if key not in left_out}
    own = Path(__file__).resolve().parents[2]
    paths = [folder / "path", options.checkout, own, os.environ.get("PYTHONPATH")]
    environment |= {
        SETTINGS: str(settings_file),
        "KERAS_BACKEND": "openvino" if mode in MODES else mode,
        "KERAS_HOME": str(folder / "keras"),
        "PYTHONPATH": os.pathsep.join(str(path) for path in paths if path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    if mode in MODES:
        environment["KERASVINO_EAGER"] = mode
    return environment


def write(runs: list[Run], options: argparse.Namespace, argv: list[str]) -> None:
    command = shlex.join(["python", "-m", "tests.conformance", *without_outputs(argv)])
    if options.write:
        file = Path(options.write)
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        section = tables.section(runs, command, options.checkout)
        file.write_text(tables.document(text, section), encoding="utf-8")
    if options.json:
        results = [one.as_json() for one in runs]
        data = {"command": command, "versions": tables.versions(options.checkout), "runs": results}
        Path(options.json).write_text(json.dumps(data, indent=1), encoding="utf-8")
    if options.failures:
        lines = [f"{t.id}\t{one.mode}\t{t.message}\n" for one in runs for t in one.failures]
        Path(options.failures).write_text("".join(lines), encoding="utf-8")


def print_sites(options: argparse.Namespace) -> int:
    """Lists each comparison with the name in the test files: rewritten, or left as it is."""
    for target in options.targets or folders(options.source):
        path = options.source / target
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            if not file.name.endswith("_test.py") and file.parent.name != "testing":
                continue
            tree = ast.parse(file.read_bytes())
            found = named_comparisons(tree)
            rewritten = {site.line: site for site in neutralise(tree)}
            for line, text in found:
                scope = rewritten[line].scope if line in rewritten else "left"
                print(f"{file.relative_to(options.source)}:{line}: {scope}: {text}")
    return 0
