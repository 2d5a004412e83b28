"""Compiling, and keeping what was compiled for other processes (setting `cache_dir`).

OpenVINO has a cache of its own, which loads a blob whose bytes have changed and computes wrong
numbers with it. Here a blob is kept beside a digest of its bytes and is compiled anew when they
differ. Its name is a digest of all that it depends on: the graph without its weights (names of
nodes are deterministic), the values of the weights compiled in, device, properties and versions.
"""

from __future__ import annotations

import pathlib
import tempfile

import numpy as np
import openvino

from kerasvino.graph import Graph
from kerasvino.runtime import blobs, config
from kerasvino.runtime.compiling import compile_graph, properties_for
from kerasvino.runtime.prefetch import Guess

__all__ = ["compiled", "key"]


def compiled(
    graph: Graph,
    settings: config.Settings,
    constants: dict[int, np.ndarray],
    guess: Guess | None = None,
) -> tuple[openvino.CompiledModel, object]:
    """`graph` with `constants` compiled in, from the cache if it holds it.

    Returns the compiled model, and what has to live as long as it does.

    Args:
        graph: what to compile.
        settings: device, properties and folder of the cache.
        constants: arrays of `graph.reads`, by index.
        guess: which blob it will be, made before the graph was known.
    """
    if settings.cache_dir is None or graph.steps is not None:  # a graph for looking for a fault
        return compile_graph(graph, settings, constants), None
    properties = properties_for(graph, settings)
    name = key(graph, settings, constants, properties)
    found = guess.loaded(name, properties) if guess is not None else None
    if found is None:
        found = _loaded_or_made(graph, settings, constants, name, properties)
        if guess is not None:
            guess.correct(name, properties)
    return found


def _loaded_or_made(graph, settings, constants, name, properties):
    path = pathlib.Path(settings.cache_dir, f"{name}.blob")
    file = blobs.opened(path)
    if file is not None and file.is_whole():
        return blobs.imported(file, settings.device, properties)
    result = compile_graph(graph, settings, constants)
    blobs.write(path, result)
    return result, None


def key(
    graph: Graph,
    settings: config.Settings,
    constants: dict[int, np.ndarray],
    properties: dict[str, str],
) -> str:
    """Name of the program in the cache, hexadecimal."""
    parts: list = [repr(blobs.facts(settings) + tuple(sorted(properties.items()))).encode()]
    with tempfile.TemporaryDirectory(prefix="kerasvino-") as folder:
        files = [pathlib.Path(folder, f"model.{end}") for end in ("xml", "bin")]
        openvino.serialize(_canonical(graph), *map(str, files))
        parts += [file.read_bytes() for file in files]
    for index, array in sorted(constants.items()):
        parts.append(repr((index, array.dtype, array.shape)).encode())
        if array.size:
            parts.append(memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8)))
    return blobs.digest(parts).hex()


def _canonical(graph: Graph) -> openvino.Model:
    """The graph without the names that Keras and OpenVINO number through a process."""
    model = graph.model.clone()
    for index, output in enumerate(model.outputs):
        output.get_tensor().set_names({f"output_{index}"})
    for index, parameter in enumerate(model.get_parameters()):
        if index >= len(graph.inputs):
            parameter.set_friendly_name(f"variable/{index}")
        parameter.output(0).get_tensor().set_names({f"input_{index}"})
    return model
