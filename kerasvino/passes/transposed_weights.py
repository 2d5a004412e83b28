"""Square constant weights of a finished model: a copy of those that are used transposed as well.

The CPU plugin takes one repacked copy of a constant matrix for its products and for those with its
transpose, if it is square, and one of a kernel for convolutions and transposed ones, if it has as
many inputs as outputs: one of them is wrong. Gradients by the input of a layer with frozen weights
are such a pair. The transposed ones get memory of their own here.
"""

from __future__ import annotations

from openvino import Model, Output

from kerasvino.nodes.lowering import dims, is_float, ov

__all__ = ["separate_transposed_weights"]


def separate_transposed_weights(model: Model) -> None:
    """Gives the transposed square constants among the weights of `model` memory of their own."""
    _Bodies().visit(model, ())


class _Bodies:
    """The walk over a model and the bodies in it; which outputs depend on constants alone."""

    def __init__(self):
        self._constant: dict[int, bool] = {}

    def visit(self, model, inputs):
        """Rearranges a model; `inputs` says of each of its parameters whether it is constant."""
        for parameter, constant in zip(model.get_parameters(), inputs, strict=False):
            self._constant[parameter.get_instance_id()] = constant
        for node in model.get_ordered_ops():
            kind = node.get_type_name()
            if kind == "MatMul":
                turned = node.get_attributes()["transpose_b"] or _is_turned(node.input_value(1))
                self._separate(node, turned, (-2, -1))
            elif kind == "ConvolutionBackpropData":
                self._separate(node, True, (0, 1))
            elif kind == "GroupConvolutionBackpropData":
                self._separate(node, True, (1, 2))
            elif kind == "If":
                for index in (0, 1):
                    self._enter(node, node.get_function(index), node.get_input_descriptions(index))
            elif kind in ("Loop", "TensorIterator"):
                self._enter(node, node.get_function(), node.get_input_descriptions())

    def _enter(self, node, body, descriptions):
        constant = [False] * len(body.get_parameters())
        for description in descriptions:
            if description.get_type_info().name != "MergedInputDescription":
                source = node.input_value(description.input_index)
                constant[description.body_parameter_index] = self._is_constant(source)
        self.visit(body, constant)

    def _is_constant(self, output: Output) -> bool:
        waiting = [output.get_node()]
        while waiting:
            node = waiting[-1]
            key = node.get_instance_id()
            sources = [value.get_node() for value in node.input_values()]
            unknown = [n for n in sources if n.get_instance_id() not in self._constant]
            if key in self._constant or not unknown:
                waiting.pop()
                if key not in self._constant:
                    leaf = node.get_type_name() == "Constant"
                    self._constant[key] = (
                        all(self._constant[n.get_instance_id()] for n in sources)
                        if sources
                        else leaf
                    )
            else:
                waiting += unknown
        return self._constant[output.get_node().get_instance_id()]

    def _separate(self, node, turned, sides):
        """Copies the weights of a node if they are `turned` and as long on both `sides`."""
        weights = node.input_value(1)
        rank = weights.get_partial_shape().rank
        if not turned or rank.is_dynamic or rank.get_length() < 2 or not is_float(weights):
            return
        inputs, outputs = (dims(weights)[side] for side in sides)
        if inputs == outputs and self._is_constant(weights):
            # folded, but not before products are put together with their constants
            own = ov.negative(ov.negative(weights))
            node.input(1).replace_source_output(own.output(0))


def _is_turned(weights) -> bool:
    """Whether weights come out of a Transpose, through operations that could move behind it."""
    node = weights.get_node()
    while node.get_type_name() in ("Reshape", "Squeeze", "Unsqueeze", "Convert", "Multiply"):
        node = node.input_value(0).get_node()
    return node.get_type_name() == "Transpose"
