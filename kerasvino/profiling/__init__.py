"""Where a Keras model spends its time on OpenVINO, layer by layer."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from kerasvino.backend.keras_private import InputSpec, floatx, tree
from kerasvino.export.ov_model import traced
from kerasvino.export.signature import Signature, signature_of
from kerasvino.profiling.attribution import place
from kerasvino.profiling.branches import hierarchy
from kerasvino.profiling.measured import Measured
from kerasvino.profiling.page import page
from kerasvino.profiling.table import table
from kerasvino.runtime.profile import measure

__all__ = ["Profile", "profile", "profiled"]


class Profile(Measured):
    """What a model was measured to do. `str()` of it is a table, `save_html` writes a page."""

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


def profile(model: Any, x: Any, runs: int = 20) -> Profile:
    """Measures a Keras model in inference mode.

    Args:
        model: a `keras.Model`.
        x: a batch of inputs, as for `predict_on_batch`.
        runs: how many are counted, after three that are not. The plugin tells averages of them.
    """
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
    if runs < 1:
        raise ValueError(f"At least one run is counted; given: runs={runs}.")
    graph = traced(model, signature)
    measurement = measure(graph, arrays, runs)
    placed = place(graph.model, measurement.nodes)
    return Profile(model.name, tuple(signature.specs), measurement, tuple(placed), hierarchy(model))


def _as_given(x) -> np.ndarray:
    """As predict takes it: floats in Keras's floatx."""
    array = np.asarray(x)
    return array.astype(floatx()) if array.dtype.kind == "f" else array
