"""What a Loop or TensorIterator of the CPU plugin does with the values of its body."""

from __future__ import annotations

from openvino import Node

__all__ = ["are_apart", "keep_as_written", "number_iterations", "number_of", "unused"]

_APART = "kerasvino_values_are_apart"
_NUMBER = "kerasvino_number_of_iteration"


def keep_as_written(loop: Node) -> None:
    """Says of a Loop that its body is written so that no value needs a copy (`passes.loop_memory`).

    A copy in each of many short iterations may double the time of an algorithm.
    """
    loop.get_rt_info()[_APART] = True


def are_apart(loop: Node) -> bool:
    """Whether `keep_as_written` said so."""
    return _APART in loop.get_rt_info()


def number_iterations(parameter: Node) -> None:
    """Says of a parameter of a TensorIterator's body that it holds the number of the iteration."""
    parameter.get_rt_info()[_NUMBER] = True


def number_of(loop: Node) -> Node | None:
    """The parameter of a body that holds the number of the iteration, of a Loop or as marked."""
    parameters = loop.get_function().get_parameters()
    if loop.get_type_name() == "Loop":
        place = loop.get_special_body_ports()[0]
        return parameters[place] if place >= 0 else None
    return next((p for p in parameters if _NUMBER in p.get_rt_info()), None)


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
