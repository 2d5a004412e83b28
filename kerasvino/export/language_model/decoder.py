"""A KerasHub decoder as the graph that engines for language models run.

Inputs `input_ids`, `attention_mask`, `position_ids` and `beam_idx`, the output `logits`, and the
keys and values of past tokens as state: what `openvino_genai` and OpenVINO Model Server read.

A model is traced as its own steps are (`generate.steps`). What differs: prompts of a batch may be
padded on the left. So a token's place among those that are kept is not its position in the text.
Masks of a model compare places, which is right as long as padding is masked as well; that is added
before each softmax over what is kept. Embeddings of positions are given `position_ids`.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Iterator

import numpy as np
from openvino import Model, Node
from openvino._offline_transformations import apply_moc_transformations
from openvino.op import Result

from kerasvino.backend.keras_private import tree
from kerasvino.backend.ops.core.convert import cast
from kerasvino.generate.stateful import empty_cache
from kerasvino.graph import Spec, current_trace, trace
from kerasvino.graph.calls import Log
from kerasvino.passes.padding_mask import attended, mask_padding, without_empty_rows
from kerasvino.primitives.memory import Kept, NotAppended
from kerasvino.primitives.normalization import softmax, softmax_in_product
from kerasvino.primitives.shape import dimension
from kerasvino.runtime.compiling import run_once
from kerasvino.tensor import Tensor

__all__ = ["INPUTS", "decoder"]

# Masks are computed for so many keys; some models cut them out of a square of all positions.
FAR = 1 << 12
INPUTS = ("input_ids", "attention_mask", "position_ids", "beam_idx")


def decoder(model) -> Model:
    """The step of `model`, stateful.

    Raises:
        ValueError: its cache cannot be state.
    """
    method, cache = empty_cache(model)
    leaves = tree.flatten(cache)

    def step(ids, mask, positions, rows):
        new, total = dimension(ids, axis=1), dimension(mask, axis=1)
        index, batch = total - new, dimension(ids, axis=0)
        past = [
            Kept.made(f"past_key_values.{n}", leaf.shape, leaf.dtype, rows, index, batch, total)
            for n, leaf in enumerate(leaves)
        ]
        with _positions_given(model, index, cast(positions, "int32")), Log() as log:
            logits, _, after = getattr(model, method)(
                cast(ids, "int32"), tree.pack_sequence_as(cache, past), index
            )[:3]
        after = tree.flatten(after)
        if len(after) != len(past) or not all(k.is_in(a) for k, a in zip(past, after, strict=True)):
            raise NotAppended("The cache that a step returns is not what it has appended to.")
        kept = _without_padding(log.calls, mask)
        if 2 * len(kept) != sum(k.count for k in past):
            raise NotAppended("The attention to some of the keys that are kept was not found.")
        return [cast(logits, "float32")]

    specs = [Spec((None, None), "int64", name) for name in INPUTS[:3]]
    specs += [Spec((None,), "int32", INPUTS[3])]
    graph = trace(step, specs, model.name)
    made = graph.bind(graph.foldable())
    made.output(0).get_tensor().set_names({"logits"})
    if _is_causal(made) and not _has_wide_window(model.backbone):
        without_empty_rows(made)
    return made


def _is_causal(model: Model) -> bool:
    """Whether attention leaves out later keys and padding and nothing else, and has no bias.

    False also where its masks depend on more than lengths.
    """
    model = model.clone()
    apply_moc_transformations(model, False)  # lengths are read off the inputs
    masks = [node.input_value(3) for node in attended(model)]
    if not masks or any(_reads_state(mask.get_node(), set()) for mask in masks):
        return False
    of_masks = Model([Result(mask) for mask in masks], model.get_parameters(), "masks")
    for new, total, padding in ((3, 6, 1), (1, FAR, 0)):
        counts = np.arange(total) >= padding
        ids = np.zeros((1, new), np.int64)
        given = ids, counts[None].astype(np.int64), ids, np.zeros(1, np.int32)
        expected = counts & (np.arange(total) <= np.arange(total - new, total)[:, None])
        for mask in run_once(of_masks, *given):
            seen = mask if mask.dtype == bool else mask == 0
            hidden = seen if mask.dtype == bool else mask > -1e4
            if not (seen == expected).all() or not (hidden == expected).all():
                return False
    return True


def _has_wide_window(backbone) -> bool:
    """Whether attention has a window that is too wide for masks of FAR keys to show it."""
    named = {name: value for name, value in vars(backbone).items() if "sliding_window" in name}
    if any(value is False for value in named.values()):
        return False
    return any(type(value) is int and value >= FAR for value in named.values())


def _reads_state(node: Node, known: set[str]) -> bool:
    if node.get_type_name() == "ReadValue":
        return True
    sources = [value.get_node() for value in node.input_values()]
    new = [s for s in sources if s.get_friendly_name() not in known]
    known.update(s.get_friendly_name() for s in new)
    return any(_reads_state(source, known) for source in new)


def _without_padding(calls, mask: Tensor) -> set[str]:
    """Masks padding in the softmaxes among `calls` that are over keys that are kept.

    Returns:
        The names of the states of these keys.
    """
    trace, kept = current_trace(), set()
    for call in calls:
        if call.primitive not in (softmax, softmax_in_product):
            continue
        (logits,) = call.inputs
        axes = [0, call.attrs["axis"] % logits.ndim]
        output, order = trace.physical(logits)
        if order is not None:
            axes = [order[axis] for axis in axes]
        kept |= mask_padding(output, *axes, trace.output(mask))
    return kept


@contextlib.contextmanager
def _positions_given(model, index: Tensor, positions: Tensor) -> Iterator[None]:
    """Layers that are told where the new tokens begin are told the position of each instead."""

    def told(call):
        @functools.wraps(call)
        def with_positions(*args, start_index=0, **kwargs):
            if start_index is index and "positions" not in kwargs:
                return call(*args, positions=positions, **kwargs)
            return call(*args, start_index=start_index, **kwargs)

        return with_positions

    layers = [
        layer
        for layer in model.backbone._flatten_layers()
        if {"start_index", "positions"} <= inspect.signature(layer.call).parameters.keys()
    ]
    for layer in layers:
        layer.__dict__["call"] = told(layer.call)
    try:
        yield
    finally:
        for layer in layers:
            del layer.__dict__["call"]
