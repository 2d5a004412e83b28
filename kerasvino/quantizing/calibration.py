"""Calibrating a graph with NNCF, and reading from what it made where values are rounded."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from openvino import Model, Node, Output

from kerasvino.graph import Graph
from kerasvino.graph.ranges import Activation, Channels, Ranges, Shift
from kerasvino.passes.ranges import folded, named, products_of

__all__ = ["MODEL_TYPES", "PRESETS", "Options", "calibrated", "nncf"]

PRESETS = ("performance", "mixed")
MODEL_TYPES = ("transformer",)


class Options(NamedTuple):
    """How values are rounded.

    Attributes:
        preset: one of `PRESETS`; None: the first, for transformers the second.
        model_type: one of `MODEL_TYPES`; None for any other model.
        verbose: whether NNCF shows what it does.
    """

    preset: str | None = None
    model_type: str | None = None
    verbose: bool = True


def nncf():
    """The module.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import nncf
    except ImportError as error:
        raise ImportError(
            "kerasvino.quantize calibrates with NNCF, which is not installed: "
            "pip install 'kerasvino[quantize]'"
        ) from error
    return nncf


def calibrated(
    graph: Graph,
    rows: Sequence[Sequence[np.ndarray]],
    ignored: Iterable[str],
    options: Options,
) -> Ranges:
    """What NNCF would round in a graph, and in which ranges.

    Args:
        graph: of the model's call.
        rows: samples, as lists of the graph's inputs.
        ignored: names of the nodes that are left as they are.
        options: how.
    """
    constants = graph.foldable()
    source = folded(graph.bind(constants))
    nodes = named(source)
    state = [v._value._array for v in graph.fed(constants)]
    with _spoken(options.verbose):
        made = _quantized(source, [[*row, *state] for row in rows], set(ignored), options)
    return _read(made, nodes)


def _quantized(source: Model, items: list, ignored: set[str], options: Options) -> Model:
    library = nncf()
    advanced = library.AdvancedQuantizationParameters(
        # how many bits weights have is decided where a model is compiled
        overflow_fix=library.OverflowFix.DISABLE,
        # scales of activations that are moved into weights
        smooth_quant_alphas=library.AdvancedSmoothQuantParameters(convolution=-1, matmul=-1),
    )
    preset, kind = options.preset, options.model_type
    return library.quantize(
        source,
        library.Dataset(items),
        preset=None if preset is None else library.QuantizationPreset(preset),
        subset_size=len(items),
        model_type=None if kind is None else library.ModelType(kind),
        ignored_scope=library.IgnoredScope(names=sorted(ignored), validate=False),
        advanced_parameters=advanced,
    )


@contextlib.contextmanager
def _spoken(verbose: bool) -> Iterator[None]:
    """Inside, NNCF shows its progress, or nothing at all."""
    if verbose:
        yield
        return
    logger = logging.getLogger("nncf")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)


# -- what NNCF made


def _read(made: Model, nodes: dict[str, Node]) -> Ranges:
    """Where a model that NNCF made of `nodes` rounds."""
    weights: list[Channels] = []
    activations: list[Activation] = []
    shifts: list[Shift] = []
    products = tuple(products_of(nodes))
    for node in made.get_ordered_ops():
        name = node.get_friendly_name()
        if node.get_type_name() == "FakeQuantize" and name not in nodes:
            activations += _activation(node, nodes)
        if name in products:
            weights += _weights(node, nodes[name])
            shifts += _shift(node, nodes[name])
    return Ranges(products, tuple(weights), tuple(activations), tuple(shifts))


def _activation(node: Node, nodes: dict[str, Node]) -> list[Activation]:
    source, low, high = (node.input_value(i) for i in (0, 1, 2))
    users = [
        (port.get_node().get_friendly_name(), port.get_index())
        for port in node.output(0).get_target_inputs()
        if port.get_node().get_type_name() != "ShapeOf"
    ]
    users = sorted(user for user in users if user[0] in nodes)
    if not users or _constant_behind(source) is not None:
        return []
    low, high = _array(low), _array(high)
    low, high = np.broadcast_arrays(low, high)
    return [
        Activation(
            tuple(users),
            tuple(low.reshape(-1).tolist()),
            tuple(high.reshape(-1).tolist()),
            low.shape,
            node.get_attributes()["levels"],
        )
    ]


def _array(output: Output) -> np.ndarray:
    return np.array(_constant_behind(output).get_data(), np.float32)


def _constant_behind(output: Output) -> Node | None:
    """The Constant that a value is, converted or not."""
    node = output.get_node()
    while node.get_type_name() in ("Convert", "Reshape", "FakeQuantize"):
        node = node.input_value(0).get_node()
    return node if node.get_type_name() == "Constant" else None


def _weights(node: Node, before: Node) -> list[Channels]:
    """The inputs of a node that are rounded constants now."""
    found = []
    for index, output in enumerate(node.input_values()):
        scale = _scale_of(output)
        if scale is not None and index < before.get_input_size():
            axes = tuple(axis for axis, length in enumerate(scale) if length > 1)
            found.append(Channels(node.get_friendly_name(), index, axes))
    return found


def _scale_of(output: Output) -> tuple[int, ...] | None:
    """The shape of the scales that bytes are multiplied by, or of a FakeQuantize's limits."""
    node = output.get_node()
    if node.get_type_name() == "FakeQuantize":
        is_constant = _constant_behind(node.input_value(0)) is not None
        return tuple(node.get_input_shape(2)) if is_constant else None
    if node.get_type_name() != "Multiply":
        return None
    inner = node.input_value(0).get_node()
    if inner.get_type_name() == "Subtract":
        inner = inner.input_value(0).get_node()
    held = _constant_behind(inner.output(0))
    if inner.get_type_name() != "Convert" or held is None:
        return None
    bytes_ = held.get_output_element_type(0).get_type_name() in ("i8", "u8")
    return tuple(node.get_input_shape(1)) if bytes_ else None


def _shift(node: Node, before: Node) -> list[Shift]:
    """What NNCF adds to the result of a node beside what was added before."""
    now, then = _bias(node), _bias(before)
    if now is None or (then is not None and then.shape != now.shape):
        return []
    change = now - (0 if then is None else then)
    if not change.any():
        return []
    values = tuple(change.astype(np.float32).reshape(-1).tolist())
    return [Shift(node.get_friendly_name(), values, change.shape)]


def _bias(node: Node) -> np.ndarray | None:
    """A constant that is added to the result of a node, its only use."""
    if node.get_output_size() != 1:
        return None
    users = list(node.output(0).get_target_inputs())
    if len(users) != 1 or users[0].get_node().get_type_name() != "Add":
        return None
    other = users[0].get_node().input_value(1 - users[0].get_index())
    held = _constant_behind(other)
    return None if held is None else np.array(held.get_data(), np.float32)
