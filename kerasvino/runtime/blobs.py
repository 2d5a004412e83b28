"""The files of the cache: compiled programs, each behind a digest of its bytes, and short notes."""

from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Iterable

import numpy as np
import openvino

from kerasvino._version import __version__
from kerasvino.runtime import config, devices
from kerasvino.runtime.boundary import to_ov

__all__ = ["checked", "digest", "facts", "imported", "opened", "replace", "write"]

_MAGIC = b"kerasvino-blob-3"
_HEAD = 4096  # a page: the blob is mapped into memory
_LARGE = 1 << 18  # bytes that are worth several threads


def facts(settings: config.Settings) -> tuple:
    """What a blob depends on beside the graph, the weights and the properties."""
    named = settings.device
    if ":" not in named and named != "AUTO":
        named = devices.core().get_property(named, "FULL_DEVICE_NAME")
    return __version__, openvino.get_version(), named, os.cpu_count(), settings.device


def digest(parts: Iterable[bytes | memoryview]) -> bytes:
    """BLAKE3 of the BLAKE3 of each part, large ones by all cores."""
    from blake3 import blake3  # half a MiB that only a cache needs

    whole = blake3()
    for part in parts:
        threads = blake3.AUTO if len(part) >= _LARGE else 1
        whole.update(blake3(part, max_threads=threads).digest())
    return whole.digest()


def opened(path: pathlib.Path) -> np.ndarray | None:
    """The bytes of a file, mapped into memory; None where there is none, or an empty one."""
    try:
        return np.memmap(path, np.uint8, "r")
    except (FileNotFoundError, ValueError):  # ValueError: the file is empty
        return None


def checked(data: np.ndarray) -> np.ndarray | None:
    """The blob in an opened file; None if it is not the one that was written."""
    head, body = data[:_HEAD].tobytes(), data[_HEAD:]
    return body if head == _header(memoryview(body)) else None


def imported(
    blob: np.ndarray, device: str, properties: dict[str, str]
) -> tuple[openvino.CompiledModel, openvino.Tensor]:
    """The program of a blob, and what has to live as long as it does."""
    tensor = to_ov(blob, "uint8")
    return devices.core().import_model(tensor, device, properties), tensor


def write(path: pathlib.Path, model: openvino.CompiledModel) -> None:
    """Writes the blob of a program."""
    exported = model.export_model()
    body = memoryview(exported if isinstance(exported, bytes) else exported.getbuffer())
    replace(path, [_header(body), body])


def replace(path: pathlib.Path, parts: Iterable[bytes | memoryview]) -> None:
    """Writes a file, whole or not at all: other processes may do so at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        for part in parts:
            file.write(part)
    os.replace(file.name, path)


def _header(body: memoryview) -> bytes:
    return (_MAGIC + digest([body])).ljust(_HEAD, b"\0")
