"""Where a Keras model spends its time on OpenVINO, by layer: a call, training, generating."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from kerasvino.backend.keras_private import InputSpec, floatx, tree
from kerasvino.backend.training.step_graph import step_graph
from kerasvino.export.ov_model import traced
from kerasvino.export.signature import Signature, signature_of
from kerasvino.graph import Spec
from kerasvino.profiling.attribution import Placed, in_phases, place
from kerasvino.profiling.branches import hierarchy
from kerasvino.profiling.comparison import Comparison
from kerasvino.profiling.generation import Generation, asks_for_generation, measure_generation
from kerasvino.profiling.measured import Measured
from kerasvino.profiling.page import page
from kerasvino.profiling.table import table
from kerasvino.runtime.profile import Measurement, measure

__all__ = ["Comparison", "Generation", "Profile", "profile", "profiled"]


class Profile(Measured):
    """What a model was measured to do. `str()` of it is a table, `save_html` writes a page.

    Attributes:
        layers: the layers that took time, longest first: `path`, `seconds`, `phases`, `kinds`,
            `kernels`, `fused`.
        phases: seconds of forward, backward and update.
        seconds: what one run takes, the median.
        weights: {path of a layer: bytes of its own variables}.
        generation: of a profile of generating, how it was done and what a token takes.
    """

    def __str__(self) -> str:
        return table(self)

    def _repr_html_(self) -> str:
        """What a notebook shows: the table, as text of equal width."""
        style = "line-height: 1.25; white-space: pre; overflow-x: auto"
        return f'<pre style="{style}">{html.escape(table(self, encoding="utf-8"))}</pre>'

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Writes a page that needs nothing else: times of layers, and the graph that was run."""
        with open(path, "w", encoding="utf-8") as file:
            file.write(page(self))

    def compared_with(self, other: Profile) -> Comparison:
        """This profile beside another one, layer by layer: before and after, float32 and int8."""
        return Comparison(self, other)


def profile(
    model: Any,
    x: Any,
    runs: int = 20,
    *,
    y: Any = None,
    sample_weight: Any = None,
    max_length: int | None = None,
) -> Profile:
    """Measures a call of a Keras model, with `y` a step of its training, or a step of `generate`.

        print(kerasvino.profile(model, x))
        print(kerasvino.profile(model, x, y=y))
        print(kerasvino.profile(model, "Keras is", max_length=64))

    Args:
        model: a `keras.Model`; for a prompt a task of KerasHub that generates.
        x: a batch of inputs, as for `predict_on_batch`; or a prompt, as for `generate`.
        runs: how many are counted, after three that are not. The plugin tells averages of them.
        y: targets of the batch, as for `train_on_batch`. The model must have been compiled with a
            loss and an optimizer. Its weights stay as they are.
        sample_weight: as for `train_on_batch`.
        max_length: of the prompt and what is generated, in tokens, as for `generate`. It makes `x`
            a prompt, also where that is a dict of ids. What is measured is the step of one token
            behind the text so far. Stop tokens do not end the text.

    Raises:
        TypeError: a prompt, and a model without `generate`; or `y` beside `max_length`.
        ValueError: `runs` is not positive; with `y`, `compile()` has not been called; with a
            prompt, the task does not generate by compiled steps, or less than 3 tokens.
    """
    if asks_for_generation(x, max_length):
        if y is not None:
            raise TypeError("y= asks for a step of training, max_length= or text for generating.")
        return _of_generation(model, x, max_length, runs)
    if y is not None:
        return _of_training(model, x, y, sample_weight, runs)
    arrays = tree.map_structure(_as_given, x)
    given = tree.map_structure(lambda a: InputSpec(shape=a.shape, dtype=a.dtype.name), arrays)
    if isinstance(given, tuple):
        given = list(given)
    signature = signature_of(model, [given])
    return profiled(model, signature, tree.flatten(arrays), runs)


def profiled(model, signature: Signature, arrays: Sequence[np.ndarray], runs: int) -> Profile:
    """As `profile`, for inputs in the order of a signature.

    Raises:
        ValueError: `runs` is not positive.
    """
    _check(runs)
    graph = traced(model, signature)
    measurement = measure(graph, arrays, runs)
    placed = place(graph.model, measurement.nodes)
    return _profile(model, signature.specs, measurement, placed)


def _of_training(model, x, y, sample_weight, runs: int) -> Profile:
    _check(runs)
    graph, tensors = step_graph(model, x, y, sample_weight)
    # a callback may assign scalars, as the learning rate: `fit` has them as inputs
    arrays = [tensor.numpy() for tensor in tensors]
    measurement = measure(graph, arrays, runs, constant=lambda variable: variable.ndim > 0)
    placed = in_phases(place(graph.model, measurement.nodes), model.optimizer.name)
    return _profile(model, graph.inputs, measurement, placed)


def _of_generation(model, prompt, max_length: int | None, runs: int) -> Profile:
    _check(runs)
    graph, measurement, generation = measure_generation(model, prompt, max_length, runs)
    placed = place(graph.model, measurement.nodes)
    return _profile(model, graph.inputs, measurement, placed, generation)


def _profile(
    model,
    inputs: Sequence[Spec],
    measurement: Measurement,
    placed: Sequence[Placed],
    generation: Generation | None = None,
) -> Profile:
    weights: dict[str, int] = {}
    for variable in model.weights:
        layer = variable.path.rpartition("/")[0]
        weights[layer] = weights.get(layer, 0) + variable._value._array.nbytes
    return Profile(
        model.name,
        tuple(inputs),
        measurement,
        tuple(placed),
        hierarchy(model),
        weights,
        generation,
    )


def _check(runs: int) -> None:
    if runs < 1:
        raise ValueError(f"At least one run is counted; given: runs={runs}.")


def _as_given(x) -> np.ndarray:
    """As predict takes it: floats in Keras's floatx."""
    array = np.asarray(x)
    return array.astype(floatx()) if array.dtype.kind == "f" else array
