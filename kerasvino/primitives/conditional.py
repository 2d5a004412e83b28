"""Control flow in a graph: an If, built from Python functions over flat lists of tensors.

Bodies are traced in a child `Trace`: outer tensors that they use become inputs of the node, and
variables that they assign become further outputs.
"""

from __future__ import annotations

from collections.abc import Callable

from openvino import Model, Type
from openvino.op import Result
from openvino.op.util import BodyOutputDescription, InvariantInputDescription

from kerasvino.graph.calls import Body, Log
from kerasvino.graph.trace import Trace, current_trace
from kerasvino.nodes.lowering import convert, ints, ov, scalar_dim
from kerasvino.primitives.elementwise import stop_gradient
from kerasvino.primitives.operation_errors import LoweringError, attributed
from kerasvino.primitives.region import Region
from kerasvino.tensor import Tensor

__all__ = ["branch", "fresh", "if_", "scalar"]


def scalar(output, kind):
    """`output` (one element) as a scalar of element type `kind`."""
    if output.get_partial_shape().rank.get_length() != 0:
        output = ov.reshape(output, ints([]), special_zero=False).output(0)
    return convert(output, kind)


def fresh(output):
    """A result that is a parameter itself gets a node of its own, which If and Loop require."""
    kind = output.get_node().get_type_name()
    if kind != "Parameter":
        return output
    return ov.reshape(output, ov.shape_of(output), special_zero=False).output(0)


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
    sides = [_Side(parent, function) for function in (true_fn, false_fn)]
    count = len(sides[0].results)
    _check_branches(*(side.results for side in sides))
    variables = {key: v for side in sides for key, (v, _) in side.scope.writes.items()}
    for side in sides:
        side.close(variables.values())
    if not sides[0].ends:
        return []
    kinds = [t.dtype for t in sides[0].results]  # those of variables among them
    tensors = [
        parent.symbol(output, kind)
        for output, kind in zip(_node(parent, pred, *sides), kinds, strict=True)
    ]
    free: list[Tensor] = []
    bodies = tuple(Body((), side.calls, side.results, free) for side in sides)
    if_.note((pred, *free), {"bodies": bodies}, tensors)
    for variable, tensor in zip(variables.values(), tensors[count:], strict=True):
        parent.write(variable, tensor._restate({}))
    return tensors[:count]


class _Side:
    """A branch: its trace, its calls, its results, which are those of the variables in the end."""

    def __init__(self, parent, function):
        self.scope = Trace(parent)
        with self.scope, Log() as log:
            self.results = list(function())
        self.calls = log.calls

    def close(self, variables):
        """Makes the final values of `variables` further results, and the body's model."""
        scope = self.scope
        with scope, Log() as log:
            # a variable holds a value, not how it came about
            self.results += [stop_gradient(scope.read(v)) for v in variables]
            self.ends = [Result(fresh(scope.output(t))) for t in self.results]
        self.calls += log.calls
        parameters = [node for _, _, node in scope.captured.values()]
        self.model = Model(self.ends, parameters, "branch")


def _node(parent, pred, then, other):
    """The outputs of the If.

    All inputs and outputs are set at once: `set_input` and `set_output` infer the types of both
    bodies each time, which takes seconds where an optimizer stands in a branch.
    """
    sides, arguments = (then, other), [scalar(parent.output(pred), Type.boolean)]
    node = ov.if_op(arguments[0])
    keys = dict.fromkeys(key for side in sides for key in side.scope.captured)
    for key in keys:
        outer = next(s.scope.captured[key][0] for s in sides if key in s.scope.captured)
        arguments.append(parent.output(outer))
    node.set_arguments(arguments)
    places = {key: place for place, key in enumerate(keys, 1)}
    ends = [BodyOutputDescription(index, index) for index in range(len(then.ends))]
    for index, side in enumerate(sides):
        node.set_function(index, side.model)
        captured = enumerate(side.scope.captured)
        inputs = [InvariantInputDescription(places[key], own) for own, key in captured]
        node.set_input_descriptions(index, inputs)
        node.set_output_descriptions(index, ends)
    node.set_output_size(len(ends))
    node.validate_and_infer_types()
    parent.named.setdefault(node.get_friendly_name(), attributed("cond"))
    return [_copied(output) for output in node.outputs()]


def _copied(output):
    """A result of an If in memory of its own, unless its shape or that it is a scalar is known.

    Behind an If around a Loop, a Slice of a result of unknown shape that a Concat reads gives what
    is left in memory. Rows gathered in their order, which only a run knows, are a copy.
    """
    shape = output.get_partial_shape()
    if shape.is_static or shape.rank.is_dynamic or shape.rank.get_length() == 0:
        return output
    rows = ov.range(ints(0), scalar_dim(output, 0), ints(1), "i64").output(0)
    return ov.gather(output, rows, ints(0)).output(0)


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


def _again(pred, *free, bodies):
    then, other = (lambda body=body: body((), free) for body in bodies)
    if pred.is_symbolic:
        return branch(pred, then, other)
    return then() if pred else other()


# pred, then what the branches close over; bodies: the two branches as functions of that.
if_ = Region("if", _again)
