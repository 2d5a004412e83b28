"""An estimate of how long a graph runs, by which the number of threads is chosen.

The CPU plugin runs the nodes of a graph one after the other. Each node is shared among all threads,
and the next one begins when all have finished. This synchronisation takes longer than a short node,
such as a step of a recurrent layer or of a loop's body. Then one thread is faster than several: a
GRU of 64 units over 100 steps took 400 µs on two threads, 226 µs on one.
"""

from __future__ import annotations

import math
import os

import openvino

from kerasvino.graph.trace import lengths_of
from kerasvino.nodes.facts import Facts, facts

__all__ = ["one_thread_is_faster", "saved_by_several_runs", "work"]

# Rates of one thread, measured on AVX-512 cores at 2.6 GHz.
PRODUCT_RATE = 120e9  # operations per second, in products by weights and convolutions
STEP_RATE = 40e9  # operations per second, in a step of a recurrent layer, for one row
ELEMENT_RATE = 4e9  # elements per second, in all other nodes
WEIGHT_RATE = 14e9  # bytes of weights read per second
SYNCHRONISATION_SECONDS = 3e-6  # of all threads, at the end of a node
# Another choice than the plugin's own has to be this much better: the estimate is rough.
MARGIN = 1.25


def one_thread_is_faster(model: openvino.Model) -> bool:
    """Whether synchronising threads costs more than sharing the work gains, by an estimate.

    False where a length that it depends on is unknown.
    """
    threads = _cores()
    if threads == 1:
        return False
    nodes = model.get_ordered_ops()
    if _is_large(nodes, threads):
        return False
    found = _seconds(nodes, threads)
    return found is not None and found[0] * MARGIN < found[1]


def saved_by_several_runs(model: openvino.Model) -> float:
    """The part of the time saved by as many runs at a time as there are cores, of one thread each.

    0 where that is not faster, or where a length that it depends on is unknown.
    """
    threads = _cores()
    if threads == 1:
        return 0.0
    nodes = model.get_ordered_ops()
    if _is_large(nodes, threads):
        return 0.0
    found = _seconds(nodes, threads)
    if found is None or found[0] / threads * MARGIN >= found[1]:
        return 0.0
    return 1 - found[0] / threads / found[1]


def work(model: openvino.Model) -> float | None:
    """Seconds that a graph takes on one thread; None where a length or a type is unknown."""
    found = _seconds(model.get_ordered_ops(), 1)
    return None if found is None else found[0]


def _is_large(nodes, threads: int) -> bool:
    """Whether sharing the first products gains more than synchronising after each node costs.

    Then the other nodes need not be looked at, which takes long in a large graph.
    """
    known = [facts(node.get_type_name()) for node in nodes]
    if not {"steps", "body"}.isdisjoint([one.cost for one in known]):
        return False
    synchronising = len(nodes) * SYNCHRONISATION_SECONDS
    saved = 0.0
    for node, one in zip(nodes, known, strict=True):
        if one.cost in ("product", "convolution"):
            work = _work(node, one)
            saved += work[0] * (MARGIN - 1 / threads) if work else 0.0
            if saved > synchronising:
                return True
    return False


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _seconds(nodes, threads: int) -> tuple[float, float] | None:
    """Of running the nodes on one thread and on several; None where that is unknown."""
    alone = together = 0.0
    for node in nodes:
        known = facts(node.get_type_name())
        if known.cost == "nothing":
            continue
        if known.cost == "body":
            trips = _trips(node)
            body = None if trips is None else _seconds(_body(node), threads)
            if body is None:
                return None
            alone += trips * body[0]
            together += trips * body[1]
            continue
        work = _work(node, known)
        if work is None:
            return None
        seconds, synchronisations = work
        alone += seconds
        together += seconds / threads + synchronisations * SYNCHRONISATION_SECONDS
    return alone, together


def _body(node):
    return node.get_function().get_ordered_ops()


def _trips(node) -> int | None:
    trips = node.get_num_iterations()
    return trips if trips >= 0 else None


def _work(node, known: Facts) -> tuple[float, float] | None:
    """Seconds of a node on one thread, and how often several threads are synchronised in it."""
    if known.cost is None:
        return None
    shapes = [_lengths(value) for value in node.input_values()]
    result = _lengths(node.output(0))
    if result is None:
        return None
    if known.cost == "steps":
        x, hidden = shapes[0], shapes[1]
        if x is None or hidden is None:
            return None
        batch, steps, features = x
        directions, units = hidden[1], hidden[2]
        each = 2 * batch * (features + units) * known.gates * units
        # one row only reads the weights, several share that
        rate = min(STEP_RATE * batch, PRODUCT_RATE)
        return directions * steps * each / rate, directions * steps
    if known.cost == "product":
        first, second = shapes
        if first is None or second is None:
            return None
        inner = first[-2 if node.get_attributes()["transpose_a"] and len(first) > 1 else -1]
        return _product(2 * math.prod(result) * inner, math.prod(second)), 1
    if known.cost == "convolution":
        weights = shapes[1]
        if weights is None or shapes[0] is None:
            return None
        over = math.prod(shapes[0] if known.backward else result)
        # weights: [groups,] out, in, space…; those of a backward one: [groups,] in, out, space…
        each = math.prod(weights[1 + known.groups :])
        return _product(2 * over * each, math.prod(weights)), 1
    # the plugin fuses most of these with others
    return max(map(math.prod, [result, *filter(None, shapes)])) / ELEMENT_RATE, 1 / 3


def _product(operations: int, weights: int) -> float:
    """Seconds of a product with so many weights, which may be only read for a few rows."""
    return max(operations / PRODUCT_RATE, weights * 4 / WEIGHT_RATE)


def _lengths(value) -> tuple[int, ...] | None:
    shape = value.get_partial_shape()
    return lengths_of(shape) if shape.is_static else None
