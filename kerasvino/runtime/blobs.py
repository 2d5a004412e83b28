"""The files of the cache: compiled programs, each behind a digest of its bytes, and short notes."""

from __future__ import annotations

import mmap
import os
import pathlib
import tempfile
from collections.abc import Iterable

import numpy as np
import openvino

from kerasvino._version import __version__
from kerasvino.runtime import config, devices
from kerasvino.runtime.ov_tensors import to_ov

__all__ = ["Mapped", "digest", "facts", "imported", "opened", "replace", "write"]

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


class Mapped:
    """A file of the cache, mapped into memory.

    Attributes:
        blob: its bytes behind the head.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is empty.
    """

    def __init__(self, path: pathlib.Path):
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        data = np.frombuffer(self._map, np.uint8)
        self._head, self.blob = data[:_HEAD], data[_HEAD:]

    def is_whole(self) -> bool:
        """Whether the blob is the one that was written."""
        return self._head.tobytes() == _header(memoryview(self.blob))

    def leave(self) -> None:
        """Gives the memory back in which the file is, until somebody reads from it again."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


def opened(path: pathlib.Path) -> Mapped | None:
    """A file of the cache; None where there is none, or an empty one."""
    try:
        return Mapped(path)
    except (FileNotFoundError, ValueError):
        return None


def imported(
    file: Mapped, device: str, properties: dict[str, str]
) -> tuple[openvino.CompiledModel, openvino.Tensor]:
    """The program of the blob in a file, and what has to live as long as it does."""
    tensor = to_ov(file.blob, "uint8")
    model = devices.core().import_model(tensor, device, properties)
    file.leave()  # the device has most weights in an order of its own by now
    return model, tensor


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
