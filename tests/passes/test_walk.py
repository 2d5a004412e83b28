"""Which graphs a walk visits, and what is constant in each."""

import numpy as np
import openvino
import openvino.opset16 as ov
from openvino import Type

from kerasvino.passes.constants import value
from kerasvino.passes.walk import scopes

W = np.arange(6, dtype=np.float32).reshape(3, 2)


def iterated(kind):
    """A body with a carried value, a slice of a constant, a constant of outside and one of inside.

    Returns the model and these four, as they are in the body.
    """
    state, row, same = (ov.parameter(s, Type.f32) for s in ([2], [1, 2], [3, 2]))
    own = ov.constant(W[:1])
    total = ov.add(ov.add(row, own), ov.reduce_sum(same, ov.constant(np.array([0])), True))
    step = ov.add(state, ov.squeeze(total, ov.constant(np.array([0]))))
    x, w = ov.parameter([2], Type.f32), ov.constant(W)
    if kind == "Loop":
        node = ov.loop(ov.constant(np.int32(3)), ov.constant(np.array(True)))
        go_on = ov.constant(np.array(True))
        node.set_function(openvino.Model([go_on, step], [state, row, same]))
        node.set_special_body_ports([-1, 0])
    else:
        node = ov.tensor_iterator()
        node.set_function(openvino.Model([step], [state, row, same]))
    node.set_merged_input(state, x.output(0), step.output(0))
    node.set_sliced_input(row, w.output(0), 0, 1, 1, -1, 0)
    node.set_invariant_input(same, w.output(0))
    model = openvino.Model([node.get_iter_value(step.output(0), -1)], [x])
    return model, state, row, same, own


def test_bodies_of_loops():
    for kind in ("Loop", "TensorIterator"):
        model, state, row, same, own = iterated(kind)
        outer, inner = scopes(model)
        assert kind in outer.kinds and kind not in inner.kinds
        assert not inner.is_constant(state.output(0))
        assert all(inner.is_constant(node.output(0)) for node in (row, same, own))
        # a slice is constant, but another one in each iteration
        assert inner.constant(row.output(0)) is None
        assert value(row.output(0), inner) is None
        np.testing.assert_array_equal(inner.constant(same.output(0)), W)
        np.testing.assert_array_equal(value(same.output(0), inner), W)
        np.testing.assert_array_equal(inner.constant(own.output(0)), W[:1])


def test_branches_in_branches():
    def chosen(x, depth):
        """abs(x) + w, within `depth` branches, or x."""
        inner, w = ov.parameter([3, 2], Type.f32), ov.parameter([3, 2], Type.f32)
        then = ov.add(ov.abs(inner), w) if depth == 1 else chosen(inner, depth - 1)
        other = ov.parameter([3, 2], Type.f32)
        missing = ov.reduce_logical_or(ov.is_nan(x), ov.constant(np.array([0, 1])))
        node = ov.if_op(missing.output(0))
        results = ov.result(then), ov.result(ov.negative(other))
        node.set_then_body(openvino.Model([results[0]], [inner] + [w] * (depth == 1)))
        node.set_else_body(openvino.Model([results[1]], [other]))
        node.set_input(x.output(0), inner, other)
        if depth == 1:
            node.set_input(ov.constant(W).output(0), w, None)
        return node.set_output(*results)

    x = ov.parameter([3, 2], Type.f32)
    found = scopes(openvino.Model([chosen(x, 2)], [x]))
    assert [sorted(set(s.kinds) & {"If", "Abs", "Negative"}) for s in found] == [
        ["If"], ["If"], ["Negative"], ["Abs"], ["Negative"],
    ]  # fmt: skip
    innermost = found[3]
    (total,) = innermost.kinds["Add"]
    assert not innermost.is_constant(total.input_value(0))
    np.testing.assert_array_equal(value(total.input_value(1), innermost), W)


def test_what_is_computed_of_constants_is_constant():
    x, w = ov.parameter([3, 2], Type.f32), ov.constant(W)
    scaled = ov.multiply(ov.sqrt(w), ov.constant(np.float32(2)))
    shape = ov.shape_of(x)
    (scope,) = scopes(openvino.Model([ov.add(x, scaled), shape], [x]))
    assert scope.is_constant(scaled.output(0))
    assert not scope.is_constant(x.output(0)) and not scope.is_constant(shape.output(0))
