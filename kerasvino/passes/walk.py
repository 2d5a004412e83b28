"""Reading and rewriting the nodes of a finished model."""

from __future__ import annotations

from openvino import Node, Output

__all__ = ["is_same", "kind_of", "only_user", "other_operand", "put_in_place", "users_of"]


def kind_of(node) -> str:
    return node.get_type_name()


def users_of(node) -> list[Node]:
    return [i.get_node() for o in node.outputs() for i in o.get_target_inputs()]


def is_same(a, b) -> bool:
    return a.get_instance_id() == b.get_instance_id()


def only_user(node, kind):
    """The one use of a node, if that is of a kind."""
    users = users_of(node)
    return users[0] if len(users) == 1 and kind_of(users[0]) == kind else None


def other_operand(node, source) -> Output:
    """The operand of a node of two that does not come from `source`."""
    first, second = node.input_values()
    return second if is_same(first.get_node(), source) else first


def put_in_place(node, output):
    output.get_node().set_friendly_name(node.get_friendly_name())
    node.output(0).replace(output)
