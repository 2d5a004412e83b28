"""How much a model computes: whether more than one thread of the CPU is worth its while.

The CPU plugin runs the nodes of a graph one after the other, each on all threads, which meet at its
end. A step of a recurrent layer, or of a loop's body, is often shorter than that meeting: on two
threads a GRU of 64 units over 100 steps took 400 µs, on one 226.
"""

from __future__ import annotations

import math
import os

import openvino

from kerasvino.graph.trace import lengths_of
from kerasvino.nodes.facts import facts

__all__ = ["one_thread_is_faster", "saved_by_several_runs"]

# Of one thread, measured on AVX-512 cores at 2.6 GHz: what it computes in a second of a product by
# weights and of a recurrent step, in single-precision operations, and of other nodes, in elements;
# how many bytes of weights it reads; what a meeting costs.
PRODUCT_RATE = 120e9
STEP_RATE = 40e9
ELEMENT_RATE = 4e9
WEIGHT_RATE = 14e9
MEETING_SECONDS = 3e-6
# Another choice than the plugin's own has to be this much better: the estimate is rough.
MARGIN = 1.25


def one_thread_is_faster(model: openvino.Model) -> bool:
    """Whether the meetings of threads cost more than sharing the work gains, by an estimate.

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


def _is_large(nodes, threads: int) -> bool:
    """Whether its first products outweigh a meeting of each node: looking at all takes long."""
    kinds = [node.get_type_name() for node in nodes]
    if any(facts(kind).cost in ("steps", "body") for kind in kinds):
        return False
    meetings = len(nodes) * MEETING_SECONDS
    saved = 0.0
    for node, kind in zip(nodes, kinds, strict=True):
        if facts(kind).cost in ("product", "convolution"):
            work = _work(node, kind)
            saved += work[0] * (MARGIN - 1 / threads) if work else 0.0
            if saved > meetings:
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
        kind = node.get_type_name()
        cost = facts(kind).cost
        if cost == "nothing":
            continue
        if cost == "body":
            trips = _trips(node)
            body = None if trips is None else _seconds(_body(node), threads)
            if body is None:
                return None
            alone += trips * body[0]
            together += trips * body[1]
            continue
        work = _work(node, kind)
        if work is None:
            return None
        seconds, meetings = work
        alone += seconds
        together += seconds / threads + meetings * MEETING_SECONDS
    return alone, together


def _body(node):
    return node.get_function().get_ordered_ops()


def _trips(node) -> int | None:
    trips = node.get_num_iterations()
    return trips if trips >= 0 else None


def _work(node, kind: str) -> tuple[float, float] | None:
    """Seconds of a node on one thread, and how often threads would meet in it."""
    known = facts(kind)
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
    return max(math.prod(s) for s in (result, *(s for s in shapes if s))) / ELEMENT_RATE, 1 / 3


def _product(operations: int, weights: int) -> float:
    """Seconds of a product with so many weights, which may be only read for a few rows."""
    return max(operations / PRODUCT_RATE, weights * 4 / WEIGHT_RATE)


def _lengths(value) -> tuple[int, ...] | None:
    shape = value.get_partial_shape()
    return lengths_of(shape) if shape.is_static else None
