"""A profile as a page of HTML that needs no network: layers as an icicle, and the runtime graph."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import openvino

from kerasvino._version import __version__
from kerasvino.backend.keras_private import VERSION
from kerasvino.profiling.attribution import layers_of
from kerasvino.profiling.branches import Branch, tree_of
from kerasvino.profiling.graph_drawing import layered
from kerasvino.profiling.measured import Measured

__all__ = ["page"]

_TEMPLATE = pathlib.Path(__file__).with_name("page.html")
_MARK = "/*DATA*/null"
_NODE, _GAP, _RANK = (190.0, 46.0), 26.0, 78.0  # sizes in the drawing of the graph


def page(profile: Measured) -> str:
    """The page."""
    # "<" is escaped, so that no name can end the script element that holds the data
    data = json.dumps(_data(profile), separators=(",", ":")).replace("<", "\\u003c")
    return _TEMPLATE.read_text(encoding="utf-8").replace(_MARK, data)


def _data(profile: Measured) -> dict[str, Any]:
    found = profile.measurement
    layers = profile.layers
    return {
        "model": profile.model,
        "device": found.device,
        "precision": found.properties.get("INFERENCE_PRECISION_HINT", "chosen by the plugin"),
        "inputs": [
            f"{spec.name}: {spec.dtype} {list(spec.shape or ())}" for spec in profile.inputs
        ],
        "runs": len(found.run_seconds),
        "median": profile.seconds,
        "fastest": min(found.run_seconds),
        "compile": found.compile_seconds,
        "nodes": profile.node_seconds,
        "versions": f"kerasvino {__version__}, keras {VERSION}, openvino {openvino.__version__}",
        "tree": _branch(tree_of(profile.model, layers_of(profile.nodes), profile.places)),
        "phases": profile.phases,
        "generation": profile.generation and str(profile.generation),
        "weights": sum(profile.weights.values()),
        "layers": [
            {
                "path": layer.path,
                "seconds": layer.seconds,
                "phases": layer.phases,
                "weights": profile.weights.get(layer.path, 0),
                "fused": layer.fused,
                "kinds": layer.kinds,
                "kernels": layer.kernels,
                "count": len(layer.nodes),
            }
            for layer in layers
        ],
        "graph": _graph(profile),
    }


def _branch(branch: Branch) -> dict[str, Any]:
    found: dict[str, Any] = {"name": branch.name, "seconds": branch.seconds}
    if branch.layer is not None:
        found |= {"path": branch.layer.path, "own": branch.layer.seconds}
        found["kinds"] = branch.layer.kinds
    if branch.parts:
        found["parts"] = [_branch(part) for part in branch.parts]
    return found


def _graph(profile: Measured) -> dict[str, Any]:
    """The nodes that data passes through, with places to draw them at."""
    shown: dict[int, int] = {}  # its number among those that are drawn
    for index, placed in enumerate(profile.nodes):
        sources = placed.node.sources
        is_input = not sources and placed.node.kind != "Const"
        if is_input or placed.node.executed or any(source in shown for source in sources):
            shown[index] = len(shown)
    nodes = [profile.nodes[index] for index in shown]
    above = [sorted({shown[s] for s in p.node.sources if s in shown}) for p in nodes]
    (width, height), left = _NODE, 0.0
    x, ranks, paths = layered(above, width, _GAP)
    if x:
        left = min([*x, *(point[0] for points in paths.values() for point in points)]) - width / 2
    edges = []
    for node, sources in enumerate(above):
        for source in sources:
            steps = paths.get(source, [])[: ranks[node] - ranks[source] - 1]
            points = [(x[source], ranks[source]), *steps, (x[node], ranks[node])]
            edges.append([[round(px - left, 1), rank * _RANK] for px, rank in points])
    return {
        "size": [width, height],
        "nodes": [
            {
                "x": round(x[index] - left, 1),
                "y": ranks[index] * _RANK,
                "name": placed.node.name,
                "covers": list(placed.node.covers),
                "layer": placed.layer,
                "kind": placed.node.kind,
                "kernel": placed.node.kernel,
                "shape": placed.node.shape,
                "precision": placed.node.precision,
                "layout": placed.node.layout,
                "executed": placed.node.executed,
                "seconds": placed.node.seconds,
            }
            for index, placed in enumerate(nodes)
        ],
        "edges": edges,
    }
