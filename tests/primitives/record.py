"""The bits that primitives compute, recorded and compared: for changes that must keep them all.

    python -m tests.primitives.record before.json              # in the tree before the change
    python -m tests.primitives.record --compare before.json    # in the tree after it

Recorded are, of every row of the differential test in each of its dtypes: the results of `impl` and
of `vjp` on the host; the graphs of `lower` and of `vjp`, with lengths known and unknown; and what
these graphs compute when compiled. Kept are digests. Equal graphs compute equal bits, so the
comparison compiles only those that changed. `--graphs` compiles none, which takes one minute
instead of half an hour; what changed is then recorded in both trees with `--only NAME …`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pathlib
import re
import sys
import tempfile

import numpy as np
import openvino

import kerasvino.autodiff  # noqa: F401 - fills in the gradients of control flow
from kerasvino import dtypes
from kerasvino.graph import Spec, trace
from kerasvino.runtime.program import Program
from kerasvino.tensor import Tensor
from tests.primitives import gradients, harness

# What may be refused for a dtype or shape: the refusal is recorded then.
_REFUSALS = (RuntimeError, ValueError, TypeError, AssertionError, KeyError, NotImplementedError)


def _digest(*parts: bytes) -> str:
    found = hashlib.blake2b(digest_size=12)
    for part in parts:
        found.update(part)
    return found.hexdigest()


def _of_arrays(arrays) -> str:
    parts = []
    for array in arrays:
        if array is None:
            parts.append(b"none")
            continue
        parts.append(f"{array.dtype} {array.shape}".encode())
        parts.append(np.ascontiguousarray(array).tobytes())
    return _digest(*parts)


def _of_graph(model: openvino.Model) -> str:
    """Digest of all nodes with their attributes and constants, without their names."""
    marks = [sorted(k for k in op.get_rt_info() if "kerasvino" in k) for op in model.get_ops()]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "model.xml")
        openvino.serialize(model, path)
        text = re.sub(r'\b\w*names?="[^"]*"', "", path.read_text())
        return _digest(text.encode(), path.with_suffix(".bin").read_bytes(), repr(marks).encode())


def _attempt(compute):
    try:
        return compute()
    except _REFUSALS as error:
        return f"refused: {type(error).__name__}"


class _Recorder:
    """Digests by key; with `known` ones, graphs that are as they were are not run again."""

    def __init__(self, known=None, run=True):
        self.known = known or {}
        self.run = run
        self.found = {}

    def host(self, key, compute):
        self.found[f"{key} host"] = _attempt(lambda: _of_arrays(compute()))

    def compiled(self, key, function, arrays, unknown):
        """The graph of a function of tensors, and what it computes of the arrays."""

        def build():
            specs = [Spec(unknown(i, a.shape), dtypes.name_of(a.dtype)) for i, a in arrays]
            return trace(function, specs)

        graph = _attempt(build)
        if isinstance(graph, str):
            self.found[f"{key} graph"] = graph
            return
        digest = self.found[f"{key} graph"] = _of_graph(graph.model)
        if self.run and self.known.get(f"{key} graph") != digest:
            self.found[f"{key} run"] = _attempt(
                lambda: _of_arrays(Program(graph, "CPU", {})([a for _, a in arrays]))
            )


def _record_row(recorder, row, number, kind):
    primitive = row.primitive
    key = f"{row.name}-{number}-{kind if isinstance(kind, str) else '+'.join(kind)}"
    inputs = [harness.make_arrays(row, case, kind, row.values) for case in row.cases]
    if primitive.impl is not None:
        for case, arrays in enumerate(inputs):
            recorder.host(f"{key}/{case} impl", lambda c=case, a=arrays: _impl(row, c, a))
    if primitive.lower is None:
        return
    fed = [(i, a) for arrays in inputs for i, a in enumerate(arrays)]

    def lowered(*tensors):
        tensors, results = iter(tensors), []
        for case in row.cases:
            own = tuple(next(tensors) for _ in case.shapes)
            results += harness.outputs_of(primitive._traced(own, case.attrs))
        return results

    recorder.compiled(f"{key} lower", lowered, fed, lambda i, shape: shape)
    if row.dynamic:
        recorder.compiled(f"{key} lower dynamic", lowered, fed, row.unknown)


def _impl(row, case, arrays):
    tensors = [Tensor._wrap(a) for a in arrays]
    found = row.primitive._hosted(tensors, row.cases[case].attrs)
    return [t._array for t in harness.outputs_of(found)]


def _record_gradient(recorder, row, number, kind):
    key = f"{row.name}-{number}-{kind if isinstance(kind, str) else '+'.join(kind)}"
    kinds = kind if isinstance(kind, tuple) else None
    fed, counts = [], []
    for index, case in enumerate(row.cases):
        own = kinds or (kind,) * len(case.shapes)
        arrays = harness.make_arrays(row, case, own, row.gradient_values)
        weights = _attempt(lambda c=case, a=arrays: _weights(row, c, a))
        if isinstance(weights, str):
            return  # of lengths that only a run shows
        if row.primitive.impl is not None:
            recorder.host(
                f"{key}/{index} vjp", lambda c=case, a=arrays, w=weights: _vjp(row, c, a, w)
            )
        counts.append((len(arrays), [w is not None for w in weights]))
        fed += [*enumerate(arrays), *((len(arrays) + i, w) for i, w in enumerate(weights))]
    if row.primitive.lower is None:
        return

    def lowered(*tensors):
        tensors, results = iter(tensors), []
        for case, (count, present) in zip(row.cases, counts, strict=True):
            own = [next(tensors) for _ in range(count)]
            weights = [next(tensors) if there else None for there in present]
            found = gradients.cotangents(row.primitive, case.attrs, own, weights)
            results += [t for t in found if t is not None]
        return results

    fed = [(i, a) for i, a in fed if a is not None]
    recorder.compiled(f"{key} vjp", lowered, fed, lambda i, shape: shape)
    if row.gradient_dynamic:
        recorder.compiled(f"{key} vjp dynamic", lowered, fed, row.gradient_dynamic)


def _weights(row, case, arrays):
    """Cotangents of the outputs of a case, None for those that are not of floats."""
    specs = [Spec(a.shape, dtypes.name_of(a.dtype)) for a in arrays]
    if row.primitive.lower is None:
        outputs = harness.outputs_of(row.primitive(*map(Tensor._wrap, arrays), **case.attrs))
        outputs = [(t.shape, t.dtype) for t in outputs]
    else:
        graph = trace(lambda *t: list(harness.outputs_of(row.primitive(*t, **case.attrs))), specs)
        outputs = [(spec.shape, spec.dtype) for spec in graph.outputs]
    rng = np.random.default_rng(0)
    return [
        np.asarray(rng.normal(size=shape)).astype(dtypes.numpy_dtype(name))
        if dtypes.is_float(name)
        else None
        for shape, name in outputs
    ]


def _vjp(row, case, arrays, weights):
    inputs = [Tensor._wrap(a) for a in arrays]
    weights = [None if w is None else Tensor._wrap(w) for w in weights]
    found = gradients.cotangents(row.primitive, case.attrs, inputs, weights)
    return [None if t is None else t._array for t in found]


def record(names=(), known=None, run=True) -> dict[str, str]:
    """Digests of all rows, or of those of the primitives `names`."""
    recorder = _Recorder(known, run)
    numbers = {}
    for row in harness.load_rows():
        number = numbers[row.name] = numbers.get(row.name, -1) + 1
        if names and row.name not in names:
            continue
        for kind in row.dtypes:
            _record_row(recorder, row, number, kind)
        if row.primitive.vjp is not None:
            for kind in gradients.float_kinds(row):
                _record_gradient(recorder, row, number, kind)
    return recorder.found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--compare", action="store_true", help="with what `file` holds")
    parser.add_argument("--graphs", action="store_true", help="do not run graphs")
    parser.add_argument("--only", nargs="*", default=(), help="names of primitives")
    arguments = parser.parse_args()
    if not arguments.compare:
        found = record(arguments.only, run=not arguments.graphs)
        pathlib.Path(arguments.file).write_text(json.dumps(found, indent=0))
        print(f"{len(found)} digests")
        return 0
    known = json.loads(pathlib.Path(arguments.file).read_text())
    found = record(arguments.only, known, run=not arguments.graphs)
    changed = [k for k, digest in found.items() if known.get(k) != digest]
    missing = [] if arguments.only else [k for k in known.keys() - found.keys() if "run" not in k]
    graphs = [k for k in changed if k.endswith(" graph")]
    bits = [k for k in changed if not k.endswith(" graph")]
    print(f"{len(found)} compared; {len(graphs)} graphs differ, {len(bits)} results, "
          f"{len(missing)} missing")  # fmt: skip
    print(*graphs, *bits, *missing, sep="\n")
    return bool(bits or missing)


if __name__ == "__main__":
    sys.exit(main())
