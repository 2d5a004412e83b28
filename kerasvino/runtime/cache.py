"""Compiling, and keeping what was compiled for other processes (setting `cache_dir`).

OpenVINO has a cache of its own, which loads a blob whose bytes have changed and computes wrong
numbers with it. Here a blob is kept beside a digest of its bytes and is compiled anew when they
differ. Its name is a digest of all that it depends on: the graph without its weights (names of
nodes are deterministic), the values of the weights compiled in, device, properties and versions.
"""

from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Iterable

import numpy as np
import openvino

from kerasvino._version import __version__
from kerasvino.graph import Graph
from kerasvino.runtime import config, devices
from kerasvino.runtime.boundary import to_ov
from kerasvino.runtime.compiling import compile_graph, properties_for

__all__ = ["compiled", "key"]

_MAGIC = b"kerasvino-blob-3"
_HEAD = 4096  # a page: the blob is mapped into memory
_LARGE = 1 << 18  # bytes that are worth several threads


def compiled(
    graph: Graph, settings: config.Settings, constants: dict[int, np.ndarray]
) -> tuple[openvino.CompiledModel, object]:
    """`graph` with `constants` compiled in, from the cache if it holds it.

    Returns the compiled model, and what has to live as long as it does.
    """
    if settings.cache_dir is None:
        return compile_graph(graph, settings, constants), None
    properties = properties_for(graph, settings)
    path = pathlib.Path(settings.cache_dir) / f"{key(graph, settings, constants, properties)}.blob"
    blob = _read(path)
    if blob is not None:
        tensor = to_ov(blob, "uint8")
        model = devices.core().import_model(tensor, settings.device, properties)
        return model, tensor
    result = compile_graph(graph, settings, constants)
    _write(path, result)
    return result, None


# -- digests


def _digest(parts: Iterable[bytes | memoryview]) -> bytes:
    """BLAKE3 of the BLAKE3 of each part, large ones by all cores."""
    from blake3 import blake3  # half a MiB that only a cache needs

    whole = blake3()
    for part in parts:
        threads = blake3.AUTO if len(part) >= _LARGE else 1
        whole.update(blake3(part, max_threads=threads).digest())
    return whole.digest()


def key(
    graph: Graph,
    settings: config.Settings,
    constants: dict[int, np.ndarray],
    properties: dict[str, str],
) -> str:
    """Name of the program in the cache, hexadecimal."""
    named = settings.device
    if ":" not in named and named != "AUTO":
        named = devices.core().get_property(named, "FULL_DEVICE_NAME")
    facts = (__version__, openvino.get_version(), named, os.cpu_count(), settings.device)
    facts += tuple(sorted(properties.items()))
    parts: list = [repr(facts).encode()]
    with tempfile.TemporaryDirectory(prefix="kerasvino-") as folder:
        files = [pathlib.Path(folder, f"model.{end}") for end in ("xml", "bin")]
        openvino.serialize(_canonical(graph), *map(str, files))
        parts += [file.read_bytes() for file in files]
    for index, array in sorted(constants.items()):
        parts.append(repr((index, array.dtype, array.shape)).encode())
        if array.size:
            parts.append(memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8)))
    return _digest(parts).hex()


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


# -- files


def _read(path: pathlib.Path) -> np.ndarray | None:
    """The blob at `path`; None where there is none, or not the one that was written."""
    try:
        data = np.memmap(path, np.uint8, "r")
    except (FileNotFoundError, ValueError):  # ValueError: the file is empty
        return None
    head, body = data[:_HEAD].tobytes(), data[_HEAD:]
    return body if head == _header(memoryview(body)) else None


def _header(body: memoryview) -> bytes:
    return (_MAGIC + _digest([body])).ljust(_HEAD, b"\0")


def _write(path: pathlib.Path, model: openvino.CompiledModel) -> None:
    """Writes the blob, whole or not at all: other processes may do so at the same time."""
    exported = model.export_model()
    body = memoryview(exported if isinstance(exported, bytes) else exported.getbuffer())
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        file.write(_header(body))
        file.write(body)
    os.replace(file.name, path)
