"""Control flow in a graph: If and Loop, built from Python functions over flat lists of tensors.

Bodies are traced in a child `Trace`: outer tensors that they use become inputs of the node, and
variables that they assign become further outputs (`branch`) or carried values (`loop`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from openvino import Model, PartialShape, Type
from openvino.op import Parameter, Result

from kerasvino.graph.trace import Trace, current_trace
from kerasvino.primitives.errors import LoweringError, attributed
from kerasvino.primitives.lowering import const, convert, ints, ov
from kerasvino.tensor import Tensor

__all__ = ["branch", "loop"]


def _scalar(output, kind):
    """`output` (one element) as a scalar of element type `kind`."""
    if output.get_partial_shape().rank.get_length() != 0:
        output = ov.reshape(output, ints([]), special_zero=False).output(0)
    return convert(output, kind)


def _fresh(output):
    """A result that is a parameter itself gets a node of its own, which If and Loop require."""
    kind = output.get_node().get_type_name()
    if kind != "Parameter":
        return output
    return ov.reshape(output, ov.shape_of(output), special_zero=False).output(0)


# -- If


def _trace_branch(parent, function):
    trace = Trace(parent)
    with trace:
        results = function()
    return trace, results


def branch(pred: Tensor, true_fn: Callable, false_fn: Callable) -> list[Tensor]:
    """An If node: only the branch that `pred` (one boolean element) selects is computed.

    Args:
        pred: symbolic.
        true_fn, false_fn: take nothing, return flat lists of tensors that agree pairwise in dtype
            and rank. They may assign variables.

    Raises:
        LoweringError: the branches differ in number, dtype or rank of their results.
    """
    parent = current_trace()
    scopes, values = zip(
        *(_trace_branch(parent, function) for function in (true_fn, false_fn)), strict=True
    )
    _check_branches(*values)
    variables = {key: v for scope in scopes for key, (v, _) in scope.writes.items()}
    bodies = []
    for scope, flat in zip(scopes, values, strict=True):
        with scope:
            finals = [*flat, *(scope.read(v) for v in variables.values())]
            results = [Result(_fresh(scope.output(t))) for t in finals]
        parameters = [node for _, _, node in scope.captured.values()]
        bodies.append((Model(results, parameters, "branch"), results, scope.captured))
    if not bodies[0][1]:
        return []
    node = ov.if_op(_scalar(parent.output(pred), Type.boolean))
    (then_body, then_results, then_in), (else_body, else_results, else_in) = bodies
    node.set_then_body(then_body)
    node.set_else_body(else_body)
    for key in dict.fromkeys([*then_in, *else_in]):
        outer = (then_in.get(key) or else_in.get(key))[0]
        inner = [captured[key][2] if key in captured else None for captured in (then_in, else_in)]
        node.set_input(parent.output(outer), *inner)
    outputs = [node.set_output(a, b) for a, b in zip(then_results, else_results, strict=True)]
    parent.named.setdefault(node.get_friendly_name(), attributed("cond"))
    kinds = [t.dtype for t in values[0]] + [v._dtype for v in variables.values()]
    tensors = [parent.symbol(o, kind) for o, kind in zip(outputs, kinds, strict=True)]
    count = len(values[0])
    for variable, tensor in zip(variables.values(), tensors[count:], strict=True):
        parent.write(variable, tensor)
    return tensors[:count]


def _check_branches(true_values, false_values):
    if len(true_values) != len(false_values):
        raise LoweringError(
            attributed(
                "cond",
                f"needs both branches to return the same structure; one returns {len(true_values)} "
                f"tensors, the other {len(false_values)}.",
            )
        )
    for index, (a, b) in enumerate(zip(true_values, false_values, strict=True)):
        if a.dtype != b.dtype or a.ndim != b.ndim:
            raise LoweringError(
                attributed(
                    "cond",
                    f"needs branches that agree in dtype and rank; result {index} is "
                    f"{a.dtype}{list(a.shape)} in one and {b.dtype}{list(b.shape)} in the other. "
                    "Cast or reshape one of them.",
                )
            )


# -- Loop


class _Body:
    """One attempt at tracing the body of a loop with given shapes and carried variables."""

    def __init__(self, parent, function, carried, shapes, sliced, variables):
        self.scope = scope = Trace(parent)
        with scope:
            self.index, self.index_node = scope._parameter((), "int64")
            inner = [scope._parameter(s, t.dtype) for s, t in zip(shapes, carried, strict=True)]
            self.carried_nodes = [node for _, node in inner]
            self.variable_nodes = []
            for variable in variables.values():
                tensor, node = scope._parameter(variable.shape, variable._dtype)
                scope.write(variable, tensor)
                self.variable_nodes.append(node)
            slices = [scope._parameter((1, *t.shape[1:]), t.dtype) for t in sliced]
            self.slice_nodes = [node for _, node in slices]
            squeezed = [
                scope.symbol(ov.squeeze(t._output, ints([0])).output(0), t.dtype) for t, _ in slices
            ]
            self.condition, self.next, self.stacked = function(
                self.index, [t for t, _ in inner], squeezed
            )

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


def loop(
    function: Callable,
    carried: Sequence[Tensor],
    *,
    sliced: Sequence[Tensor] = (),
    trips: Tensor | int | None = None,
    condition: Tensor | None = None,
) -> tuple[list[Tensor], list[Tensor]]:
    """A Loop node.

    Args:
        function: `function(index, carried, slices)` -> (condition or None, next carried, stacked):
            flat lists of tensors; `index` is the number of the iteration, int64.
        carried: initial values. A length that an iteration changes becomes unknown.
        sliced: tensors iterated over along their first axis.
        trips: largest number of iterations; None for no limit.
        condition: whether the first iteration runs; `function` tells it of the next one.

    Returns:
        The last carried values, and the stacked results along a new first axis.

    Raises:
        LoweringError: a carried value changes its dtype or rank.
    """
    parent = current_trace()
    shapes, variables = [t.shape for t in carried], {}
    while True:
        body = _Body(parent, function, carried, shapes, sliced, variables)
        _check_carried(carried, body.next)
        assigned = {key: v for key, (v, _) in body.scope.writes.items()}
        wide = body.widened(shapes)
        if wide == shapes and assigned.keys() == variables.keys():
            break
        shapes, variables = wide, assigned
    return _build(parent, body, carried, sliced, variables, trips, condition)


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


def _build(parent, body, carried, sliced, variables, trips, condition):
    scope = body.scope
    with scope:
        go_on = (
            const(True, Type.boolean)
            if body.condition is None
            else _scalar(scope.output(body.condition), Type.boolean)
        )
        ends = [Result(go_on)]
        finals = [*body.next, *(scope.read(v) for v in variables.values())]
        next_ends = [Result(_fresh(scope.output(t))) for t in finals]
        stack_ends = [
            Result(ov.unsqueeze(scope.output(t), ints([0])).output(0)) for t in body.stacked
        ]
        ends += next_ends + stack_ends
    state_nodes = [*body.carried_nodes, *body.variable_nodes]
    outer = [(t, node) for t, _, node in scope.captured.values()]
    parameters = [body.index_node, *state_nodes, *body.slice_nodes, *(n for _, n in outer)]
    limits = _trip_count(parent, trips), _first(parent, condition)
    if not stack_ends and _never_runs(*limits):
        return list(carried), []
    node = ov.loop(*limits)
    node.set_function(Model(ends, parameters, "loop_body"))
    node.set_special_body_ports([0, 0])
    initial = [*carried, *(parent.read(v) for v in variables.values())]
    for inner, tensor, end in zip(state_nodes, initial, next_ends, strict=True):
        node.set_merged_input(inner, parent.output(tensor), end.output(0))
    for inner, tensor in zip(body.slice_nodes, sliced, strict=True):
        node.set_sliced_input(inner, parent.output(tensor), 0, 1, 1, -1, 0)
    for tensor, inner in outer:
        node.set_invariant_input(inner, parent.output(tensor))
    last = [node.get_iter_value(end.output(0), -1) for end in next_ends]
    rows = [node.get_concatenated_slices(end.output(0), 0, 1, 1, -1, 0) for end in stack_ends]
    parent.named.setdefault(node.get_friendly_name(), attributed("loop"))
    kinds = [t.dtype for t in carried] + [v._dtype for v in variables.values()]
    values = [parent.symbol(o, k) for o, k in zip(last, kinds, strict=True)]
    for variable, tensor in zip(variables.values(), values[len(carried) :], strict=True):
        parent.write(variable, tensor)
    if isinstance(trips, Tensor):
        count = ov.unsqueeze(_scalar(parent.output(trips), Type.i64), ints(0)).output(0)
        rows = [_true_rows(o, count, t.shape) for o, t in zip(rows, body.stacked, strict=True)]
    stacked = [parent.symbol(o, t.dtype) for o, t in zip(rows, body.stacked, strict=True)]
    return values[: len(carried)], stacked


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


def _true_rows(rows, count, shape):
    """The first `count` (an i64 vector of one element) of the rows of a Loop.

    A Loop of no iteration keeps in its stacked output the rows of the run before, or loses their
    shape.
    """
    kept = ov.slice(rows, ints([0]), count, ints([1]), ints([0])).output(0)
    if shape is None or None in shape:
        return kept
    whole = ov.concat([count, ints(list(shape))], 0) if shape else count
    return ov.reshape(kept, whole, special_zero=False).output(0)


def _trip_count(parent, trips):
    if trips is None:
        return ints(-1)
    if isinstance(trips, Tensor):
        return _scalar(parent.output(trips), Type.i64)
    return ints(trips)


def _first(parent, condition):
    if condition is None:
        return const(True, Type.boolean)
    return _scalar(parent.output(condition), Type.boolean)
