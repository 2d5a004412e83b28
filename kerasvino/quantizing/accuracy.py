"""Taking layers back out of 8 bits until a metric is as good as it has to be."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from kerasvino.graph import Graph
from kerasvino.graph.ranges import Ranges
from kerasvino.quantizing.choice import layer_of
from kerasvino.quantizing.neighbours import Neighbours, nothing_of
from kerasvino.runtime import config
from kerasvino.runtime.program import Program

__all__ = ["errors_of_layers", "within_drop"]


def within_drop(
    ranges: Ranges,
    metric: Callable[[Ranges | None], float],
    most: float,
    errors: Callable[[], dict[str, float]],
    near: Neighbours,
) -> tuple[Ranges, float, float]:
    """The ranges of as many layers as a metric allows; the metric without any, and with them.

    Layers are left in float by the error that each makes alone, the largest first. How many have
    to be is found by halving.

    Args:
        ranges: of all the layers that may be rounded.
        metric: the metric with these ranges, None for without any; higher is better.
        most: by how much it may be less.
        errors: {path of a layer: error that rounding it alone makes}, asked for if needed.
        near: of the graph.
    """
    exact = metric(None)
    found = metric(ranges)
    if exact - found <= most:
        return ranges, exact, found
    by_error = errors()
    order = sorted(by_error, key=by_error.__getitem__, reverse=True)
    low, high = 0, len(order)  # so many are too few; so many are enough
    kept = _without(ranges, order, near)
    value = metric(kept)
    while high - low > 1:
        middle = (low + high) // 2
        trial = _without(ranges, order[:middle], near)
        reached = metric(trial)
        if exact - reached <= most:
            high, kept, value = middle, trial, reached
        else:
            low = middle
    return kept, exact, value


def _without(ranges: Ranges, layers: Sequence[str], near: Neighbours) -> Ranges:
    gone = set(layers)
    kept = [path for path, kind in ranges.layers.items() if kind == "int8" and path not in gone]
    if kept:
        found = near.only(ranges, {n for n in ranges.products if layer_of(n) in kept})
    else:
        found = nothing_of(ranges)
    kinds = {p: found.rest if p in gone else kind for p, kind in ranges.layers.items()}
    return dataclasses.replace(found, layers=kinds)


def errors_of_layers(
    ranges: Ranges,
    graph: Graph,
    rows: Sequence[Sequence[np.ndarray]],
    near: Neighbours,
) -> dict[str, float]:
    """{path of a rounded layer: mean square error of the results with that layer alone rounded}.

    Args:
        ranges: of all.
        graph: of the model's call.
        rows: samples.
        near: of the graph.
    """
    settings = dataclasses.replace(config.get(), precision="f32", cache_dir=None, weights=None)
    exact = _results(graph, (), rows, settings)
    layers = [path for path, kind in ranges.layers.items() if kind == "int8"]
    found = {}
    for path in layers:
        own = {name for name in ranges.products if layer_of(name) == path}
        results = _results(graph, (near.only(ranges, own),), rows, settings)
        found[path] = _error(results, exact)
    return found


def _results(graph: Graph, ranges, rows, settings) -> list[np.ndarray]:
    graph = dataclasses.replace(graph, ranges=ranges)
    constants = graph.foldable()
    state = [v._value._array for v in graph.fed(constants)]
    program = Program(graph, settings, constants)
    results = [program([*row, *state])[: len(graph.outputs)] for row in rows]
    by_output = zip(*results, strict=True)
    return [np.concatenate([np.ravel(part) for part in parts]) for parts in by_output]


def _error(results: Sequence[np.ndarray], exact: Sequence[np.ndarray]) -> float:
    return float(
        sum(
            np.square(one.astype(np.float64) - other).mean() / max(np.square(other).mean(), 1e-30)
            for one, other in zip(results, exact, strict=True)
            if other.dtype.kind == "f"
        )
    )
