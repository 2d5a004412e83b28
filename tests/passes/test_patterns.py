"""What patterns find, and what rules leave alone."""

import numpy as np
import openvino
import openvino.opset16 as ov
import pytest

from kerasvino.passes.patterns import Rule, node, number, rewrite, value
from kerasvino.passes.walk import scopes


def parameters(count):
    return [ov.parameter([2, 3], openvino.Type.f32) for _ in range(count)]


def f(number, *shape):
    return ov.constant(np.full(shape, number, np.float32))


def found_in(pattern, build, count=2, closed=True, results=lambda outputs: [outputs]):
    """What a pattern finds in the graph of `build(*parameters)`: one dict for each place."""
    inputs = parameters(count)
    made = build(*inputs)
    model = openvino.Model(made if isinstance(made, list) else [made], inputs)
    places = []
    rule = Rule(pattern, lambda found, scope: places.append(found), closed)
    (scope,) = scopes(model)
    assert rewrite((rule,), scope) is False
    return places, inputs


def test_an_object_twice_is_one_output():
    x = value()
    square = x * x
    assert len(found_in(square, lambda a, b: ov.multiply(a, a))[0]) == 1
    assert not found_in(square, lambda a, b: ov.multiply(a, b))[0]
    assert not found_in(square, lambda a, b: ov.multiply(ov.relu(a), ov.relu(a)))[0]


def test_two_objects_may_be_one_output():
    assert len(found_in(value() * value(), lambda a, b: ov.multiply(a, a))[0]) == 1


@pytest.mark.parametrize("swapped", [False, True])
def test_either_order_of_a_sum_but_not_of_a_difference(swapped):
    x = value()

    def of(operation):
        return lambda a, b: operation(*([ov.relu(a), b] if swapped else [b, ov.relu(a)]))

    (place,), (_, b) = found_in(x + node("Relu", value()), of(ov.add))
    assert place[x].get_node().get_instance_id() == b.get_instance_id()
    assert len(found_in(x - node("Relu", value()), of(ov.subtract))[0]) == (not swapped)


def test_another_order_is_tried_where_the_rest_does_not_fit():
    """The first sum that fits alone leaves none for the second operand."""
    x = value()
    pattern = (x + value()) * x
    (place,), (_, b) = found_in(pattern, lambda a, b: ov.multiply(ov.add(a, b), b))
    assert place[x].get_node().get_instance_id() == b.get_instance_id()


def test_either_of_two():
    x, scale = value(), value()
    inner = node("Relu", x)
    pattern = node("Negative", inner | inner * scale)
    (place,), _ = found_in(pattern, lambda a, b: ov.negative(ov.relu(a)))
    assert place.get(scale) is None
    (place,), (_, b) = found_in(pattern, lambda a, b: ov.negative(ov.multiply(b, ov.relu(a))))
    assert place[scale].get_node().get_instance_id() == b.get_instance_id()


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_numbers(shape):
    build = lambda a, b: ov.divide(f(1.0, *shape), a)
    assert len(found_in(1 / value(), build)[0]) == 1
    assert not found_in(2 / value(), build)[0]
    assert len(found_in(number() / value(), build)[0]) == 1
    assert not found_in(number() / value(), lambda a, b: ov.divide(f(1.0, 3), a))[0]
    assert not found_in(number() / value(), lambda a, b: ov.divide(b, a))[0]


def test_attributes():
    pattern = node("ReduceMean", value(), value(), keep_dims=True)
    axes = lambda: ov.constant(np.array([1]))
    kept, dropped = (
        lambda a, b, keep=keep: ov.reduce_mean(a, axes(), keep_dims=keep) for keep in (True, False)
    )
    assert len(found_in(pattern, kept)[0]) == 1
    assert not found_in(pattern, dropped)[0]


def test_another_number_of_inputs():
    assert not found_in(node("Concat", value(), value()), lambda a, b: ov.concat([a, b, a], 0))[0]
    assert len(found_in(node("Concat"), lambda a, b: ov.concat([a, b, a], 0))[0]) == 1


def test_closed():
    pattern = node("Negative", node("Relu", value()))

    def used_twice(a, b):
        inner = ov.relu(a)
        return [ov.negative(inner), ov.exp(inner)]

    assert not found_in(pattern, used_twice)[0]
    assert len(found_in(pattern, used_twice, closed=False)[0]) == 1
    # a result of the graph is a use as well, and that of the root does not matter
    as_result = lambda a, b: [ov.negative(inner := ov.relu(a)), inner]
    assert not found_in(pattern, as_result)[0]
    both = lambda a, b: [ov.exp(ov.negative(ov.relu(a))), ov.negative(ov.relu(b))]
    assert len(found_in(pattern, both)[0]) == 2


def test_a_replacement_takes_the_uses_and_the_name():
    inputs = parameters(2)
    last = ov.negative(ov.negative(inputs[0]))
    last.set_friendly_name("layer/negative")
    model = openvino.Model([ov.add(last, inputs[1])], inputs)
    x = value()
    rule = Rule(node("Negative", -x), lambda found, scope: ov.relu(found[x]).output(0))
    (scope,) = scopes(model)
    assert rewrite((rule,), scope) is True
    kinds = {n.get_type_name(): n.get_friendly_name() for n in model.get_ordered_ops()}
    assert "Negative" not in kinds
    assert kinds["Relu"] == "layer/negative"


def test_the_first_rule_that_fits_is_applied():
    inputs = parameters(1)
    model = openvino.Model([ov.negative(inputs[0])], inputs)
    tried = []
    rules = tuple(
        Rule(
            node("Negative", value()),
            lambda found, scope, n=n, given=given: tried.append(n) or given,
        )
        for n, given in enumerate((None, True, True))
    )
    (scope,) = scopes(model)
    assert rewrite(rules, scope) is True
    assert tried == [0, 1]


def test_what_a_graph_cannot_have_is_not_looked_for():
    pattern = node("Negative", node("Sqrt", value()) | node("Sqrt", value()) * value())
    assert pattern.required == {frozenset(["Negative"]), frozenset(["Sqrt"])}
