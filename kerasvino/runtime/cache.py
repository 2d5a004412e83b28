"""Compiling, and keeping what was compiled for other processes (setting `cache_dir`).

OpenVINO has a cache of its own, which loads a blob whose bytes have changed and computes wrong
numbers with it. Here a blob is kept beside a digest of its bytes and is compiled anew when they
differ. Its name is a digest of all that it depends on: the graph without its weights (names of
nodes are deterministic), the values of the weights compiled in, device, properties and versions.
What is wrong with the folder is a warning, and the program is compiled (see `blobs`).
"""

from __future__ import annotations

import os
import pathlib
import tempfile

import numpy as np
import openvino

from kerasvino import files
from kerasvino.graph import Graph
from kerasvino.runtime import blobs, config
from kerasvino.runtime.compiling import compile_graph, properties_for
from kerasvino.runtime.narrow import narrow_for
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
    # a graph for looking for a fault, or with a node of ours, which no file holds, is not kept
    if settings.cache_dir is None or graph.steps is not None or graph.exchanges:
        return compile_graph(graph, settings, constants), None
    properties = properties_for(graph, settings)
    try:
        name = key(graph, settings, constants, properties)
    except (OSError, RuntimeError) as error:  # of the disk, the last as OpenVINO raises it
        blobs.fault(settings.cache_dir, f"a graph cannot be written to name it: {error}")
        return compile_graph(graph, settings, constants), None
    found = guess.loaded(name, properties) if guess is not None else None
    if found is not None:
        return found
    path = pathlib.Path(settings.cache_dir, f"{name}.blob")
    found = _loaded(path, settings, properties)
    kept = found is not None
    if found is None:
        found = compile_graph(graph, settings, constants), None
        kept = blobs.write(path, found[0], settings.cache_size)
    if guess is not None and kept:
        guess.correct(name, properties)
    return found


def _loaded(path, settings, properties):
    """The program of a blob; None where there is none that could be taken."""
    file = blobs.opened(path)
    if file is None or not file.is_whole():
        return None
    try:
        return blobs.imported(file, settings.device, properties)
    except RuntimeError as error:  # another machine's, say, of the same name; it is replaced
        blobs.fault(path.parent, f"OpenVINO refuses {path.name}: {error}")
        return None


def key(
    graph: Graph,
    settings: config.Settings,
    constants: dict[int, np.ndarray],
    properties: dict[str, str],
) -> str:
    """Name of the program in the cache, hexadecimal.

    Raises:
        OSError: there is no folder for temporary files, nor can the cache's be written.
        RuntimeError: the disk is full.
    """
    narrow = narrow_for(graph, settings, constants)
    facts = (*blobs.facts(settings), narrow, *sorted(properties.items()))
    parts: list = [repr(facts).encode()]
    parts += _serialized(_canonical(graph), settings.cache_dir)
    for index, array in sorted(constants.items()):
        parts.append(repr((index, array.dtype, array.shape)).encode())
        if array.size:
            parts.append(memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8)))
    return blobs.digest(parts).hex()


def _serialized(model: openvino.Model, cache_dir: str) -> list[bytes]:
    """A graph as bytes; OpenVINO writes it to a disk only."""
    try:
        with tempfile.TemporaryDirectory(prefix="kerasvino-") as folder:
            return _written(model, folder)
    except (OSError, RuntimeError):  # a container may have no such place, or a very small one
        os.makedirs(cache_dir, exist_ok=True)
        with files.draft(os.path.join(cache_dir, "graph"), folder=True) as folder:
            return _written(model, folder)


def _written(model: openvino.Model, folder: str) -> list[bytes]:
    paths = [pathlib.Path(folder, f"model.{end}") for end in ("xml", "bin")]
    openvino.serialize(model, *map(str, paths))
    return [path.read_bytes() for path in paths]


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
