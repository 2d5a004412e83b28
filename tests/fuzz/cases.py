"""A case: one call, eager and compiled, and how the two compare."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from kerasvino import dtypes
from kerasvino.backend.ops.core import convert_to_tensor
from kerasvino.graph import Spec, trace
from kerasvino.runtime.program import Program
from tests.fuzz import limits
from tests.fuzz.arrays import Array
from tests.fuzz.comparison import difference
from tests.fuzz.operations import OPERATIONS

__all__ = ["Case", "Finding", "cases", "check", "replay"]

# What bad arguments and graphs that cannot be built raise; anything else ends the run.
_REFUSALS = (ValueError, TypeError, IndexError, RuntimeError, OverflowError, AssertionError)


@dataclass(frozen=True)
class Case:
    """A call of an operation of the table."""

    operation: str
    arrays: tuple[Array, ...]
    attrs: dict

    def __repr__(self):
        return f"replay({self.operation!r}, {list(self.arrays)}, {self.attrs}"

    @property
    def elements(self) -> int:
        return sum(int(np.prod(a.shape)) for a in self.arrays)


@dataclass
class Finding:
    """A disagreement ("compiled", "NumPy") or a known refusal of the graph alone ("refused")."""

    kind: str
    case: Case
    dynamic: bool
    what: str

    def __str__(self):
        return f"{self.kind}: {self.case.operation}: {self.what}\n  {self.case!r}, {self.dynamic})"


def cases(name: str):
    """Strategy of the cases of an operation."""
    return OPERATIONS[name].arguments.map(lambda pair: Case(name, tuple(pair[0]), dict(pair[1])))


def replay(name: str, arrays, attrs: dict, dynamic: bool = False) -> list[Finding]:
    """Runs one call again; the arguments as a summary prints them."""
    return check([Case(name, tuple(arrays), attrs)], dynamic)


def check(drawn: list[Case], dynamic: bool) -> list[Finding]:
    """Runs the cases eagerly, and compiled in one graph; what was found."""
    drawn = [c for c in drawn if not limits.excluded(c, dynamic)]
    arrays = [[a.make() for a in case.arrays] for case in drawn]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = [_eager(*pair) for pair in zip(drawn, arrays, strict=True)]
        found = _compiled(drawn, arrays, dynamic)
    findings = []
    for case, inputs, ours, theirs in zip(drawn, arrays, found, expected, strict=True):
        kind, what = _verdict(case, inputs, ours, theirs, dynamic)
        if what is not None:
            findings.append(Finding(kind, case, dynamic, what))
        what = _against_numpy(case, inputs, theirs)
        if what is not None:
            findings.append(Finding("NumPy", case, dynamic, what))
    return findings


def _verdict(case, inputs, found, expected, dynamic):
    if isinstance(expected, Exception):
        if isinstance(found, Exception) or dynamic:  # unknown lengths cannot be validated
            return "compiled", None
        return "compiled", f"accepted; eagerly {type(expected).__name__}: {_line(expected)}"
    if isinstance(found, Exception):
        known = limits.refused(case.operation, str(found), dynamic)
        return "refused" if known else "compiled", f"{type(found).__name__}: {_line(found)}"
    operation = OPERATIONS[case.operation]
    what = difference(found, expected, operation, inputs)
    if what is not None and any(a.dtype == np.float64 for a in inputs):
        expected = _in_float32(case, inputs, expected)
        what = difference(found, expected, operation, inputs)
    if what is not None and limits.too_large(inputs):
        what = None
    return "compiled", what


def _in_float32(case, inputs, expected):
    """The eager results with all steps of float64 in float32, as in a graph: some overflow."""
    narrow = [a.astype(np.float32) if a.dtype == np.float64 else a for a in inputs]
    found = _eager(case, narrow)
    if isinstance(found, Exception):
        return expected
    return [f.astype(e.dtype) for f, e in zip(found, expected, strict=True)]


def _line(error):
    return " ".join(str(error).split())[:200]


def _against_numpy(case, inputs, expected):
    operation = OPERATIONS[case.operation]
    if operation.reference is None or isinstance(expected, Exception):
        return None
    kinds = [dtypes.name_of(a.dtype) for a in expected]
    try:
        wanted = operation.by_numpy(inputs, case.attrs, kinds)
    except (ValueError, TypeError, IndexError) as error:
        return f"eager accepts; NumPy {type(error).__name__}: {_line(error)}"
    return difference(expected, wanted, operation, inputs)


def _eager(case, arrays):
    try:
        tensors = [convert_to_tensor(a) for a in arrays]
        return [t.numpy() for t in OPERATIONS[case.operation].run(tensors, case.attrs)]
    except _REFUSALS as error:
        return error


def _compiled(drawn, arrays, dynamic):
    """For each case its results in one graph, or the error that its tracing or compiling gave."""
    results = [None] * len(drawn)
    counts = [0] * len(drawn)

    def function(*tensors):
        rest, flat = iter(tensors), []
        for index, case in enumerate(drawn):
            own = [next(rest) for _ in case.arrays]
            try:
                outputs = [
                    convert_to_tensor(t) for t in OPERATIONS[case.operation].run(own, case.attrs)
                ]
            except _REFUSALS as error:
                results[index] = error
                continue
            counts[index] = len(outputs)
            flat += outputs
        return flat

    flat_arrays = [a for inputs in arrays for a in inputs]
    specs = [
        Spec((None,) * a.ndim if dynamic and index not in known else a.shape, str(a.dtype))
        for inputs, known in zip(
            arrays, (OPERATIONS[c.operation].known for c in drawn), strict=True
        )
        for index, a in enumerate(inputs)
    ]
    try:
        graph = trace(function, specs)
        held = [read._value.numpy() for read in graph.reads]
        values = iter(Program(graph, "CPU", {})([*flat_arrays, *held]))
    except _REFUSALS as error:
        if len(drawn) == 1:
            return [error]
        half = len(drawn) // 2
        return _compiled(drawn[:half], arrays[:half], dynamic) + _compiled(
            drawn[half:], arrays[half:], dynamic
        )
    for index, count in enumerate(counts):
        if results[index] is None:
            results[index] = [next(values) for _ in range(count)]
    return results
