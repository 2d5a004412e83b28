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

_MAGIC = b"kerasvino-blob-4"
_HEAD = 4096  # a page: the blob is mapped into memory


def facts(settings: config.Settings) -> tuple:
    """What a blob depends on beside the graph, the weights and the properties."""
    named = settings.device
    if ":" not in named and named != "AUTO":
        named = devices.core().get_property(named, "FULL_DEVICE_NAME")
    return __version__, openvino.get_version(), named, os.cpu_count(), settings.device


def digest(parts: Iterable[bytes | memoryview]) -> bytes:
    """XXH3 (128 bits) of the XXH3 of each part.

    It finds damage and tells weights apart as fast as memory is read; it is no protection from
    somebody who may write to the folder and means to deceive.
    """
    from xxhash import xxh3_128_digest  # that only a cache needs

    return xxh3_128_digest(b"".join([xxh3_128_digest(part) for part in parts]))


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
