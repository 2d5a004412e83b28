"""Control flow: Python on concrete values, If and Loop nodes on traced ones."""

from __future__ import annotations

import builtins
import math
import operator

from keras.src import tree
from keras.src.backend.common.variables import Variable

from kerasvino import dtypes
from kerasvino.backend.ops.core.bodies import tracing_bodies
from kerasvino.backend.ops.core.convert import convert_to_tensor, to_dtype
from kerasvino.primitives.conditional import branch
from kerasvino.primitives.elementwise import ceil
from kerasvino.primitives.loops import loop
from kerasvino.tensor import Tensor

__all__ = [
    "associative_scan",
    "cond",
    "fori_loop",
    "map",
    "scan",
    "switch",
    "vectorized_map",
    "while_loop",
]


def _flat(structure) -> list[Tensor]:
    """The leaves of a structure as tensors; None is no leaf."""
    return [convert_to_tensor(leaf) for leaf in tree.flatten(structure) if leaf is not None]


def _pack(structure, flat):
    """A structure like `structure` with the tensors of `flat` as its leaves."""
    rest = iter(flat)
    leaves = [None if leaf is None else next(rest) for leaf in tree.flatten(structure)]
    return tree.pack_sequence_as(structure, leaves)


def _tensors(structure):
    return _pack(structure, _flat(structure))


def _symbolic(flat) -> bool:
    return any(isinstance(t, Tensor) and t.is_symbolic for t in flat)


# -- branches


def cond(pred, true_fn, false_fn):
    """`true_fn()` if `pred` else `false_fn()`; on a traced `pred` an If, of which one branch runs.

    Both branches of an If return the same structure, with tensors that agree in dtype and rank.
    """
    pred = convert_to_tensor(pred)
    if not pred.is_symbolic:
        return true_fn() if pred else false_fn()
    structures = []

    def flattened(function):
        def run():
            structures.append(function())
            tree.assert_same_structure(structures[0], structures[-1])
            return _flat(structures[-1])

        return run

    with tracing_bodies():
        results = branch(pred, flattened(true_fn), flattened(false_fn))
    return _pack(structures[0], results)


def switch(index, branches, *operands):
    """`branches[index](*operands)`, `index` clamped to the branches there are."""
    index = convert_to_tensor(index)
    last = len(branches) - 1
    if not index.is_symbolic:
        return branches[builtins.min(builtins.max(int(index), 0), last)](*operands)

    def choose(position):
        if position == last:
            return lambda: branches[last](*operands)
        return lambda: cond(
            index <= position, lambda: branches[position](*operands), choose(position + 1)
        )

    return choose(0)()


# -- loops


def while_loop(cond, body, loop_vars, maximum_iterations=None):
    """Repeats `loop_vars = body(*loop_vars)` while `cond(*loop_vars)` holds.

    On concrete values a Python loop, on traced ones a Loop, whose carried values keep their dtype
    and rank. A loop that starts concrete and meets a traced value goes on as a Loop from there.
    `maximum_iterations` may be traced, too; none is made where it is 0 or less.
    """
    single = not isinstance(loop_vars, (tuple, list))
    state = (loop_vars,) if single else tuple(loop_vars)
    limit = _limit(maximum_iterations)
    done = 0
    state = _tensors(state)
    if isinstance(limit, Tensor):
        go_on = convert_to_tensor(cond(*state))
        state = _traced_while(cond, body, state, go_on, limit, single)
        return state[0] if single else state
    while limit is None or done < limit:
        go_on = convert_to_tensor(cond(*state))
        if not go_on.is_symbolic and not go_on:
            break
        if go_on.is_symbolic or _symbolic(tree.flatten(state)):
            rest = None if limit is None else limit - done
            state = _traced_while(cond, body, state, go_on, rest, single)
            break
        state = _as_state(body(*state), single, len(state))
        done += 1
    return state[0] if single else state


def _limit(count) -> Tensor | int | None:
    """The largest number of iterations: an int, a traced int64 of 0 or more, or None for no limit.

    There are as many as there are whole numbers from 0 that are less than `count`.
    """
    if count is None or (isinstance(count, float) and count == math.inf):
        return None
    if isinstance(count, (int, float)):
        return math.ceil(count)
    count = convert_to_tensor(count)
    if not count.is_symbolic:
        return math.ceil(count.item())
    if dtypes.is_float(count.dtype):
        count = ceil(count)
    return _trips(to_dtype(count, "int64"))


def _trips(count):
    """`count`, or 0 if it is negative, which a Loop takes for "no limit"."""
    return to_dtype(count * to_dtype(count > 0, count.dtype), "int64")


def _as_state(result, single, count):
    """What a body returned, as a tuple; of one loop variable also a tensor that is in none."""
    alone = single or (count == 1 and isinstance(result, (Tensor, Variable)))
    return _tensors((result,) if alone else tuple(result))


def _traced_while(cond, body, state, go_on, limit, single):
    def step(index, flat, slices):
        following = _as_state(body(*_pack(state, flat)), single, len(state))
        tree.assert_same_structure(state, following)
        return convert_to_tensor(cond(*following)), _flat(following), []

    with tracing_bodies():
        last, _ = loop(step, _flat(state), trips=limit, condition=go_on)
    return _pack(state, last)


def fori_loop(lower, upper, body_fun, init_val):
    """`init_val = body_fun(i, init_val)` for i from `lower` to `upper` - 1."""
    lower, upper = convert_to_tensor(lower), convert_to_tensor(upper)
    state = _tensors(init_val)
    if not _symbolic([lower, upper, *tree.flatten(state)]):
        for i in range(int(lower), int(upper)):
            if _symbolic(tree.flatten(state)):
                return _traced_for(convert_to_tensor(i, lower.dtype), upper, body_fun, state)
            state = _tensors(body_fun(convert_to_tensor(i, lower.dtype), state))
        return state
    return _traced_for(lower, upper, body_fun, state)


def _traced_for(lower, upper, body_fun, state):
    def step(index, flat, slices):
        following = body_fun(to_dtype(index, lower.dtype) + lower, _pack(state, flat))
        return None, _flat(following), []

    with tracing_bodies():
        last, _ = loop(step, _flat(state), trips=_trips(upper - lower))
    return _pack(state, last)


def scan(f, init, xs=None, length=None, reverse=False, unroll=1):
    """Carries `init` along the first axis of `xs`: `carry, y = f(carry, x)`; returns (carry, ys).

    Raises:
        TypeError: `f` is not callable.
        ValueError: neither `xs` nor `length` is given, or lengths disagree.
    """
    if not callable(f):
        raise TypeError(f"`f` should be a callable. Received: f={f!r}")
    if not isinstance(unroll, bool) and (not isinstance(unroll, int) or unroll < 1):
        raise ValueError(
            f"`unroll` must be an positive integer or boolean. Received: unroll={unroll}"
        )
    if xs is None and length is None:
        raise ValueError("Got no `xs` to scan over and `length` not provided.")
    state = _tensors(init)
    rows = _flat(xs) if xs is not None else []
    count = _common_length(rows, length)
    fixed = count if isinstance(count, int) else None
    concrete = not _symbolic([*tree.flatten(state), *rows])
    if fixed is not None and (concrete or unroll is True or fixed == 0):
        return _unrolled_scan(f, state, xs, rows, fixed, reverse)
    return _traced_scan(f, state, xs, rows, count, reverse)


def _common_length(rows, length):
    lengths = {t.shape[0] for t in rows}
    if length is not None:
        lengths.add(length if isinstance(length, Tensor) else int(length))
    known = {n for n in lengths if isinstance(n, int)}
    if len(known) > 1:
        raise ValueError(f"The lengths to scan over disagree: {sorted(known)}.")
    if known:
        return known.pop()
    from kerasvino.backend.ops.core.convert import shape

    return shape(rows[0])[0] if rows else length


def _unrolled_scan(f, state, xs, rows, count, reverse):
    from kerasvino.backend.ops.numpy import stack

    if count == 0:
        return state, _empty_rows(f, state, xs, rows)
    ys = []
    for i in reversed(range(count)) if reverse else range(count):
        x = None if xs is None else _pack(xs, [row[i] for row in rows])
        state, y = f(state, x)
        ys.append(y)
    if reverse:
        ys.reverse()
    return state, tree.map_structure(lambda *steps: None if steps[0] is None else stack(steps), *ys)


def _empty_rows(f, state, xs, rows):
    """The stacked results of no step: their shapes and dtypes are those that a step would have."""
    from keras.src.backend.common.keras_tensor import KerasTensor

    from kerasvino.backend.ops.core.spec import compute_output_spec
    from kerasvino.backend.ops.numpy import zeros

    def spec(t):
        return KerasTensor(t.shape, t.dtype)

    x = None if xs is None else _pack(xs, [KerasTensor(t.shape[1:], t.dtype) for t in rows])
    _, y = compute_output_spec(f, tree.map_structure(spec, state), x)
    return tree.map_structure(lambda t: None if t is None else zeros((0, *t.shape), t.dtype), y)


def _traced_scan(f, state, xs, rows, count, reverse):
    from kerasvino.backend.ops.numpy import flip

    def turned(tensors):
        return [flip(t, axis=0) for t in tensors] if reverse else tensors

    structure = []

    def step(index, flat, slices):
        x = None if xs is None else _pack(xs, slices)
        following, y = f(_pack(state, flat), x)
        tree.assert_same_structure(state, following)
        structure[:] = [y]
        return None, _flat(following), _flat(y)

    with tracing_bodies():
        last, stacked = loop(step, _flat(state), sliced=turned(rows), trips=count)
    return _pack(state, last), _pack(structure[0], turned(stacked))


def map(f, xs):
    """`f` applied to each slice of `xs` along the first axis, results stacked."""

    def step(_, x):
        return (), f(x)

    return scan(step, (), xs)[1]


def vectorized_map(function, elements):
    """`function` applied to each element of the first axis, as `map`."""
    return map(function, elements)


def associative_scan(f, elems, reverse=False, axis=0):
    """Prefix combinations of `elems` along `axis` with the associative `f(a, b)`.

    The recursion of Blelloch ("Prefix sums and their applications", 1990): combine neighbours, scan
    the half, fill in the others; of depth log2(n).
    """
    from kerasvino.backend.ops import numpy as knp

    if not callable(f):
        raise TypeError(f"`f` should be a callable. Received: f={f!r}")
    flat = _flat(elems)
    axis = operator.index(axis)
    lengths = {t.shape[axis] for t in flat}
    if len(lengths) != 1:
        raise ValueError(
            "Array inputs to associative_scan must have the same first dimension. "
            f"(saw: {[t.shape for t in flat]})"
        )
    length = lengths.pop()
    if length is None:
        raise ValueError("associative_scan needs an axis of known length.")

    def at(t, start, stop, step=1):
        key = [builtins.slice(None)] * t.ndim
        key[axis] = builtins.slice(start, stop, step)
        return t[tuple(key)]

    def combine(a, b):
        return _flat(f(_pack(elems, a), _pack(elems, b)))

    def prefixes(values, n):
        if n < 2:
            return values
        pairs = combine([at(v, 0, n - 1, 2) for v in values], [at(v, 1, n, 2) for v in values])
        odd = prefixes(pairs, n // 2)
        if n == 2:
            even = [at(v, 0, 1) for v in values]
        else:
            upto = (n - 1) // 2
            rest = combine([at(v, 0, upto) for v in odd], [at(v, 2, n, 2) for v in values])
            even = [
                knp.concatenate([at(v, 0, 1), r], axis=axis)
                for v, r in zip(values, rest, strict=True)
            ]
        return [_interleaved(e, o, n, axis) for e, o in zip(even, odd, strict=True)]

    def turned(values):
        return [knp.flip(v, axis=axis) for v in values] if reverse else values

    return _pack(elems, turned(prefixes(turned(flat), length)))


def _interleaved(even, odd, length, axis):
    """Elements of `even` and `odd` in turn along `axis`, `length` in all."""
    from kerasvino.backend.ops import numpy as knp

    both = knp.concatenate([even, odd], axis=axis)
    half = even.shape[axis]
    order = [i // 2 + (half if i % 2 else 0) for i in range(length)]
    return knp.take(both, order, axis=axis)
