"""Where a Loop of the CPU plugin loses values to another use of their memory, and what keeps them.

Reproducers: tests/openvino_traps/test_control.py.
"""

from __future__ import annotations

from kerasvino.nodes.lowering import ints, ov

__all__ = ["apart", "preserve", "unused"]

# Operations whose result is never in the memory of an input.
_FRESH = {"Convolution", "GroupConvolution", "If", "Loop", "MatMul", "ShapeOf", "TensorIterator"}


def apart(output, own, parameters, index):
    """`output`, copied if it may be in the memory of one of the `parameters` but `own`.

    A Loop hands its values to the next iteration one after the other, and after the next slices
    have been read, without regard to that.

    Args:
        output: the next value of the parameter `own`.
        parameters: those of the body that are carried or slices.
        index: the parameter with the number of the iteration.
    """
    others = {node.get_friendly_name() for node in parameters} - {own.get_friendly_name()}
    waiting, seen = [output.get_node()], set()
    while waiting:
        node = waiting.pop()
        name = node.get_friendly_name()
        if name in others:
            return _copied(output, index)
        if name not in seen and node.get_type_name() not in _FRESH:
            seen.add(name)
            waiting += _shared(node)
    return output


def _copied(output, index):
    """`output` in memory of its own: selected by what is true, though only a run shows it."""
    return ov.select(ov.greater_equal(index, ints(0)), output, output).output(0)


def _shared(node):
    """The nodes in whose memory the result of `node` may be, or for which it may be left out."""
    shape = node.get_output_partial_shape(0)
    return [
        value.get_node()
        for index, value in enumerate(node.input_values())
        if index == 0 or value.get_partial_shape().compatible(shape)
    ]


# Operations whose result may be a view of their input, and those that only read theirs.
_VIEWS = {
    "Gather", "Reshape", "Slice", "Split", "Squeeze", "StridedSlice", "Transpose",
    "Unsqueeze", "VariadicSplit",
}  # fmt: skip
_READERS = {*_FRESH, "Concat", "Convert", "Result"}  # other conversions than those of _is_view
# Those that are computed in place, but not on a parameter itself.
_ELEMENTWISE = {
    "Abs", "Add", "Clamp", "Cos", "Divide", "Equal", "Erf", "Exp", "Greater", "GreaterEqual",
    "Less", "LessEqual", "Log", "LogicalAnd", "LogicalNot", "LogicalOr", "Maximum", "Minimum",
    "Multiply", "Negative", "NotEqual", "Power", "ReLU", "Relu", "Select", "Sigmoid", "Sin", "Sqrt",
    "Subtract", "Tanh",
}  # fmt: skip


def preserve(parameter, index):
    """Copies what a body closes over before operations that may write into it, or a view of it.

    The plugin computes in place there, and the next iteration finds what that left.
    """
    waiting = [(parameter.output(0), _ELEMENTWISE | _READERS)]
    while waiting:
        output, harmless = waiting.pop()
        writers = []
        for place in output.get_target_inputs():
            node = place.get_node()
            if _is_view(node):
                waiting += [(view, _READERS) for view in node.outputs()]
            elif node.get_type_name() not in harmless:
                writers.append(place)
        if writers:
            copy = _copied(output, index)
            for place in writers:
                place.replace_source_output(copy)


def _is_view(node):
    """Whether the result may be the memory of the input: a float16 is held as a float32, say."""
    if node.get_type_name() == "Convert":
        return node.get_input_element_type(0).is_real() == node.get_output_element_type(0).is_real()
    return node.get_type_name() in _VIEWS


def unused(go_on, ends, parameters):
    """Positions of the parameters on whose values neither their own next value nor `go_on` depend.

    Others may lose their use when results that nothing reads are removed from the graph.
    """
    conditions = _reached(go_on)
    names = [parameter.get_friendly_name() for parameter in parameters]
    return [
        position
        for position, (name, end) in enumerate(zip(names, ends, strict=True))
        if name not in conditions and name not in _reached(end.input_value(0))
    ]


def _reached(output) -> set[str]:
    """Names of the nodes on whose values `output` depends."""
    reached: set[str] = set()
    waiting = [output.get_node()]
    while waiting:
        node = waiting.pop()
        name = node.get_friendly_name()
        if name not in reached:
            reached.add(name)
            if node.get_type_name() != "ShapeOf":
                waiting += [value.get_node() for value in node.input_values()]
    return reached
