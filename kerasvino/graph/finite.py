"""The first NaN or infinity of a run (setting `check_numerics`): which operation made it, of what.

A checked graph has one result more: a code for each operation whose result is of floats, 0 if all
are finite, 1 if one is infinite, 2 if one is NaN. An operation *made* what is not finite if its
code is greater than those of all that it computes from. What it makes does not count where a
`where` leaves it out: if every use of it ends in a comparison, or in a `select`, a `clip` or the
like with a finite result. Arguments and variables have codes too: NaN in them counts as if they
had made it, an infinity only if it reaches a result. Constants are taken to mean what they hold: a
mask of minus infinity does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from openvino import Model, Node, Output
from openvino.op import Result

__all__ = ["FINITE", "INFINITE", "NAN", "Step", "Steps", "code_of", "said", "steps_of"]

FINITE, INFINITE, NAN = 0, 1, 2
WORDS = {FINITE: "finite", INFINITE: "an infinity", NAN: "NaN"}


def code_of(array: np.ndarray) -> int:
    """The code of a host array; of what is not float, FINITE."""
    if array.dtype.kind in "biuSUO":
        return FINITE
    if array.dtype.itemsize < 4:
        array = array.astype(np.float32)
    if np.isfinite(array).all():
        return FINITE
    return NAN if np.isnan(array).any() else INFINITE


def said(name: str) -> str:
    """`path/operation`, as nodes are named, in words."""
    path, _, operation = name.rpartition("/")
    layer, _, last = path.rpartition("/")
    if last == "gradient" or path == "gradient":
        return f"{operation} in the gradient of {f'layer {layer}' if layer else 'a function'}"
    return f"{operation} in layer {path}" if path else operation


class Step(NamedTuple):
    """An operation of the graph, in the order of computation.

    Attributes:
        name: layer path and primitive.
        code: its place among the codes; None where the result is of no floats.
        sources: what it computes from: ("step", index), ("input", index) or ("constant", code).
        is_result: whether it is a result of the graph or assigned to a variable.
    """

    name: str
    code: int | None
    sources: tuple[tuple[str, int], ...]
    is_result: bool


class Steps:
    """The operations of a graph, and how to find the one at fault.

    Args:
        steps: in order.
        returned: inputs that are a result as they are.
    """

    def __init__(self, steps: Sequence[Step], returned: Iterable[int] = ()):
        self._steps = list(steps)
        self._returned = set(returned)
        self._uses: dict[tuple[str, int], list[int]] = {}
        for index, step in enumerate(steps):
            for source in step.sources:
                self._uses.setdefault(source, []).append(index)

    def fault(self, codes: np.ndarray, inputs: Mapping[int, int], name: Callable) -> str | None:
        """What to say of a run; None if nothing that counts is not finite.

        Args:
            codes: of the run.
            inputs: {index: code} of arguments and variables that are not finite.
            name: `name(index)` of an input.
        """

        def code(source):
            kind, index = source
            if kind == "constant":
                return index
            if kind == "input":
                return inputs.get(index, FINITE)
            place = self._steps[index].code
            return FINITE if place is None else int(codes[place])

        for index, found in sorted(inputs.items()):
            if self._counts(("input", index), code, swallowed=found == NAN):
                return f"{WORDS[found]} in {name(index)}{self._first_use(index)}."
        for index, step in enumerate(self._steps):
            own = code(("step", index))
            given = [code(source) for source in step.sources]
            if own > max(given, default=FINITE) and self._counts(("step", index), code):
                return f"{WORDS[own]} made by {said(step.name)}{self._given(step, given, name)}."
        return None

    def _first_use(self, index):
        uses = self._uses.get(("input", index))
        return f", first used by {said(self._steps[uses[0]].name)}" if uses else ""

    def _given(self, step, codes, name):
        """What the step computed from, as far as it was not finite."""
        found = []
        for (kind, index), code in zip(step.sources, codes, strict=True):
            if code:
                what = name(index) if kind == "input" else "a constant"
                what = f"the result of {said(self._steps[index].name)}" if kind == "step" else what
                found.append(f"{WORDS[code]} in {what}")
        return f", of {' and of '.join(found)}" if found else ", whose inputs are finite"

    def _counts(self, source, code, swallowed=True) -> bool:
        """Whether something becomes of what is not finite.

        Args:
            source: step or input.
            code: `code(source)`.
            swallowed: whether an operation that makes something finite of it is such.
        """
        waiting, seen = [source], {source}
        while waiting:
            kind, index = current = waiting.pop()
            if self._steps[index].is_result if kind == "step" else index in self._returned:
                return True
            for use in self._uses.get(current, ()):
                step, key = self._steps[use], ("step", use)
                if step.code is None or key in seen:
                    continue
                if code(key):
                    seen.add(key)
                    waiting.append(key)
                elif swallowed and step.name.rpartition("/")[2] not in _LEAVING_OUT:
                    return True
        return False


# Operations that leave elements out, or limit them, on purpose.
_LEAVING_OUT = ("clip", "gather", "maximum", "minimum", "select", "slice")


# -- of a model


_FLOATS = ("f16", "bf16", "f32", "f64", "f8e4m3", "f8e5m2")


def steps_of(
    model: Model,
    operations: Mapping[str, str],
    constants: Mapping[str, np.ndarray],
    codes: Callable[[Sequence[Sequence[Output]]], Output],
) -> tuple[Steps, Result | None]:
    """The operations of a model, and the result with their codes (None: there are no floats).

    Args:
        model: all of whose nodes have unique names.
        operations: {name of a node: path and primitive}, of the nodes that are results of these.
        constants: {name of a node: array}, of the constants of its user.
        codes: adds the nodes that compute a vector with a code for each group of outputs.
    """
    steps: list[Step] = []
    checked: list[list[Output]] = []
    places: dict[str, int] = {}
    parameters = {p.get_friendly_name(): i for i, p in enumerate(model.get_parameters())}
    ends = {r.input_value(0).get_node().get_friendly_name() for r in model.get_results()}

    def sources(node: Node):
        found: dict[tuple[str, int], None] = {}
        waiting, seen = list(node.input_values()), set()
        while waiting:
            source = waiting.pop(0).get_node()
            name = source.get_friendly_name()
            if name in seen:
                continue
            seen.add(name)
            if name in places:
                found["step", places[name]] = None
            elif name in parameters:
                found["input", parameters[name]] = None
            elif name in constants:
                found["constant", code_of(constants[name])] = None
            else:
                waiting += source.input_values()
        return tuple(found)

    for node in model.get_ordered_ops():
        name = node.get_friendly_name()
        if name not in operations:
            continue
        floats = [o for o in node.outputs() if o.get_element_type().get_type_name() in _FLOATS]
        floats = [o for o in floats if not _is_empty(o)]
        code = len(checked) if floats else None
        checked += [floats] if floats else []
        is_result = name in ends
        steps.append(Step(operations[name], code, sources(node), is_result))
        places[name] = len(steps) - 1
    returned = [index for name, index in parameters.items() if name in ends]
    return Steps(steps, returned), Result(codes(checked)) if checked else None


def _is_empty(output):
    shape = output.get_partial_shape()
    return shape.is_static and 0 in list(shape.to_shape())
