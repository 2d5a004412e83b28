"""Copies in bodies of loops, where the CPU plugin would put other values in the same memory.

It hands the values of an iteration to the next one after the other, reads the next slices over
them, and computes in place on views of what a body closes over.
Reproducers: tests/openvino_traps/test_control.py.
"""

from __future__ import annotations

from openvino import Node, Output

from kerasvino.nodes.facts import FRESH, IN_PLACE, READS, VIEW, facts
from kerasvino.nodes.loop_values import are_apart, number_of
from kerasvino.nodes.lowering import const, ov
from kerasvino.passes.patterns import Rule, node

__all__ = ["RULES"]


def _copy_in_body(found, scope):
    foreign = found.root.get_type_name() == "TensorIterator" and number_of(found.root) is None
    if foreign or are_apart(found.root):
        return None
    body = _Body(found.root)
    for own, end in body.carried:
        body.keep_apart(own, end)
    for parameter in body.fixed:
        body.keep_from_writers(parameter)
    return body.copied


class _Body:
    """The body of a Loop or TensorIterator.

    Attributes:
        carried: (parameter, result) of what an iteration hands to the next.
        fixed: parameters that are the same in all iterations.
        copied: whether anything was.
    """

    def __init__(self, loop: Node):
        model = loop.get_function()
        parameters, results = model.get_parameters(), model.get_results()
        self._number = number_of(loop)
        self.carried, self.fixed, self.copied = [], [], False
        self._changing = {}  # parameters that are carried or slices, by id
        for description in loop.get_input_descriptions():
            own = parameters[description.body_parameter_index]
            kind = description.get_type_info().name
            if kind == "InvariantInputDescription":
                self.fixed.append(own)
                continue
            self._changing[own.get_instance_id()] = own
            if kind == "MergedInputDescription":
                self.carried.append((own, results[description.body_value_index]))

    def keep_apart(self, own: Node, end: Node) -> None:
        """Copies the next value of `own` if it may be in the memory of another parameter."""
        waiting, seen = [end.input_value(0).get_node()], {own.get_instance_id()}
        while waiting:
            made_by = waiting.pop()
            key = made_by.get_instance_id()
            if key in seen:
                continue
            seen.add(key)
            if key in self._changing:
                end.input(0).replace_source_output(self._copy(end.input_value(0)))
                return
            if facts(made_by.get_type_name()).memory != FRESH:
                waiting += _shared(made_by)

    def keep_from_writers(self, parameter: Node) -> None:
        """Copies a parameter before operations that may write into it, or a view of it."""
        waiting = [(parameter.output(0), (IN_PLACE, READS, FRESH))]
        while waiting:
            output, harmless = waiting.pop()
            writers = []
            for place in output.get_target_inputs():
                user = place.get_node()
                if _is_view(user):
                    waiting += [(view, (READS, FRESH)) for view in user.outputs()]
                elif facts(user.get_type_name()).memory not in harmless:
                    writers.append(place)
            if writers:
                copy = self._copy(output)
                for place in writers:
                    place.replace_source_output(copy)

    def _copy(self, output: Output) -> Output:
        """`output` in memory of its own: selected by what is true, though only a run shows it."""
        if self._number is None:
            raise ValueError("A loop whose body needs a copy of a value numbers its iterations.")
        self.copied = True
        number = self._number.output(0)
        true = ov.greater_equal(number, const(0, number)).output(0)
        return ov.select(true, output, output).output(0)


def _shared(made_by: Node) -> list[Node]:
    """The nodes in whose memory a result may be, or for which it may be left out."""
    shape = made_by.get_output_partial_shape(0)
    return [
        value.get_node()
        for index, value in enumerate(made_by.input_values())
        if index == 0 or value.get_partial_shape().compatible(shape)
    ]


def _is_view(user: Node) -> bool:
    """Whether the result may be the memory of the input: a float16 is held as a float32, say."""
    if user.get_type_name() == "Convert":
        return user.get_input_element_type(0).is_real() == user.get_output_element_type(0).is_real()
    return facts(user.get_type_name()).memory == VIEW


RULES = (Rule(node("Loop TensorIterator"), _copy_in_body, closed=False),)
