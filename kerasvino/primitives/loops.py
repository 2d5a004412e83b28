"""Loops in a graph: a Loop, built from a Python function over flat lists of tensors.

The body is traced in a child `Trace`: outer tensors that it uses become inputs of the node, and
variables that it assigns become carried values. A recorded loop also stacks the values that each
iteration began with, from which its gradient starts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from openvino import Model, Output, PartialShape, Type
from openvino.op import Parameter, Result

from kerasvino import dtypes
from kerasvino.graph.calls import Body, Log, unlogged
from kerasvino.graph.trace import Trace, current_trace
from kerasvino.nodes.loop_values import number_iterations, unused
from kerasvino.nodes.lowering import const, ints, ov
from kerasvino.primitives.compare import greater, logical_and
from kerasvino.primitives.conditional import branch, fresh, scalar
from kerasvino.primitives.elementwise import stop_gradient
from kerasvino.primitives.indexing import flip, slice_
from kerasvino.primitives.join import concatenate, split
from kerasvino.primitives.operation_errors import LoweringError, attributed
from kerasvino.primitives.region import Region, unrecorded
from kerasvino.primitives.shape import (
    broadcast_to,
    dimension,
    expand_dims,
    lengths,
    reshape,
    squeeze,
)
from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.tensor import Tensor

__all__ = ["loop", "loop_", "scan"]


def loop(
    function: Callable,
    carried: Sequence[Tensor],
    *,
    sliced: Sequence[Tensor] = (),
    trips: Tensor | int | None = None,
    condition: Tensor | None = None,
    backwards: bool = False,
) -> tuple[list[Tensor], list[Tensor]]:
    """A Loop node.

    Args:
        function: `function(index, carried, slices)` -> (condition or None, next carried, stacked):
            flat lists of tensors; `index` is the number of the iteration, int64.
        carried: initial values. A length that an iteration changes becomes unknown.
        sliced: tensors iterated over along their first axis, as many iterations long.
        trips: largest number of iterations; None for no limit.
        condition: whether the first iteration runs; `function` tells it of the next one.
        backwards: whether slices are taken, and results stacked, from the last to the first. There
            must be as many slices as iterations, and no condition.

    Returns:
        The last carried values, and the stacked results along a new first axis.

    Raises:
        LoweringError: a carried value changes its dtype or rank.
    """
    made = _made(function, carried, sliced, trips, condition, backwards)
    width = len(made.initial)
    last = _unless_no_iteration(made, trips, condition)
    for variable, tensor in zip(made.variables, last[len(carried) :], strict=True):
        current_trace().write(variable, tensor._restate({}))
    return last[: len(carried)], made.outputs[width : width + made.stacked]


def scan(
    step: Callable, carried: Sequence[Tensor], rows: Sequence[Tensor], backwards: bool = False
) -> tuple[list[Tensor], list[Tensor]]:
    """The last carried values and stacked results of a step for each row; concrete or traced.

    Args:
        step: `step(carried, slices)` -> (next carried, results), flat lists of tensors.
        rows: tensors of one length > 0 along their first axis.
        backwards: whether the last row is the first to be taken. Results are in the order of rows.
    """
    if any(t.is_symbolic for t in (*carried, *rows)):
        count = rows[0].shape[0]
        trips = dimension(rows[0], axis=0) if count is None else count
        return loop(
            lambda index, held, slices: (None, *step(held, slices)), carried, sliced=rows,
            trips=trips, backwards=backwards,
        )  # fmt: skip
    order = -1 if backwards else 1
    results = []
    for parts in list(zip(*(_unstacked(t) for t in rows), strict=True))[::order]:
        carried, made = step(carried, parts)
        results.append([expand_dims(t, axis=(0,)) for t in made])
    results = results[::order]
    return list(carried), [concatenate(*parts, axis=0) for parts in zip(*results, strict=True)]


def _unstacked(rows):
    return [squeeze(t, axis=(0,)) for t in split(rows, sizes=(1,) * rows.shape[0], axis=0)]


class _Made(NamedTuple):
    """A Loop: its outputs, and what of them the caller is to know."""

    outputs: list[Tensor]
    initial: list[Tensor]
    variables: list
    stacked: int
    unused: list[int]


def _made(function, carried, sliced, trips, condition, backwards, save=False) -> _Made:
    parent = current_trace()
    if isinstance(trips, Tensor) and not trips.is_symbolic:
        trips = int(trips)
    start, variables = [t.shape for t in carried], {}
    shapes = start
    while True:
        body = _Iteration(parent, function, carried, shapes, sliced, variables)
        _check_carried(carried, body.next)
        assigned = {key: v for key, (v, _) in body.scope.writes.items()}
        wide = body.widened(shapes)
        if wide == shapes and assigned.keys() == variables.keys():
            break
        shapes, variables = wide, assigned
    initial = [*carried, *(parent.read(v) for v in variables.values())]
    inputs, attrs = body.as_call(variables.values(), initial, sliced)
    attrs |= {"trips": trips, "condition": condition, "backwards": backwards}
    attrs["saved"] = save or (trips is not None and shapes == start and loop_.recorded(inputs))
    limits = _trip_count(parent, trips), _first(parent, condition)
    if not body.stacked and _never_runs(*limits):
        return _Made(initial, initial, list(variables.values()), 0, [])
    # a TensorIterator cannot be within another
    turned = backwards and not (isinstance(trips, int) and trips > 0 and parent.parent is None)
    rows_in = _flipped(sliced) if turned else sliced
    last, rows, done, lost = _node(
        parent, body, initial, rows_in, trips, limits, attrs["saved"], backwards and not turned
    )
    rows = _true_rows(rows, done, inputs, attrs)
    rows = _flipped(rows) if turned else rows
    counter = [done] if attrs["saved"] and condition is not None and rows else []
    outputs = [*last, *rows, *counter]
    loop_.note(inputs, attrs, outputs)
    return _Made(outputs, initial, list(variables.values()), len(body.stacked), lost)


def _flipped(rows):
    with unlogged():
        return [flip(unrecorded(t), (0,)) for t in rows]


class _Iteration:
    """One attempt at tracing the body of a loop with given shapes and carried variables."""

    def __init__(self, parent, function, carried, shapes, sliced, variables):
        self.scope = scope = Trace(parent)
        with scope:
            self.index, self.index_node = scope._parameter((), "int64")
            inner = [scope._parameter(s, t.dtype) for s, t in zip(shapes, carried, strict=True)]
            for variable in variables.values():
                inner.append(scope._parameter(variable.shape, variable._dtype))
                scope.write(variable, inner[-1][0])
            self.held = [tensor for tensor, _ in inner]
            self.held_nodes = [node for _, node in inner]
            slices = [scope._parameter((1, *t.shape[1:]), t.dtype) for t in sliced]
            self.slice_nodes = [node for _, node in slices]
            self.slices = [
                scope.symbol(ov.squeeze(t._output, ints([0])).output(0), t.dtype) for t, _ in slices
            ]
            with Log() as log:
                self.condition, self.next, self.stacked = function(
                    self.index, self.held[: len(carried)], self.slices
                )
        self.calls = log.calls

    def widened(self, shapes):
        """`shapes` with None on the axes that an iteration changes."""
        wide = []
        for shape, tensor in zip(shapes, self.next, strict=True):
            if shape is None or len(tensor.shape) != len(shape):
                raise LoweringError(
                    attributed(
                        "loop",
                        f"needs carried values of one rank; one goes in with shape {shape} and "
                        f"comes out with {tensor.shape}.",
                    )
                )
            wide.append(
                tuple(a if a == b else None for a, b in zip(shape, tensor.shape, strict=True))
            )
        return wide

    def as_call(self, variables, initial, sliced):
        """Inputs and attributes by which the loop can be run again; closes the body."""
        with self.scope, Log() as log:
            # a variable holds a value, not how it came about
            self.next = [*self.next, *(stop_gradient(self.scope.read(v)) for v in variables)]
        free: list[Tensor] = []
        ends = [] if self.condition is None else [self.condition]
        body = Body(
            [self.index, *self.held, *self.slices], [*self.calls, *log.calls],
            [*ends, *self.next, *self.stacked], free,
        )  # fmt: skip
        return (*initial, *sliced, *free), {
            "body": body,
            "carries": len(initial),
            "slices": len(sliced),
        }


def _check_carried(carried, following):
    if len(carried) != len(following):
        raise LoweringError(
            attributed(
                "loop",
                f"carries {len(carried)} tensors, but its body returns {len(following)}.",
            )
        )
    for index, (a, b) in enumerate(zip(carried, following, strict=True)):
        if a.dtype != b.dtype:
            raise LoweringError(
                attributed(
                    "loop",
                    f"needs carried values of one dtype; value {index} goes in as {a.dtype} and "
                    f"comes out as {b.dtype}. Cast it to one of them.",
                )
            )


class _Ends(NamedTuple):
    """The results of a loop's body, and the model of it."""

    go_on: Output
    following: list[Result]
    rows: list[Result]
    counter: tuple[Parameter, Result] | None
    model: Model


def _closed(body, stacked, counts, iterator=False) -> _Ends:
    """The body's model, which with `counts` carries the number of iterations.

    That of a Loop is given the number of the iteration, and tells whether to go on. An `iterator`
    carries the number itself.
    """
    scope = body.scope
    with scope:
        go_on = const(True, Type.boolean)
        if body.condition is not None:
            go_on = scalar(scope.output(body.condition), Type.boolean)
        parameters = [*body.held_nodes, *body.slice_nodes]
        following = [Result(fresh(scope.output(t))) for t in body.next]
        rows = [Result(ov.unsqueeze(scope.output(t), ints([0])).output(0)) for t in stacked]
        counter, number = None, body.index_node
        if counts:
            count, node = scope._parameter((), "int64")
            counter = node, Result(ov.add(count._output, ints(1)).output(0))
        elif iterator:
            number_iterations(number)
            counter = number, Result(ov.add(number, ints(1)).output(0))
        captured = [node for _, _, node in scope.captured.values()]
    parameters, results = [*parameters, *captured], [*following, *rows]
    if not iterator:
        parameters, results = [number, *parameters], [Result(go_on), *results]
    if counter is not None:
        parameters.append(counter[0])
        results.append(counter[1])
    return _Ends(go_on, following, rows, counter, Model(results, parameters, "loop_body"))


def _node(parent, body, initial, sliced, trips, limits, saved, backwards):
    """The Loop: (last carried values, rows, number of iterations, positions of unused values).

    The rows are the stacked results, with `saved` also the carried values before each iteration.
    The number of iterations is `trips` unless a condition decides on it and there are rows.
    """
    stacked = [*body.stacked, *(body.held if saved else [])]
    counts = body.condition is not None and bool(stacked)
    ends = _closed(body, stacked, counts, iterator=backwards)
    # a Loop may not take its last slice first
    node = ov.tensor_iterator() if backwards else ov.loop(*limits)
    node.set_function(ends.model)
    if not backwards:
        node.set_special_body_ports([0, 0])
    for inner, tensor, end in zip(body.held_nodes, initial, ends.following, strict=True):
        node.set_merged_input(inner, parent.output(tensor), end.output(0))
    order = (-1, -1, 1, 0, 0) if backwards else (0, 1, 1, -1, 0)  # start, stride, size, end, axis
    for inner, tensor in zip(body.slice_nodes, sliced, strict=True):
        node.set_sliced_input(inner, parent.output(tensor), *order)
    for tensor, _, inner in body.scope.captured.values():
        node.set_invariant_input(inner, parent.output(tensor))
    done = trips
    if ends.counter is not None:
        node.set_merged_input(ends.counter[0], ints(0), ends.counter[1].output(0))
    if counts:
        done = parent.symbol(node.get_iter_value(ends.counter[1].output(0), -1), "int64")
    parent.named.setdefault(node.get_friendly_name(), attributed("loop"))
    outputs = [node.get_iter_value(end.output(0), -1) for end in ends.following]
    rows = [node.get_concatenated_slices(end.output(0), *order) for end in ends.rows]
    last, rows = (
        [parent.symbol(output, tensor.dtype) for output, tensor in zip(*pair, strict=True)]
        for pair in ((outputs, body.next), (rows, stacked))
    )
    return last, rows, done, unused(ends.go_on, ends.following, body.held_nodes)


def _never_runs(trips, condition) -> bool:
    """Whether OpenVINO finds that a Loop has no iteration: a condition over an empty tensor, say.

    It then gives the carried results a first axis of length 0, or raises for a scalar.
    """
    probe = ov.loop(trips, condition)
    state = Parameter(Type.f32, PartialShape([1]))
    following, go_on = ov.negative(state).output(0), const(True, Type.boolean)
    probe.set_function(Model([Result(go_on), Result(following)], [state], "probe"))
    probe.set_special_body_ports([-1, 0])
    probe.set_merged_input(state, const([0.0], Type.f32), following)
    return probe.get_iter_value(following, -1).get_partial_shape() == PartialShape([0])


def _true_rows(rows, done, inputs, attrs):
    """The rows of a Loop that was run `done` times (an int or a tensor).

    A Loop of no iteration keeps in its stacked output the rows of the run before. If not all
    lengths of the rows are known, it loses even their rank: a body run once in a branch tells them.
    """
    if isinstance(done, int):
        return rows
    if all(None not in t.shape[1:] for t in rows):
        with unlogged():
            return [slice_(t, axis=(0,), starts=(0,), stops=(done,), steps=(1,)) for t in rows]
    inputs = [unrecorded(t) for t in inputs]
    held, sliced = inputs[: attrs["carries"]], inputs[attrs["carries"] :][: attrs["slices"]]

    def none():
        first = [broadcast_to(constant_like(0, t), shape=lengths(t)[1:]) for t in sliced]
        zero = Tensor._wrap(np.zeros((), np.int64))
        results = attrs["body"]([zero, *held, *first], inputs[len(held) + len(sliced) :])
        stacked = results[len(held) + (attrs["condition"] is not None) :]
        stacked += held if attrs["saved"] else []
        return [
            slice_(expand_dims(t, axis=(0,)), axis=(0,), starts=(0,), stops=(0,), steps=(1,))
            for t in stacked
        ]

    with unlogged():
        some = greater(done, Tensor._wrap(np.zeros((), dtypes.numpy_dtype(done.dtype))))
        return branch(some, lambda: rows, none)


def _unless_no_iteration(made, trips, condition):
    """The last carried values, those that are `unused` as given if the loop does not iterate.

    Where a body does not use a carried value, a Loop without iterations gives that of the run
    before, or nothing.
    """
    last = made.outputs[: len(made.initial)]
    runs = None if condition is None else reshape(condition, shape=())
    if isinstance(trips, Tensor):
        some = greater(trips, Tensor._wrap(np.zeros((), dtypes.numpy_dtype(trips.dtype))))
        runs = some if runs is None else logical_and(some, runs)
    elif trips == 0:
        return made.initial
    if runs is None or not made.unused:
        return last
    if not runs.is_symbolic:
        return last if runs else made.initial
    chosen = branch(
        runs, lambda: [last[i] for i in made.unused], lambda: [made.initial[i] for i in made.unused]
    )
    for position, tensor in zip(made.unused, chosen, strict=True):
        last[position] = tensor
    return last


def _trip_count(parent, trips):
    if trips is None:
        return ints(-1)
    if isinstance(trips, Tensor):
        return scalar(parent.output(trips), Type.i64)
    return ints(trips)


def _first(parent, condition):
    if condition is None:
        return const(True, Type.boolean)
    return scalar(parent.output(condition), Type.boolean)


def _again(*inputs, body, carries, slices, trips, condition, backwards, saved):
    initial, sliced = inputs[:carries], inputs[carries : carries + slices]
    free = inputs[carries + slices :]

    def iteration(index, held, rows):
        results = body([index, *held, *rows], free)
        go_on = None if condition is None else results.pop(0)
        return go_on, results[:carries], results[carries:]

    return _made(iteration, initial, sliced, trips, condition, backwards, saved).outputs


# Initial carried values, tensors iterated over, then what the body closes over;
# body(index, carried, slices) -> condition if there is one, next carried values, stacked results.
loop_ = Region("loop", _again)
