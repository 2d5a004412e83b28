"""Where a Keras model spends its time on OpenVINO, layer by layer."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from keras.src import backend, layers, tree

from kerasvino.export.convert import traced
from kerasvino.export.signature import Signature, signature_of
from kerasvino.graph import Spec
from kerasvino.profiling.attribution import Layer, Placed, layers_of, place
from kerasvino.profiling.branches import hierarchy
from kerasvino.runtime.profile import Measurement, measure

__all__ = ["Profile", "profile", "profiled"]


@dataclass(frozen=True)
class Profile:
    """What a model was measured to do. `str()` of it is a table, `save_html` writes a page.

    Attributes:
        model: its name.
        inputs: shape, dtype and name of each.
        measurement: times of runs and of the nodes that the plugin runs.
        nodes: these nodes, with the layer that each belongs to.
        places: for each path of a layer the names of the layers that it is in, and its own.
    """

    model: str
    inputs: tuple[Spec, ...]
    measurement: Measurement
    nodes: tuple[Placed, ...]
    places: dict[str, tuple[str, ...]]

    @property
    def layers(self) -> list[Layer]:
        """The layers that took time, the one that took most first."""
        return sorted(layers_of(self.nodes), key=lambda layer: -layer.seconds)

    @property
    def seconds(self) -> float:
        """What one run takes, the median."""
        return statistics.median(self.measurement.run_seconds)

    @property
    def node_seconds(self) -> float:
        """What the nodes take together in a run, on average."""
        return sum(placed.node.seconds for placed in self.nodes)

    def __str__(self) -> str:
        from kerasvino.profiling.table import table

        return table(self)

    def save_html(self, path: str | os.PathLike) -> None:
        """Writes a page that needs nothing else: times of layers, and the graph that was run."""
        from kerasvino.profiling.page import page

        with open(path, "w", encoding="utf-8") as file:
            file.write(page(self))


def profile(model, x, runs: int = 20) -> Profile:
    """Measures a Keras model in inference mode.

    Args:
        model: a `keras.Model`.
        x: a batch of inputs, as for `predict_on_batch`.
        runs: how many are counted, after three that are not. The plugin tells averages of them.
    """
    arrays = tree.map_structure(_as_given, x)
    given = tree.map_structure(
        lambda a: layers.InputSpec(shape=a.shape, dtype=a.dtype.name), arrays
    )
    if isinstance(given, tuple):
        given = list(given)
    signature = signature_of(model, [given])
    return profiled(model, signature, tree.flatten(arrays), runs)


def profiled(model, signature: Signature, arrays: Sequence[np.ndarray], runs: int) -> Profile:
    """As `profile`, for inputs in the order of a signature.

    Raises:
        ValueError: `runs` is not positive.
    """
    if runs < 1:
        raise ValueError(f"At least one run is counted; given: runs={runs}.")
    graph = traced(model, signature)
    measurement = measure(graph, arrays, runs)
    placed = place(graph.model, measurement.nodes)
    return Profile(model.name, tuple(signature.specs), measurement, tuple(placed), hierarchy(model))


def _as_given(x) -> np.ndarray:
    """As predict takes it: floats in Keras's floatx."""
    array = np.asarray(x)
    return array.astype(backend.floatx()) if array.dtype.kind == "f" else array
