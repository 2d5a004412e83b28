"""One function on the same arrays in every form: concrete, recorded, and in a graph."""

import numpy as np

from kerasvino.autodiff.reverse import watch
from kerasvino.backend.ops.core import convert_to_tensor
from kerasvino.graph import Spec, trace
from kerasvino.runtime import function as compiled_functions
from kerasvino.runtime.program import Program

FORMS = ("host", "recorded", "static", "dynamic")


def graph(function, arrays, dynamic=False):
    """The graph of `function(*tensors)`, which returns a tensor or a sequence of tensors."""
    specs = [Spec(_unknown(a) if dynamic else a.shape, str(a.dtype)) for a in arrays]
    return trace(lambda *tensors: _flat(function(*tensors)), specs)


def _unknown(array):
    """The shape with None for every axis but those that `samples.known` marked."""
    axes = getattr(array, "axes", ())
    return tuple(n if axis in axes else None for axis, n in enumerate(array.shape))


def run(form, function, *arrays):
    """Results of `function` on the arrays as NumPy arrays; a single one by itself."""
    arrays = [np.asanyarray(a) for a in arrays]
    if form in ("static", "dynamic"):
        traced = graph(function, arrays, form == "dynamic")
        held = [variable._value.numpy() for variable in traced.reads]
        results = Program(traced, "CPU", {})([*map(np.asarray, arrays), *held])
    else:
        tensors = [convert_to_tensor(a) for a in arrays]
        if form == "recorded":
            tensors = [watch(t) for t in tensors]
        results = [t.numpy() for t in _flat(function(*tensors))]
    return results[0] if len(results) == 1 else results


def nodes(function, *arrays, dynamic=False):
    """Types of the nodes of the graph, without inputs, constants and results."""
    left_out = ("Parameter", "Constant", "Result")
    kinds = [n.get_type_name() for n in graph(function, arrays, dynamic).model.get_ordered_ops()]
    return [kind for kind in kinds if kind not in left_out]


def _flat(result):
    return list(result) if isinstance(result, (list, tuple)) else [result]


def count_traces(monkeypatch) -> list:
    """A list that gets an item whenever a function is traced from now on."""
    counts, whole = [], compiled_functions.trace
    monkeypatch.setattr(
        compiled_functions, "trace", lambda *a, **k: (counts.append(1), whole(*a, **k))[1]
    )
    return counts
