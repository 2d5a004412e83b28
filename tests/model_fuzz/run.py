"""Runs many cases in slices, each a process of its own, and prints what was found.

    python -m tests.model_fuzz --cases 300 --seed 1 [--without clear_session,adapt]
    python -m tests.model_fuzz --number 1000017       # one case again

A failing case is made smaller and printed so that `replay` runs it again. A slice that crashes or
hangs is reported with its case. Ends with code 1 on a disagreement.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import os
import pickle
import random
import subprocess
import sys
import tempfile

import keras

from tests.model_fuzz.changes import CHANGES
from tests.model_fuzz.drawing import draw
from tests.model_fuzz.looks import LOOKS
from tests.model_fuzz.plan import Case
from tests.model_fuzz.session import Finding, Session
from tests.model_fuzz.shrink import shrunk

__all__ = ["check", "fuzz", "main", "replay"]

SLICE_SECONDS = 1200


def check(case: Case, counts=None) -> list[Finding]:
    """Runs a case; what was found. `counts` counts the pairs (latest change, look) that were done.

    The first look that finds something ends it: what follows would find the same.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            session = Session(case, folder)
        except Exception as error:  # noqa: BLE001 - whatever is raised is a result
            return [Finding("build", "none", f"raises {type(error).__name__}", str(error), case)]
        for name, seed in case.actions:
            done = session.do(name, random.Random(seed))
            if done and counts is not None and name in LOOKS:
                counts[session.change, name] += 1
            if session.findings:
                break
    return session.findings


def replay(case: Case) -> list[Finding]:
    """Runs a case again as a summary prints it, and prints the layers of its model."""
    with tempfile.TemporaryDirectory() as folder:
        Session(case, folder).model.summary()
    return check(case)


def fuzz(numbers, without=(), on_case=None, seconds=60.0):
    """(Counter of the pairs of change and look, findings) of the cases of these seeds."""
    counts, findings = collections.Counter(), []
    for number in numbers:
        if on_case is not None:
            on_case(number, (counts, findings))
        case = _allowed(draw(number), without)
        found = check(case, counts)
        if found and seconds:
            found = _smallest(found[0], case, seconds)
        for finding in found:
            finding.number = number
        findings += found
    return counts, findings


def _allowed(case, without):
    return Case(case.plan, tuple(a for a in case.actions if a[0] not in without))


def _smallest(finding, case, seconds):
    """The finding of a smaller case that finds the like."""
    latest = [finding]

    def fails(candidate):
        found = [f for f in check(candidate) if (f.look, f.kind) == (finding.look, finding.kind)]
        latest[:] = found or latest
        return bool(found)

    shrunk(case, fails, seconds)
    return latest


def _slice(options) -> None:
    """Runs in the child: leaves results in a file, before each case its number and those so far."""

    def note(content):
        with open(options.result, "wb") as file:
            pickle.dump(content, file)

    numbers = range(options.first, options.first + options.cases)
    result = fuzz(numbers, options.without, lambda *so_far: note(so_far), options.shrink)
    note((None, result))


def _run_slices(options):
    counts, findings, crashes = collections.Counter(), [], []
    first = options.seed * 1_000_000
    end = first + options.cases
    slices = [range(n, min(n + options.slice, end)) for n in range(first, end, options.slice)]
    with concurrent.futures.ThreadPoolExecutor(options.workers) as pool:
        for found in pool.map(lambda numbers: _run_slice(options, numbers), slices):
            counts.update(found[0])
            findings += found[1]
            crashes += found[2]
    return counts, findings, crashes


def _run_slice(options, numbers):
    """(counts, findings, crashes) of some cases; after a crash with the case that follows."""
    counts, findings, crashes = collections.Counter(), [], []
    while numbers:
        crashed, code, result = _child(options, numbers)
        counts.update(result[0])
        findings += result[1]
        if crashed is not None:
            crashes.append(f"{crashed}: the process of this case ended with code {code}")
        print(f"cases {numbers[0]} to {(crashed or numbers[-1])}: {len(result[1])} failed")
        for line in [f"{f.number}: {f}" for f in result[1]] + crashes[-1:] * (crashed is not None):
            print(line)
        sys.stdout.flush()
        numbers = numbers[0:0] if crashed is None else range(crashed + 1, numbers.stop)
    return counts, findings, crashes


def _child(options, numbers):
    """(number of the case that crashed or None, exit code, result so far) of a process."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "result")
        command = [sys.executable, "-m", "tests.model_fuzz", "--result", path]
        command += ["--first", str(numbers[0]), "--cases", str(len(numbers))]
        command += ["--shrink", str(options.shrink)]
        command += ["--without", ",".join(options.without)] if options.without else []
        try:
            code = subprocess.run(command, check=False, timeout=SLICE_SECONDS).returncode
        except subprocess.TimeoutExpired:
            code = f"none after {SLICE_SECONDS} s"
        with open(path, "rb") as file:
            number, result = pickle.load(file)
    return number, code, result


def _size(finding):
    return len(finding.case.actions) + len(finding.case.plan.steps)


def report(cases, counts, findings, crashes) -> int:
    """Prints the summary; 1 if there is a disagreement."""
    groups = collections.defaultdict(list)
    for finding in findings:
        groups[finding.key].append(finding)
    for key in sorted(groups):
        smallest = min(groups[key], key=_size)
        print(f"\n{smallest}\n  {len(groups[key])} cases, the smallest {smallest.number}:")
        print(f"  replay({smallest.case!r})")
    looks = collections.Counter()
    for (_, look), count in counts.items():
        looks[look] += count
    changes = collections.Counter()
    for (change, _), count in counts.items():
        changes[change] += count
    print(f"\n{cases} cases, {sum(counts.values())} looks:", _listed(looks))
    print("looks after each change:", _listed(changes))
    missing = sorted((set(CHANGES) - set(changes)) | (set(LOOKS) - set(looks)))
    if missing:
        print("not done:", ", ".join(missing))
    wrong = len(findings) + len(crashes)
    print(f"disagreements: {wrong}")
    return int(wrong > 0)


def _listed(counts):
    return ", ".join(f"{name} {counts[name]}" for name in sorted(counts))


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.model_fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--number", type=int, help="one case, by the number that a run prints")
    parser.add_argument("--slice", type=int, default=25, help="cases of a process")
    parser.add_argument("--shrink", type=float, default=30.0, help="seconds to make a case smaller")
    parser.add_argument("--without", type=lambda text: text.split(","), default=[], help="actions")
    parser.add_argument("--workers", type=int, default=1, help="processes at a time")
    parser.add_argument("--first", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--result", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.result:
        _slice(options)
        return 0
    if options.number is not None:
        counts, findings = fuzz([options.number], options.without, seconds=options.shrink)
        return report(1, counts, findings, [])
    return report(options.cases, *_run_slices(options))


assert keras.backend.backend() == "openvino"
