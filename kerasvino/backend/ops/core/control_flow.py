"""Control flow: Python on concrete values, If and Loop nodes on traced ones."""

from __future__ import annotations

import builtins
import math

from kerasvino import dtypes
from kerasvino.backend.keras_private import Variable, tree
from kerasvino.backend.ops.core.bodies import tracing_bodies
from kerasvino.backend.ops.core.convert import convert_to_tensor, promote, shape, to_dtype
from kerasvino.primitives.conditional import branch
from kerasvino.primitives.elementwise import ceil
from kerasvino.primitives.indexing import flip
from kerasvino.primitives.join import stack
from kerasvino.primitives.loops import loop
from kerasvino.tensor import Tensor

__all__ = [
    "cond",
    "fori_loop",
    "map",
    "scan",
    "switch",
    "vectorized_map",
    "while_loop",
]


def tensors_of(structure) -> list[Tensor]:
    """The leaves of a structure as tensors; None is no leaf."""
    return [convert_to_tensor(leaf) for leaf in tree.flatten(structure) if leaf is not None]


def packed_like(structure, flat):
    """A structure like `structure` with the tensors of `flat` as its leaves."""
    rest = iter(flat)
    leaves = [None if leaf is None else next(rest) for leaf in tree.flatten(structure)]
    return tree.pack_sequence_as(structure, leaves)


def _tensors(structure):
    return packed_like(structure, tensors_of(structure))


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
            return tensors_of(structures[-1])

        return run

    with tracing_bodies():
        results = branch(pred, flattened(true_fn), flattened(false_fn))
    return packed_like(structures[0], results)


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
        following = _as_state(body(*packed_like(state, flat)), single, len(state))
        tree.assert_same_structure(state, following)
        return convert_to_tensor(cond(*following)), tensors_of(following), []

    with tracing_bodies():
        last, _ = loop(step, tensors_of(state), trips=limit, condition=go_on)
    return packed_like(state, last)


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
        following = body_fun(to_dtype(index, lower.dtype) + lower, packed_like(state, flat))
        return None, tensors_of(following), []

    with tracing_bodies():
        last, _ = loop(step, tensors_of(state), trips=_trips(upper - lower))
    return packed_like(state, last)


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
    rows = tensors_of(xs) if xs is not None else []
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
    return shape(rows[0])[0] if rows else length


def _unrolled_scan(f, state, xs, rows, count, reverse):
    if count == 0:
        return state, _empty_rows(f, state, xs, rows)
    ys = []
    for i in reversed(range(count)) if reverse else range(count):
        x = None if xs is None else packed_like(xs, [row[i] for row in rows])
        state, y = f(state, x)
        ys.append(y)
    if reverse:
        ys.reverse()

    def stacked(*steps):
        return None if steps[0] is None else stack(promote(*steps), 0)

    return state, tree.map_structure(stacked, *ys)


def _empty_rows(f, state, xs, rows):
    """The stacked results of no step: their shapes and dtypes are those that a step would have."""
    from kerasvino.backend.keras_private import KerasTensor
    from kerasvino.backend.ops.core.spec import compute_output_spec
    from kerasvino.backend.ops.numpy.creation import zeros

    def spec(t):
        return KerasTensor(t.shape, t.dtype)

    x = None if xs is None else packed_like(xs, [KerasTensor(t.shape[1:], t.dtype) for t in rows])
    _, y = compute_output_spec(f, tree.map_structure(spec, state), x)
    return tree.map_structure(lambda t: None if t is None else zeros((0, *t.shape), t.dtype), y)


def _traced_scan(f, state, xs, rows, count, reverse):
    def turned(tensors):
        return [flip(t, (0,)) for t in tensors] if reverse else tensors

    structure = []

    def step(index, flat, slices):
        x = None if xs is None else packed_like(xs, slices)
        following, y = f(packed_like(state, flat), x)
        tree.assert_same_structure(state, following)
        structure[:] = [y]
        return None, tensors_of(following), tensors_of(y)

    with tracing_bodies():
        last, stacked = loop(step, tensors_of(state), sliced=turned(rows), trips=count)
    return packed_like(state, last), packed_like(structure[0], turned(stacked))


def map(f, xs):
    """`f` applied to each slice of `xs` along the first axis, results stacked."""

    def step(_, x):
        return (), f(x)

    return scan(step, (), xs)[1]


def vectorized_map(function, elements):
    """`function` applied to each element of the first axis, as `map`."""
    return map(function, elements)
