"""Gradients in the generated differential test.

For each row and all its cases: the rule on the host against central differences in float64, the
rule of the rule against central differences of the rule, and the rule traced and compiled against
that on the host. All go through the records, as training does.
"""

from __future__ import annotations

import contextlib
import functools

import numpy as np

from kerasvino import dtypes
from kerasvino.autodiff import pullback, watch
from kerasvino.graph import Spec, trace
from kerasvino.primitives.core import PRIMITIVES
from kerasvino.runtime.program import Program
from kerasvino.tensor import Tensor
from tests.primitives.harness import Case, Row, load_rows, make_arrays, outputs_of


@functools.cache
def _references():
    """The reference of each primitive that has no host form of its own."""
    return {
        row.name: row.reference
        for row in load_rows()
        if row.reference is not None and row.primitive.impl is None
    }


@contextlib.contextmanager
def hosted():
    """Inside, such primitives run by their references: rules made of them are exact in float64."""
    references = _references()
    for name, reference in references.items():
        PRIMITIVES[name].impl = reference
    try:
        yield
    finally:
        for name in references:
            PRIMITIVES[name].impl = None


def has_gradient(row: Row) -> bool:
    if row.gradient is not None:
        return row.gradient
    kinds = row.dtypes[0] if isinstance(row.dtypes[0], tuple) else row.dtypes
    return (
        row.primitive.vjp is not None
        and (row.primitive.impl or row.reference) is not None
        and any(dtypes.is_float(k) for k in kinds)
    )


def float_kinds(row: Row) -> list:
    """The dtypes of the row, or tuples of them, that gradients flow through."""

    def flows(kind):
        return any(map(dtypes.is_float, kind if isinstance(kind, tuple) else (kind,)))

    known = ("float16", "bfloat16", "float32", "float64")
    kinds = [k for k in row.dtypes if flows(k)]
    return [
        k
        for k in kinds
        if k in known or (isinstance(k, tuple) and k[-1] in (*known, "int32", "bool"))
    ]


def _as_floats(kind, name):
    """A dtype of a row, or a tuple of them, with `name` for its floats."""
    if isinstance(kind, tuple):
        return tuple(_as_floats(k, name) for k in kind)
    return name if dtypes.is_float(kind) else kind


def _values(row: Row, case: Case):
    """(arrays in float64 that float32 holds, cotangents of the outputs or None for integers)."""
    kinds = float_kinds(row)[0]
    if not isinstance(kinds, tuple):
        kinds = (kinds,) * len(case.shapes)
    arrays = make_arrays(row, case, _as_floats(kinds, "float64"), row.gradient_values)
    arrays = [a.astype(np.float32).astype(a.dtype) if a.dtype == np.float64 else a for a in arrays]
    rng = np.random.default_rng(0)
    outputs = outputs_of(row.primitive(*_tensors(arrays), **case.attrs))
    weights = [
        rng.normal(size=o.shape).astype(np.float32).astype(np.float64)
        if dtypes.is_float(o.dtype)
        else None
        for o in outputs
    ]
    return arrays, weights


def _tensors(arrays):
    return [None if a is None else Tensor._wrap(a) for a in arrays]


def _flows(array) -> bool:
    return array is not None and dtypes.is_float(dtypes.name_of(array.dtype))


def cotangents(primitive, attrs, inputs, weights) -> list[Tensor | None]:
    """Of each input, None for one that is not of floats or has no influence."""
    inputs = [watch(t) if dtypes.is_float(t.dtype) and t.record is None else t for t in inputs]
    outputs = outputs_of(primitive(*inputs, **attrs))
    return pullback(outputs, weights, inputs)


@functools.cache
def _hosted_gradient(row: Row, index: int):
    """(inputs, cotangents of outputs, cotangents of inputs) of a case, float64."""
    case = row.cases[index]
    with hosted():
        arrays, weights = _values(row, case)
        found = cotangents(row.primitive, case.attrs, _tensors(arrays), _tensors(weights))
    return arrays, weights, [None if t is None else t._array for t in found]


# Of larger inputs this many elements are checked, drawn at random.
_CHECKED = 40


def differences(function, arrays, index, step=1e-5):
    """Central differences of a scalar function of arrays with respect to one of them.

    The elements that are left out are masked.
    """
    gradient = np.ma.masked_all(arrays[index].shape)
    positions = list(np.ndindex(gradient.shape))
    if len(positions) > _CHECKED:
        chosen = np.random.default_rng(2).choice(len(positions), _CHECKED, replace=False)
        positions = [positions[i] for i in chosen]
    for position in positions:
        ends = []
        for shift in (step, -step):
            moved = arrays[index].copy()
            moved[position] += shift
            ends.append(function([moved if i == index else a for i, a in enumerate(arrays)]))
        gradient[position] = (ends[0] - ends[1]) / (2 * step)
    return gradient


def _inner(weights, tensors):
    """The sum of products of weights and tensors; what is None adds nothing."""
    pairs = zip(weights, tensors, strict=True)
    return sum(float((w * t._array).sum()) for w, t in pairs if w is not None and t is not None)


def _compare(row, case, what, found, wanted, rtol, atol):
    where = f"{row.name} {case} {what}"
    if found is None:
        found = np.zeros(wanted.shape)
    assert found.shape == wanted.shape, f"{found.shape} for {wanted.shape}: {where}"
    if isinstance(wanted, np.ma.MaskedArray):
        found, wanted = found[~np.ma.getmaskarray(wanted)], wanted.compressed()
    scale = max(1.0, np.abs(wanted).max(initial=0.0))
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=atol * scale, err_msg=where)


# -- the three checks


def check_differences(row: Row) -> None:
    """The rule against central differences of the primitive, in float64 on the host."""
    for number, case in enumerate(row.cases):
        arrays, weights, found = _hosted_gradient(row, number)

        def value(inputs, case=case, weights=weights):
            outputs = outputs_of(row.primitive(*_tensors(inputs), **case.attrs))
            return _inner(weights, outputs)

        with hosted():
            for index, cotangent in enumerate(found):
                if _flows(arrays[index]):
                    wanted = differences(value, arrays, index)
                    _compare(row, case, f"input {index}", cotangent, wanted, 2e-5, 2e-6)


def check_second_order(row: Row) -> None:
    """The rule's own gradient against central differences of the rule, in float64 on the host."""
    for number, case in enumerate(row.cases):
        arrays, weights, first = _hosted_gradient(row, number)
        count, rng = len(arrays), np.random.default_rng(1)
        outer = [None if a is None else rng.normal(size=a.shape) for a in first]
        if all(w is None for w in outer):
            continue
        values = [*arrays, *weights]

        def gradient(tensors, case=case, count=count):
            return cotangents(row.primitive, case.attrs, tensors[:count], tensors[count:])

        def value(inputs, outer=outer, gradient=gradient):
            return _inner(outer, gradient(_tensors(inputs)))

        with hosted():
            inputs = [watch(Tensor._wrap(a)) if _flows(a) else t for a, t in _both(values)]
            pairs = [(t, w) for t, w in zip(gradient(inputs), outer, strict=True) if t is not None]
            found = pullback([t for t, _ in pairs], [Tensor._wrap(w) for _, w in pairs], inputs)
            for index, cotangent in enumerate(found):
                if _flows(values[index]):
                    wanted = differences(value, values, index)
                    array = None if cotangent is None else cotangent._array
                    _compare(row, case, f"of second order {index}", array, wanted, 5e-5, 1e-5)


def _both(arrays):
    return zip(arrays, _tensors(arrays), strict=True)


def check_compiled(row: Row, dynamic: bool) -> None:
    """The rule traced and compiled, in float32, against the rule on the host."""
    values = [_hosted_gradient(row, number) for number in range(len(row.cases))]
    fed = [
        [
            None if a is None else a.astype(np.float32) if _flows(a) else a
            for a in (*arrays, *weights)
        ]
        for arrays, weights, _ in values
    ]
    results = _compiled(row, row.cases, fed, dynamic)
    for case, (arrays, _, wanted), found in zip(row.cases, values, results, strict=True):
        for index, (got, expected) in enumerate(zip(found, wanted, strict=True)):
            if _flows(arrays[index]):
                expected = np.zeros(arrays[index].shape) if expected is None else expected
                _compare(row, case, f"input {index}", got, expected, row.gradient_rtol, 1e-5)


def _compiled(row, cases, fed, dynamic):
    """Cotangents of the inputs of the cases, from one compiled graph."""
    unknown = row.gradient_dynamic if dynamic else lambda index, shape: shape
    arrays = [a for inputs in fed for a in inputs if a is not None]
    specs = [
        Spec(unknown(index, array.shape), dtypes.name_of(array.dtype))
        for inputs in fed
        for index, array in enumerate(inputs)
        if array is not None
    ]
    present = []

    def function(*tensors):
        tensors, results = iter(tensors), []
        for case, inputs in zip(cases, fed, strict=True):
            own = [None if a is None else next(tensors) for a in inputs]
            count = len(case.shapes)
            found = cotangents(row.primitive, case.attrs, own[:count], own[count:])
            present.append([t is not None for t in found])
            results += [t for t in found if t is not None]
        return results

    graph = trace(function, specs)
    flat = iter(Program(graph, "CPU", {})(arrays) if any(map(any, present)) else ())
    return [[next(flat) if there else None for there in case] for case in present]


def check_kinds(row: Row, kind) -> None:
    """A cotangent has the dtype and shape of its input, in a graph."""
    for case in row.cases:
        kinds = kind if isinstance(kind, tuple) else (kind,) * len(case.shapes)

        def function(*tensors, case=case):
            outputs = outputs_of(row.primitive(*tensors, **case.attrs))
            weights = [t if dtypes.is_float(t.dtype) else None for t in outputs]
            found = cotangents(row.primitive, case.attrs, tensors, weights)
            for tensor, cotangent in zip(tensors, found, strict=True):
                if cotangent is not None:
                    where = f"{row.name} {case} {kind}"
                    assert cotangent.dtype == tensor.dtype, f"{cotangent.dtype} in {where}"
                    assert cotangent.shape == tensor.shape, f"{cotangent.shape} in {where}"
            return [t for t in found if t is not None]

        trace(function, [Spec(s, k) for s, k in zip(case.shapes, kinds, strict=True)])
