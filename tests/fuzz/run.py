"""Runs many cases in slices, each a process of its own, and prints what was found.

    python -m tests.fuzz --cases 20000 --seed 1 [--only add,matmul] [--slice 1000]

A slice that crashes is reported with the batch that it ran. Ends with code 1 on a disagreement.
"""

from __future__ import annotations

import argparse
import collections
import os
import pickle
import random
import subprocess
import sys
import tempfile

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.cases import Case, Finding, cases, check
from tests.fuzz.operations import OPERATIONS

__all__ = ["fuzz", "main"]

BATCH = 25


def _drawn(name: str, count: int, number: int) -> list[Case]:
    """Different cases of an operation; the first that Hypothesis draws, the simplest, left out."""
    found = {}

    @seed(number)
    @settings(
        max_examples=count + 2, database=None, deadline=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(cases(name))
    def draw(case):
        found[repr(case)] = case

    draw()
    return list(found.values())[1 if len(found) > 1 else 0 :][:count]


def fuzz(count: int, number: int, names=None, on_batch=None):
    """(calls of each operation, findings) of about `count` cases, the operations alike.

    Every other graph of `BATCH` cases knows no length.
    """
    names = sorted(names or OPERATIONS)
    share = -(-count // len(names))
    chosen = [case for name in names for case in _drawn(name, share, number)]
    random.Random(number).shuffle(chosen)
    chosen, findings = chosen[:count], []
    for start in range(0, len(chosen), BATCH):
        batch, dynamic = chosen[start : start + BATCH], start // BATCH % 2 == 1
        if on_batch is not None:
            on_batch((dynamic, batch))
        findings += check(batch, dynamic)
    return collections.Counter(case.operation for case in chosen), findings


def _slice(options) -> None:
    """Runs in the child: leaves its results, and before each batch the batch, in a file."""

    def note(content):
        with open(options.result, "wb") as file:
            pickle.dump(content, file)

    result = fuzz(options.cases, options.seed, options.only, lambda batch: note((None, batch)))
    note((result, None))


def _run_slices(options):
    counts, findings, crashes = collections.Counter(), [], []
    for index, start in enumerate(range(0, options.cases, options.slice)):
        size, number = min(options.slice, options.cases - start), options.seed * 10_000 + index
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "result")
            command = [sys.executable, "-m", "tests.fuzz", "--result", path]
            command += ["--cases", str(size), "--seed", str(number)]
            command += ["--only", ",".join(options.only)] if options.only else []
            code = subprocess.run(command, check=False).returncode
            with open(path, "rb") as file:
                result, batch = pickle.load(file)
        if result is None:
            crashes.append(f"The slice of seed {number} ended with code {code} in {batch}")
            print(crashes[-1], flush=True)
            continue
        counts.update(result[0])
        findings += result[1]
        kinds = dict(collections.Counter(f.kind for f in result[1]))
        for finding in result[1]:
            if finding.kind != "refused":
                print(finding)
        print(f"seed {number}: {sum(result[0].values())} cases, {kinds}", flush=True)
    return counts, findings, crashes


def _groups(findings: list[Finding]):
    """Findings of one operation and kind together, the smallest first."""
    groups = collections.defaultdict(list)
    for finding in findings:
        groups[finding.case.operation, finding.kind].append(finding)
    for key in sorted(groups):
        yield key, sorted(groups[key], key=lambda f: f.case.elements)


def report(counts, findings, crashes, examples=2) -> int:
    """Prints the summary; 1 if there is a disagreement."""
    for (name, kind), members in _groups(findings):
        print(f"\n{name}: {kind}, {len(members)} of {counts[name]}")
        for finding in members[:examples]:
            print(f"  {finding.what}\n    {finding.case!r}, {finding.dynamic})")
    by_kind = collections.Counter(f.kind for f in findings)
    print(f"\n{sum(counts.values())} cases of {len(counts)} operations:", dict(by_kind))
    print(", ".join(f"{name} {counts[name]}" for name in sorted(counts)))
    missing = sorted(set(OPERATIONS) - set(counts))
    if missing:
        print("not called:", ", ".join(missing))
    wrong = by_kind["compiled"] + by_kind["NumPy"] + len(crashes)
    print(f"disagreements: {wrong}")
    return int(wrong > 0)


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--slice", type=int, default=1000, help="cases of a process")
    parser.add_argument("--only", type=lambda text: text.split(","), help="operations, by name")
    parser.add_argument("--result", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.result:
        _slice(options)
        return 0
    return report(*_run_slices(options))
