"""Compiling, and keeping what was compiled for other processes (setting `cache_dir`).

OpenVINO has a cache of its own, which loads a blob whose bytes have changed and computes wrong
numbers with it. Here a blob is kept beside the SHA-256 of its bytes and is compiled anew when they
differ. Its name is the SHA-256 of all that it depends on: the graph without its weights (names of
nodes are deterministic), the values of the weights compiled in, device, properties and versions.
"""

from __future__ import annotations

import hashlib
import io
import os
import pathlib
import tempfile

import numpy as np
import openvino

from kerasvino._version import __version__
from kerasvino.graph import Graph
from kerasvino.runtime import config, devices

__all__ = ["compiled", "key"]

_MAGIC = b"kerasvino-blob-1"


def compiled(
    graph: Graph, settings: config.Settings, constants: dict[int, np.ndarray]
) -> openvino.CompiledModel:
    """`graph` with `constants` compiled in, from the cache if it holds it."""
    if settings.cache_dir is None:
        return _compile(graph, settings, constants)
    path = pathlib.Path(settings.cache_dir) / f"{key(graph, settings, constants)}.blob"
    blob = _read(path)
    if blob is not None:
        return devices.core().import_model(blob, settings.device, settings.properties)
    result = _compile(graph, settings, constants)
    _write(path, result)
    return result


def _compile(graph, settings, constants):
    return devices.core().compile_model(graph.bind(constants), settings.device, settings.properties)


def key(graph: Graph, settings: config.Settings, constants: dict[int, np.ndarray]) -> str:
    """Name of the program in the cache, a hexadecimal SHA-256."""
    found = hashlib.sha256()

    def add(*parts) -> None:
        for part in parts:
            data = part if isinstance(part, (bytes, np.ndarray)) else str(part).encode()
            size = data.nbytes if isinstance(data, np.ndarray) else len(data)
            found.update(str(size).encode() + b":")
            found.update(data)

    name = (
        devices.core().get_property(settings.device, "FULL_DEVICE_NAME")
        if (":" not in settings.device and settings.device != "AUTO")
        else settings.device
    )
    add(__version__, openvino.get_version(), name, os.cpu_count(), settings.key[:2])
    with tempfile.TemporaryDirectory(prefix="kerasvino-") as folder:
        xml, weights = (os.path.join(folder, f"model.{end}") for end in ("xml", "bin"))
        openvino.serialize(_canonical(graph), xml, weights)
        for file in (xml, weights):
            add(pathlib.Path(file).read_bytes())
    for index, array in sorted(constants.items()):
        add(index, array.dtype, array.shape)
        add(np.ascontiguousarray(array).view(np.uint8).reshape(-1) if array.size else b"")
    return found.hexdigest()


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


def _read(path: pathlib.Path) -> io.BytesIO | None:
    """The blob at `path`; None where there is none, or not the one that was written."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    head, body = data[: len(_MAGIC) + 32], memoryview(data)[len(_MAGIC) + 32 :]
    if head != _MAGIC + hashlib.sha256(body).digest():
        return None
    return io.BytesIO(body)


def _write(path: pathlib.Path, model: openvino.CompiledModel) -> None:
    """Writes the blob, whole or not at all: other processes may do so at the same time."""
    exported = model.export_model()
    body = exported.getvalue() if isinstance(exported, io.BytesIO) else bytes(exported)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        file.write(_MAGIC + hashlib.sha256(body).digest())
        file.write(body)
    os.replace(file.name, path)
