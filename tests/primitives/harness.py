"""The generated differential test: what a row is, its values, and the three comparisons.

For each row and dtype all cases go into one graph, so that a row costs one compile for static and
one for dynamic shapes; when that graph fails, the cases are run one by one to name the culprit.
"""

from __future__ import annotations

import importlib
import pkgutil
import zlib
from collections.abc import Callable, Sequence

import ml_dtypes
import numpy as np

import kerasvino.primitives
from kerasvino import dtypes
from kerasvino.graph import Spec, trace
from kerasvino.primitives.core import PRIMITIVES
from kerasvino.runtime import eager  # noqa: F401 - registers what runs primitives without an impl
from kerasvino.runtime.program import Program
from kerasvino.tensor import Tensor

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float16", "bfloat16", "float32", "float64")
NUMERIC = INTEGERS + FLOATS
ALL = ("bool", *NUMERIC)

_RTOL = {"float64": 2e-6, "float32": 2e-6, "float16": 2e-3, "bfloat16": 1.6e-2}


class Case:
    """Shapes of the inputs and the attributes of one call."""

    def __init__(self, *shapes: tuple, attrs: dict | None = None):
        self.shapes = shapes
        self.attrs = attrs or {}

    def __repr__(self):
        return f"Case({', '.join(map(str, self.shapes))}, {self.attrs})"


class Row:
    """A primitive's entry in the differential test; see the module's docstring and `_VALUES`.

    Args:
        name: of the primitive.
        cases: the calls.
        dtypes: dtype names; or tuples of them, one for each input, where inputs differ.
        values: a name of `_VALUES`, a callable `(rng, shape, dtype) -> array`, or a tuple of these.
        rtol, atol: for float results, a number or {dtype: number}; other results must be equal.
        gradient: whether to check `vjp` by central differences; default: where there is one.
        gradient_values: values at which the gradient is checked.
        gradient_rtol: of the compiled gradient against that on the host.
        gradient_dynamic: such a function of the inputs, and of the outputs after them, for the run
            of gradients with unknown dimensions; default: all unknown where `dynamic`.
        second_order: whether to check the gradient's gradient.
        dynamic: whether to run with every dimension unknown as well; or a tuple that says for which
            inputs (weights of convolutions need known ones); or `(index of input, shape) -> shape`
            with None for the axes that are unknown.
        reference: `reference(*arrays, **attrs)`: the definition of a primitive without an `impl`.
        invariants: `invariants(outputs)`: arrays to compare instead of outputs that are free.
    """

    def __init__(
        self, name: str, cases: Sequence[Case], dtypes: Sequence = ("float32",),
        values: str | Callable | tuple = "any", rtol=None, atol=0.0,
        gradient: bool | None = None, gradient_values: str | Callable | tuple = "finite",
        gradient_rtol: float = 1e-4, gradient_dynamic: Callable | None = None,
        second_order: bool = True,
        dynamic: bool | tuple | Callable = True, reference: Callable | None = None,
        invariants: Callable | None = None,
    ):  # fmt: skip
        self.name = name
        self.cases = list(cases)
        self.dtypes = list(dtypes)
        self.values = values
        self.rtol = rtol
        self.atol = atol
        self.gradient = gradient
        self.gradient_values = gradient_values
        self.gradient_rtol = gradient_rtol
        self.gradient_dynamic = gradient_dynamic
        if gradient_dynamic is None and dynamic is True:
            self.gradient_dynamic = lambda index, shape: (None,) * len(shape)
        self.second_order = second_order
        self.dynamic = dynamic
        self.reference = reference
        self.invariants = invariants

    def unknown(self, index, shape):
        """Shape of an input in the run with unknown dimensions."""
        if callable(self.dynamic):
            return self.dynamic(index, shape)
        chosen = self.dynamic[index] if isinstance(self.dynamic, tuple) else self.dynamic
        return (None,) * len(shape) if chosen else shape

    @property
    def primitive(self):
        return PRIMITIVES[self.name]


def load_rows() -> list[Row]:
    """The rows of every `rows_*.py` beside this file, all primitives imported."""
    for module in pkgutil.iter_modules(kerasvino.primitives.__path__):
        importlib.import_module(f"kerasvino.primitives.{module.name}")
    package = importlib.import_module(__package__)
    rows = []
    for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
        if module.startswith("rows_"):
            rows += importlib.import_module(f"{__package__}.{module}").ROWS
    return rows


# -- values


def _spread(rng, shape, dtype, special, regular):
    """`regular` values with `special` ones strewn in."""
    size = int(np.prod(shape))
    flat = regular(size)
    take = rng.random(size) < 0.4
    flat[take] = rng.choice(np.asarray(special, dtype=flat.dtype), take.sum())
    return flat.reshape(shape).astype(dtypes.numpy_dtype(dtype))


def full_integers(rng, shape, dtype):
    """Integers over all that a graph can hold of the dtype, its ends among them."""
    row = dtypes.TABLE[dtype]
    if row.graph_range is not None:
        low, high = row.graph_range
    else:
        low, high = np.iinfo(row.numpy).min, np.iinfo(row.numpy).max
    special = [low, low + 1, high, high - 1, 0, 1, 2, 7, 2**24 + 1, 123456789, -1, -7, -(2**24) - 1]
    special = [v for v in special if low <= v <= high]
    return _spread(
        rng, shape, dtype, special, lambda n: rng.integers(low, high, n, np.int64, endpoint=True)
    )


def _any(rng, shape, dtype):
    kind = dtypes.TABLE[dtype].kind
    if kind == "b":
        return rng.random(shape) < 0.5
    if kind in "iu":
        return full_integers(rng, shape, dtype)
    huge, tiny = (6e4, 1e-4) if dtype == "float16" else (3e38, 1e-30)
    special = [np.nan, np.inf, -np.inf, 0.0, -0.0, huge, -huge, tiny, 0.5, 1.5, 2.5, -0.5]
    return _spread(rng, shape, dtype, special, lambda n: rng.normal(0, 4, n))


def _floats(low, high):
    def values(rng, shape, dtype):
        if dtypes.TABLE[dtype].kind != "f":
            return _any(rng, shape, dtype)
        return rng.uniform(low, high, shape).astype(dtypes.numpy_dtype(dtype))

    return values


def _small(rng, shape, dtype):
    if dtype == "bool":
        return rng.random(shape) < 0.5
    low = 0 if dtypes.TABLE[dtype].kind == "u" else -10
    return rng.integers(low, 11, shape).astype(dtypes.numpy_dtype(dtype))


_VALUES = {
    "any": _any,
    "finite": _floats(-3, 3),
    "positive": _floats(0.1, 3),
    "unit": _floats(-0.95, 0.95),
    "small": _small,
}


def make_arrays(row, case, dtype, values):
    seed = zlib.crc32(f"{row.name}{case}{dtype}".encode())
    rng = np.random.default_rng(seed)
    count = len(case.shapes)
    kinds = dtype if isinstance(dtype, tuple) else (dtype,) * count
    makers = values if isinstance(values, tuple) else (values,) * count
    arrays = []
    for shape, kind, maker in zip(case.shapes, kinds, makers, strict=True):
        make = _VALUES[maker] if isinstance(maker, str) else maker
        array = np.asarray(make(rng, shape, kind))
        assert dtypes.name_of(array.dtype) == kind, f"values of {row.name} gave {array.dtype}"
        arrays.append(array)
    return arrays


# -- comparisons


def outputs_of(result):
    return list(result) if isinstance(result, tuple) else [result]


def _hosted(row, case, arrays):
    with np.errstate(all="ignore"):
        if row.reference is not None:
            return outputs_of(row.reference(*arrays, **case.attrs))
        tensors = [Tensor._wrap(a) for a in arrays]
        return [t._array for t in outputs_of(row.primitive._hosted(tensors, case.attrs))]


def _compiled(row, cases, arrays, dynamic):
    """Outputs of the cases, run in one compiled graph."""
    specs = [
        Spec(row.unknown(index, a.shape) if dynamic else a.shape, dtypes.name_of(a.dtype))
        for inputs in arrays
        for index, a in enumerate(inputs)
    ]
    counts = []

    def function(*tensors):
        tensors, results = iter(tensors), []
        for case in cases:
            inputs = tuple(next(tensors) for _ in case.shapes)
            outputs = outputs_of(row.primitive._traced(inputs, case.attrs))
            counts.append(len(outputs))
            results += outputs
        return results

    program = Program(trace(function, specs), "CPU", {})
    flat = iter(program([a for inputs in arrays for a in inputs]))
    return [[next(flat) for _ in range(count)] for count in counts]


def _wide(array):
    return array.astype(np.float64) if array.dtype.kind in "fV" or _is_small_float(array) else array


def _is_small_float(array):
    return array.dtype in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)


def _limit(setting, name, default):
    if isinstance(setting, dict):
        return setting.get(name, default)
    return default if setting is None else setting


def _compare(row, case, arrays, got, wanted):
    declared = row.primitive.output_dtypes([Tensor._wrap(a) for a in arrays], case.attrs)
    for found, expected, name in zip(got, wanted, declared, strict=True):
        where = f"{row.name} {case} on {[str(a.dtype) for a in arrays]}, {arrays}"
        assert dtypes.name_of(expected.dtype) == name, f"host gave {expected.dtype}: {where}"
        assert found.shape == expected.shape, f"{found.shape} for {expected.shape}: {where}"
    if row.invariants is not None:
        got, wanted = row.invariants(got), row.invariants(wanted)
        declared = declared[:1] * len(got)
    for found, expected, name in zip(got, wanted, declared, strict=True):
        where = f"{row.name} {case} on {[str(a.dtype) for a in arrays]}, {arrays}"
        if dtypes.is_float(name):
            # a host value past float32 is an infinity in a graph, which computes float64 as f32
            with np.errstate(over="ignore"):
                if name == "float64":
                    expected = expected.astype(np.float32)
            np.testing.assert_allclose(
                _wide(found), _wide(expected), equal_nan=True, err_msg=where,
                rtol=_limit(row.rtol, name, _RTOL.get(name, 0.0)),
                atol=_limit(row.atol, name, 0.0),
            )  # fmt: skip
        else:
            np.testing.assert_array_equal(found, expected, err_msg=where)


def _as_held(array):
    """The values that a graph is given: it holds float64 in float32."""
    if array.dtype != np.float64:
        return array
    with np.errstate(over="ignore"):
        return array.astype(np.float32).astype(np.float64)


def check_compiled(row: Row, dtype, dynamic: bool) -> None:
    """Host results against those of the compiled lowering."""
    arrays = [make_arrays(row, case, dtype, row.values) for case in row.cases]
    arrays = [[_as_held(array) for array in inputs] for inputs in arrays]
    try:
        results = _compiled(row, row.cases, arrays, dynamic)
    except (RuntimeError, ValueError):
        for case, inputs in zip(row.cases, arrays, strict=True):
            try:
                _compiled(row, [case], [inputs], dynamic)
            except (RuntimeError, ValueError) as error:
                raise AssertionError(f"{row.name} {case} {dtype}: {error}") from error
        raise
    for case, inputs, got in zip(row.cases, arrays, results, strict=True):
        _compare(row, case, inputs, got, _hosted(row, case, inputs))
