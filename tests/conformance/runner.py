"""Runs Keras's own tests on this backend: `python -m tests.conformance ops/nn_test.py`.

Without targets it runs the suite that has to pass: in host mode the tests of all folders but
`LEFT_OUT`, in compiled mode those of `COMPILED`, where operations and layers are computed.
The tests come from the installed keras wheel and run in a pytest of their own process, with a
temporary folder for its settings and for what the tests write, so nothing is written beside them.
Exit status: 0 all well; 1 a test failed or errored, or an exclusion names no test; 2 wrong usage,
or pytest could not run.
"""

import argparse
import ast
import difflib
import importlib.util
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from . import exclusions, tables
from .neutralise import named_comparisons, neutralise
from .plugin import SETTINGS
from .results import Run, Test, collect

# The folder of these modules, importable under this name without importing the package around it.
ALIAS = "kerasvino_conformance"
# The suite: not the networks of keras.applications at full size (tests/parity has some of them),
# nor the wrappers for scikit-learn.
LEFT_OUT = ("applications", "wrappers")
COMPILED = (
    "layers/attention", "layers/convolutional", "layers/core", "layers/rnn", "ops", "random",
)  # fmt: skip
MARKERS = ("requires_trainable_backend", "multi_device")
RESTARTS = 50  # after processes that died in native code
GRACE = 30.0  # seconds after a test's time limit until its process is ended
OUTPUTS = ("--write", "--json", "--failures", "--log")


class UsageError(ValueError):
    """The command line asks for something that there is not."""


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    try:
        options = parse(argv)
        if options.sites:
            return print_sites(options)
        runs = [run(mode, targets, options) for mode, targets in options.plan]
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


def parse(argv: list[str]) -> argparse.Namespace:
    """The options; `plan`, `source`, `extra` and `exclusions` are worked out from them.

    The plan is a list of (mode, targets).
    """
    options, extra = parser().parse_known_args(_before_dashes(argv))
    options.extra = extra + argv[len(_before_dashes(argv)) + 1 :]
    options.source = keras_source()
    options.only = read_only(options.only) if options.only else None
    if options.only:
        options.targets = options.targets or sorted({id.partition("::")[0] for id in options.only})
    for target in options.targets:
        check_target(options.source, target)
    options.plan = make_plan(options)
    try:
        options.exclusions = exclusions.read()
    except ValueError as error:
        raise UsageError(str(error)) from error
    return options


def make_plan(options: argparse.Namespace) -> list[tuple[str, list[str]]]:
    suite = not options.targets
    everything = options.targets or [f for f in folders(options.source) if f not in LEFT_OUT]
    if options.peer:
        return [("peer", everything)]
    eager = options.eager or ("both" if suite else "host")
    modes = exclusions.MODES if eager == "both" else (eager,)
    if suite and not options.trainable:
        options.exclude_marker.append("requires_trainable_backend")
    return [(m, list(COMPILED) if suite and m == "compiled" else everything) for m in modes]


def folders(source: Path) -> list[str]:
    """The folders of keras/src that have tests."""
    return sorted({path.relative_to(source).parts[0] for path in source.glob("*/**/*_test.py")})


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m tests.conformance",
        description="Run Keras's own tests, from the installed wheel, on kerasvino. Options that "
        "are not listed go to pytest, and so does everything after --.",
        allow_abbrev=False,
    )
    add = result.add_argument
    add("targets", nargs="*", help="files, folders, test ids of keras/src; default: the suite")
    add("--eager", choices=[*exclusions.MODES, "both"], help="KERASVINO_EAGER; default: host")
    add("--peer", action="store_true", help="run Keras's bundled openvino backend instead")
    add("--keep-skips", action="store_true", help='leave skips by the name "openvino" in place')
    add("--trainable", action="store_true", help="run the tests that train, too")
    add("--workers", type=int, default=1, help="processes (pytest-xdist), default 1")
    add("--exclude-marker", action="append", default=[], choices=MARKERS)
    add("-k", dest="keyword", metavar="EXPR", help="pytest's -k")
    add("--only", metavar="FILE", help="run only the tests that FILE lists (--failures writes one)")
    add("--timeout", type=float, default=300.0, help="seconds for one test, default 300")
    add("--write", metavar="FILE", help="write the tables as markdown")
    add("--json", metavar="FILE", help="write counts and every test as JSON")
    add("--failures", metavar="FILE", help="write the failed tests: id, mode, error; tab-separated")
    add("--log", metavar="FILE", help="keep pytest's own output")
    add("--sites", action="store_true", help='only list the comparisons with the name "openvino"')
    return result


def _before_dashes(argv: list[str]) -> list[str]:
    return argv[: argv.index("--")] if "--" in argv else argv


def keras_source() -> Path:
    """The folder `keras/src` of the installed keras, found without importing it."""
    spec = importlib.util.find_spec("keras")
    if spec is None or spec.origin is None:
        raise UsageError("keras is not installed")
    return Path(spec.origin).resolve().parent / "src"


def check_target(source: Path, target: str) -> None:
    name = target.partition("::")[0]
    if not Path(name).is_absolute() and (source / name).exists():
        return
    tests = [path.relative_to(source).as_posix() for path in source.rglob("*_test.py")]
    alike = difflib.get_close_matches(name, tests, n=5)
    hint = f"; did you mean {', '.join(alike)}?" if alike else ""
    hint = hint if tests else ", nor any other test: the wheel of a nightly is built without them"
    raise UsageError(f"there is no {name} in keras/src{hint}")


def read_only(file: str) -> list[str]:
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    ids = [line.partition("\t")[0].strip() for line in lines]
    if not any(ids):
        raise UsageError(f"{file} lists no tests")
    return [id for id in ids if id]


def run(mode: str, targets: list[str], options: argparse.Namespace) -> Run:
    """Runs the tests of `targets` in eager mode `mode`, again after each death of the process."""
    start = time.perf_counter()
    tests: dict[str, Test] = {}
    with tempfile.TemporaryDirectory(prefix="kerasvino-conformance-") as name:
        folder = Path(name)
        prepare(folder)
        log = Path(options.log) if options.log else folder / "log"
        for attempt in range(RESTARTS):
            records = folder / f"records{attempt}"
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
    missing = {e.test for e in options.exclusions if not _file_exists(options.source, e.test)}
    ordered = sorted(tests.values(), key=lambda test: test.id)
    seconds = time.perf_counter() - start
    unknown = sorted(missing.union(unknown))
    return Run(mode, ordered, unknown, status, seconds, options.workers)


def _file_exists(source: Path, test: str) -> bool:
    return (source / test.partition("::")[0]).is_file()


def prepare(folder: Path) -> None:
    """Makes what pytest and the tests find in the temporary folder."""
    (folder / "pytest.ini").write_text("[pytest]\npython_files = *_test.py\n", encoding="utf-8")
    (folder / "work").mkdir()
    (folder / "keras").mkdir()
    alias = folder / "path" / ALIAS
    alias.mkdir(parents=True)
    text = f"__path__ = [{str(Path(__file__).resolve().parent)!r}]\n"
    (alias / "__init__.py").write_text(text, encoding="utf-8")


def make_settings(
    mode: str, targets: list[str], options: argparse.Namespace, records: Path, done: list[str]
) -> dict[str, object]:
    whole = [_prefix(t) for t in targets if "::" not in t]
    return {
        "backend": "peer" if mode == "peer" else "kerasvino",
        "source": str(options.source),
        "records": str(records),
        "neutralise": not options.keep_skips,
        "trainable": options.trainable,
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
    environment = make_environment(mode, folder, settings_file)
    with log.open("ab") as out:
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


def make_environment(mode: str, folder: Path, settings_file: Path) -> dict[str, str]:
    left_out = ("PYTEST_ADDOPTS", "KERASVINO_EAGER")
    environment = {key: value for key, value in os.environ.items() if key not in left_out}
    paths = [folder / "path", Path(__file__).resolve().parents[2], os.environ.get("PYTHONPATH")]
    environment |= {
        SETTINGS: str(settings_file),
        "KERAS_BACKEND": "openvino",
        "KERAS_HOME": str(folder / "keras"),
        "PYTHONPATH": os.pathsep.join(str(path) for path in paths if path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    if mode != "peer":
        environment["KERASVINO_EAGER"] = mode
    return environment


def write(runs: list[Run], options: argparse.Namespace, argv: list[str]) -> None:
    command = shlex.join(["python", "-m", "tests.conformance", *without_outputs(argv)])
    if options.write:
        Path(options.write).write_text(tables.markdown(runs, command), encoding="utf-8")
    if options.json:
        results = [one.as_json() for one in runs]
        data = {"command": command, "versions": tables.versions(), "runs": results}
        Path(options.json).write_text(json.dumps(data, indent=1), encoding="utf-8")
    if options.failures:
        lines = [f"{t.id}\t{one.mode}\t{t.message}\n" for one in runs for t in one.failures]
        Path(options.failures).write_text("".join(lines), encoding="utf-8")


def without_outputs(argv: list[str]) -> list[str]:
    """The arguments without the options that only say where results are written."""
    kept, skip = [], False
    for argument in argv:
        if not skip and argument.partition("=")[0] not in OUTPUTS:
            kept.append(argument)
        skip = argument in OUTPUTS
    return kept


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
