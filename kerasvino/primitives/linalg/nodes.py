"""Parts of lowerings over stacks of matrices: one batch axis, positions, bounded loops.

The rules see (batch, rows, columns) in float32, whatever the number of leading axes; lengths may
be unknown until the graph runs.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
from openvino import Model, Output, PartialShape, Type

from kerasvino.nodes.loop_values import keep_as_written
from kerasvino.nodes.lowering import (
    const,
    convert,
    dims,
    element,
    ints,
    ov,
    rank,
    scalar_dim,
    shape_of,
    vector,
)  # fmt: skip

__all__ = [
    "batched", "column", "filled", "i32", "identity", "length", "loop", "order", "positions",
    "repeated", "restored", "stacked", "swapped", "unless_finite",
]  # fmt: skip


def i32(value) -> Output:
    """An i32 Constant."""
    return const(value, Type.i32)


def length(x: Output, axis: int) -> Output:
    """The length of an axis as an i32 scalar; a Constant where it is known."""
    known = dims(x)[axis]
    return convert(scalar_dim(x, axis), Type.i32) if known is None else i32(known)


def order(count: Output) -> Output:
    """0, 1, …, count - 1 as i32."""
    return ov.range(i32(0), count, i32(1), "i32").output(0)


def positions(x: Output) -> tuple[Output, Output]:
    """(row, column) numbers of the elements of stacked matrices: (1, m, 1) and (1, 1, n)."""
    rows, columns = order(length(x, 1)), order(length(x, 2))
    return (
        ov.unsqueeze(rows, ints([0, 2])).output(0),
        ov.unsqueeze(columns, ints([0, 1])).output(0),
    )


def identity(count: Output) -> Output:
    """The identity matrix (1, count, count) in f32."""
    places = order(count)
    equal = ov.equal(ov.unsqueeze(places, ints([1])), ov.unsqueeze(places, ints([0])))
    return ov.unsqueeze(ov.convert(equal, "f32"), ints([0])).output(0)


def repeated(x: Output, like: Output) -> Output:
    """x (1, m, n) once for each matrix of `like`."""
    count = ov.gather(shape_of(like), ints([0]), ints(0))
    return ov.broadcast(
        x, ov.concat([count, ints([1, 1])], 0), broadcast_spec="BIDIRECTIONAL"
    ).output(0)


def column(x: Output, index: Output) -> Output:
    """Column `index` (an i32 vector of one element) of stacked matrices: (batch, m, 1)."""
    return ov.gather(x, index, ints(2)).output(0)


def swapped(x: Output) -> Output:
    """The transposed matrices."""
    return ov.transpose(x, ints([0, 2, 1])).output(0)


def unless_finite(x: Output, results: Sequence[Output]) -> list[Output]:
    """`results`, NaN throughout for matrices of x with an element that is not finite."""
    sound = ov.reduce_logical_and(ov.less(ov.abs(x), const(math.inf, x)), ints([1, 2]), False)
    return [
        ov.select(
            ov.unsqueeze(sound, ints(list(range(1, rank(r))))), r, const(math.nan, r)
        ).output(0)
        for r in results
    ]  # fmt: skip


# -- the leading axes


def stacked(x: Output) -> Output:
    """x (..., m, n) with its leading axes made one."""
    known = dims(x)
    if len(known) == 3:
        return x
    if len(known) == 2:
        return ov.unsqueeze(x, ints([0])).output(0)
    if None not in known:
        shape = ints([math.prod(known[:-2]), *known[-2:]])
    else:
        count = ov.reduce_prod(_leading(x), ints([0]), keep_dims=True)
        lengths = [scalar_dim(x, a) if known[a] is None else known[a] for a in (-2, -1)]
        shape = ov.concat([count, vector(lengths)], 0)
    return ov.reshape(x, shape, special_zero=False).output(0)


def _leading(x):
    return ov.slice(shape_of(x), ints([0]), ints([-2]), ints([1])).output(0)


def restored(result: Output, like: Output) -> Output:
    """`result` with the leading axes of `like` (all but two) in place of its first."""
    width = rank(like)
    if width == 3:
        return result
    if width == 2:
        return ov.squeeze(result, ints([0])).output(0)
    lead, own = dims(like)[:-2], dims(result)[1:]
    if None not in (*lead, *own):
        shape = ints([*lead, *own])
    else:
        own = [scalar_dim(result, a) if n is None else n for a, n in enumerate(own, 1)]
        shape = ov.concat([_leading(like), vector(own)], 0) if own else _leading(like)
    return ov.reshape(result, shape, special_zero=False).output(0)


def batched(rule: Callable, impl: Callable, sizes: Callable | Sequence[str]) -> Callable:
    """A lowering from `rule`, which takes one batch axis and at least one row and column.

    Args:
        rule: `rule(x, **attrs)` -> an Output or a tuple of them, the batch first in each.
        impl: the host form, which tells the results for matrices that are known to be empty.
        sizes: for each result the lengths of its axes after the batch, a letter for each: the m
            rows of x, its n columns, or k, the smaller number; or a function of attrs that tells.
    """

    @functools.wraps(rule)
    def lower(x, **attrs):
        known = dims(x)
        if 0 in known and None not in known[-2:]:
            return _of_empty(x, impl, attrs)
        joined = stacked(x)
        results = rule(filled(joined), **attrs)
        parts = results if isinstance(results, tuple) else (results,)
        if None in known:
            names = sizes(**attrs) if callable(sizes) else sizes
            parts = [_cut(r, joined, name) for r, name in zip(parts, names, strict=True)]
        parts = tuple(restored(r, x) for r in parts)
        return parts if isinstance(results, tuple) else parts[0]

    return lower


def filled(x: Output, axes: Sequence[int] = (0, 1, 2)) -> Output:
    """x, with something along those of `axes` that turn out to be empty: kernels crash on it."""
    known = dims(x)
    unknown = [a for a in axes if known[a] is None]
    if not unknown:
        return x
    present = shape_of(x)
    least = ints([1 if a in unknown else 0 for a in range(3)])
    missing = ov.subtract(ov.maximum(present, least), present)
    found = ov.pad(x, ints([0] * 3), missing, "constant", const(1, x))
    lengths = [scalar_dim(found.output(0), a) if n is None else n for a, n in enumerate(known)]
    return ov.reshape(found, vector(lengths), special_zero=False).output(0)


def _cut(result, x, name):
    """The part of `result` that x has a share in."""
    batch, rows, columns = (ov.gather(shape_of(x), ints([a]), ints(0)) for a in range(3))
    lengths = {"m": rows, "n": columns, "k": ov.minimum(rows, columns)}
    known = dims(result)
    ends = {0: batch} | {a: lengths[letter] for a, letter in enumerate(name, 1)}
    axes = [a for a in ends if known[a] is None]
    if not axes:
        return result
    start, step = ints([0] * len(axes)), ints([1] * len(axes))
    stop = ov.concat([ends[a] for a in axes], 0)
    return ov.slice(result, start, stop, step, ints(axes)).output(0)


def _of_empty(x, impl, attrs):
    *lead, rows, columns = dims(x)
    known = None not in lead
    example = impl(np.ones((*lead, rows, columns) if known else (rows, columns), "f4"), **attrs)
    parts = []
    for part in example if isinstance(example, tuple) else (example,):
        part = np.asarray(part)
        held = const(part, Type.i32 if part.dtype.kind == "i" else Type.f32)
        if not known:
            shape = ov.concat([_leading(x), ints(list(part.shape))], 0)
            held = ov.broadcast(held, shape if part.ndim else _leading(x)).output(0)
        parts.append(held)
    return tuple(parts) if isinstance(example, tuple) else parts[0]


# -- loops


def loop(
    step: Callable,
    state: Sequence[Output],
    trips: Output,
    fixed: Sequence[Output] = (),
    stack: int = 0,
    proceeds: bool = False,
) -> list[Output]:
    """A Loop node over outputs.

    Args:
        step: `step(index, state, fixed)` -> the next state, then `stack` outputs, which are
            (batch, m, 1) and become the columns of a result, then with `proceeds` a boolean scalar.
            `index` is an i32 vector of one element.
        state: what is carried.
        trips: the largest number of iterations, an i32 scalar.
        fixed: outer outputs that the steps use.

    Returns:
        The last state, then the stacked results.
    """
    index = ov.parameter([1], Type.i32)
    inner = [ov.parameter(_free(x), element(x)) for x in state]
    held = [ov.parameter(x.get_partial_shape(), element(x)) for x in fixed]
    outputs = step(index.output(0), [p.output(0) for p in inner], [p.output(0) for p in held])
    go_on = outputs.pop() if proceeds else const(True, Type.boolean)
    results = [ov.result(x) for x in outputs]
    ends = [ov.result(go_on), *results]
    node = ov.loop(trips, const(True, Type.boolean))
    node.set_function(Model(ends, [index, *inner, *held], "linalg"))
    node.set_special_body_ports([0, 0])
    keep_as_written(node)
    for parameter, x, result in zip(inner, state, results[: len(state)], strict=True):
        node.set_merged_input(parameter, x, result.output(0))
    for parameter, x in zip(held, fixed, strict=True):
        node.set_invariant_input(parameter, x)
    columns = results[len(state) : len(state) + stack]
    last = [node.get_iter_value(r.output(0), -1) for r in results[: len(state)]]
    return last + [node.get_concatenated_slices(r.output(0), 0, 1, 1, -1, 2) for r in columns]


def _free(x) -> PartialShape:
    """The shape of a carried value; unknown lengths without symbols, which a step need not keep."""
    return PartialShape([-1 if n is None else n for n in dims(x)])
