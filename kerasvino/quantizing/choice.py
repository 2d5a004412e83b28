"""Which layers are faster in 8 bits: measured, on the machine that calibrates.

Kernels for bytes are several times as fast for large products, and slower than others for some
small ones, and where values have to be rounded and put in another order for them. Times of the
nodes of two programs say which layers those are; what is kept in the end is the fastest of some
whole programs.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from kerasvino.graph import Graph
from kerasvino.graph.ranges import Ranges
from kerasvino.profiling.attribution import place
from kerasvino.quantizing.neighbours import Neighbours, nothing_of
from kerasvino.runtime import config, narrow
from kerasvino.runtime.profile import measure
from kerasvino.runtime.program import Program

__all__ = ["Trial", "chosen", "layer_of"]

ROUNDS = 5  # in which programs take turns
LEAST_SECONDS = 0.02  # that a program runs in its turn
ATTEMPTS = 2  # to find the layers that are slower: each changes what lies next to others
# Times of whole programs are the same within so much: then the one with more in 8 bits is taken.
TOLERANCE = 1.02


class Trial(NamedTuple):
    """A graph of one length of the batch, and what it is called with."""

    graph: Graph
    arrays: Sequence[np.ndarray]


def layer_of(name: str) -> str:
    """Path of the layer that a node belongs to."""
    return name.rpartition("/")[0]


def chosen(
    ranges: Ranges, trials: Sequence[Trial], report: Callable[[str], None] = lambda text: None
) -> Ranges:
    """Those ranges with which a model is fastest, of all the layers or fewer or none.

    Args:
        ranges: of all that may be rounded.
        trials: what is measured.
        report: is told what is being measured.
    """
    settings = dataclasses.replace(config.get(), precision=None, cache_dir=None, weights=None)
    rests = ["f32"]
    if narrow.has_bf16_kernels(settings.device):
        rests.append("bf16")
    near = Neighbours(trials[0].graph)
    nothing = nothing_of(ranges)
    candidates = {rest: dataclasses.replace(nothing, rest=rest) for rest in rests}
    if narrow.weight_bits(settings.device) is not None:
        without = candidates[rests[-1]]
        most = dataclasses.replace(ranges, rest=rests[-1])
        kept = _rounded(most)
        candidates["int8"] = most
        for attempt in range(ATTEMPTS):
            report(f"Times of layers, {attempt + 1} of {ATTEMPTS}")
            kept = kept - _slower(most, without, trials, settings)
            most = near.only(most, kept) if kept else without
            candidates[f"int8 of fewer, {attempt + 1}"] = most
    candidates = _different(candidates)
    report(f"Times of {len(candidates)} programs")
    seconds = _times(candidates, trials, settings)
    name = _fastest(candidates, seconds)
    kept = candidates[name]
    return dataclasses.replace(
        kept, layers=_layers(ranges, kept), seconds=_seconds(seconds, name, rests)
    )


def _layers(ranges: Ranges, kept: Ranges) -> dict[str, str]:
    """{path of a layer with products: "int8" or the precision of the rest}."""
    rounded = {layer_of(name) for name in _rounded(kept)}
    layers = dict.fromkeys(map(layer_of, ranges.products))
    return {path: "int8" if path in rounded else kept.rest for path in layers}


def _rounded(ranges: Ranges) -> set[str]:
    """The products whose operands are rounded, perhaps before something that lies between."""
    users = {name for activation in ranges.activations for name, _ in activation.users}
    return (users | {weights.node for weights in ranges.weights}).intersection(ranges.products)


def _seconds(seconds: Mapping[str, list[float]], name: str, rests: Iterable[str]):
    """What is kept of the times: of the first trial."""
    found = {rest: seconds[rest][0] for rest in rests if rest in seconds}
    return {**found, "chosen": seconds[name][0]}


def _different(candidates: dict[str, Ranges]) -> dict[str, Ranges]:
    found: dict[str, Ranges] = {}
    known = set()
    for name, ranges in candidates.items():
        if ranges.digest not in known:
            known.add(ranges.digest)
            found[name] = ranges
    return found


def _with(graph: Graph, ranges: Ranges) -> Graph:
    return dataclasses.replace(graph, ranges=(ranges,))


# -- layers


def _slower(
    ranges: Ranges, without: Ranges, trials: Sequence[Trial], settings: config.Settings
) -> set[str]:
    """The products of layers that take longer with ranges than without, over all trials."""
    ratios: dict[str, list[float]] = {}
    for trial in trials:
        one, other = (_by_layer(trial, each, settings) for each in (ranges, without))
        for layer, seconds in one.items():
            if other.get(layer):
                ratios.setdefault(layer, []).append(seconds / other[layer])
    slow = {layer for layer, found in ratios.items() if statistics.geometric_mean(found) > 1}
    return {name for name in _rounded(ranges) if layer_of(name) in slow}


def _by_layer(trial: Trial, ranges: Ranges, settings: config.Settings) -> dict[str, float]:
    """{path of a layer: seconds that its nodes take}."""
    graph = _with(trial.graph, ranges)
    with config.using(precision=None, cache_dir=None, weights=None):
        measurement = measure(graph, trial.arrays, runs=10 if len(trial.arrays[0]) == 1 else 3)
    model = graph.bind(graph.foldable(), narrow.narrow_for(graph, settings, graph.foldable()))
    found: dict[str, float] = {}
    for placed in place(model, measurement.nodes):
        if placed.node.executed:
            found[placed.layer] = found.get(placed.layer, 0.0) + max(placed.node.seconds, 1e-9)
    return found


# -- whole programs


def _times(
    candidates: Mapping[str, Ranges], trials: Sequence[Trial], settings: config.Settings
) -> dict[str, list[float]]:
    """{candidate: seconds of a call in each trial}, in turns."""
    found: dict[str, list[float]] = {name: [] for name in candidates}
    for trial in trials:
        calls = {n: _call(_with(trial.graph, r), trial, settings) for n, r in candidates.items()}
        rounds: dict[str, list[float]] = {name: [] for name in calls}
        counts = {name: _count(call) for name, call in calls.items()}
        for _ in range(ROUNDS):
            for name, call in calls.items():
                start = time.perf_counter()
                for _ in range(counts[name]):
                    call()
                rounds[name].append((time.perf_counter() - start) / counts[name])
        for name, seconds in rounds.items():
            found[name].append(min(seconds))
    return found


def _call(graph: Graph, trial: Trial, settings: config.Settings) -> Callable[[], object]:
    constants = graph.foldable()
    state = [v._value._array for v in graph.fed(constants)]
    program = Program(graph, settings, constants)
    arrays = [*trial.arrays, *state]
    program(arrays)
    return lambda: program(arrays)


def _count(call: Callable[[], object]) -> int:
    """How many calls take long enough to be measured."""
    start = time.perf_counter()
    call()
    return max(1, int(LEAST_SECONDS / max(time.perf_counter() - start, 1e-6)))


def _fastest(candidates: Mapping[str, Ranges], seconds: Mapping[str, list[float]]) -> str:
    """The candidate with the least times; none that is slower in a trial than one without int8."""
    plain = [name for name, ranges in candidates.items() if not ranges.activations]
    limits = [min(times) for times in zip(*(seconds[name] for name in plain), strict=True)]

    def allowed(name: str) -> bool:
        pairs = zip(seconds[name], limits, strict=True)
        return name in plain or all(one <= limit for one, limit in pairs)

    mean = {name: statistics.geometric_mean(seconds[name]) for name in filter(allowed, candidates)}
    least = min(mean.values())
    equal = [name for name, found in mean.items() if found <= least * TOLERANCE]
    return max(equal, key=lambda name: (len(candidates[name].activations), -mean[name]))
