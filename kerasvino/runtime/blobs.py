"""The files of the cache: compiled programs, each behind a digest of its bytes, and short notes.

The cache is optional. Whatever is wrong with its folder or its files gives one warning for each
folder, and the program is compiled. The folder holds at most `cache_size` bytes: what was used
least recently is removed for what is new. Any number of processes may read, write and remove files
of one folder at the same time.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import math
import mmap
import os
import pathlib
import re
import stat
import time
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import openvino

from kerasvino import files
from kerasvino._version import __version__
from kerasvino.locks import lock
from kerasvino.runtime import config, devices, forking
from kerasvino.runtime.ov_tensors import to_ov

__all__ = [
    "Mapped", "contents", "digest", "facts", "fault", "imported", "note", "opened", "replace",
    "write",
]  # fmt: skip

_MAGIC = b"kerasvino-blob-4"
_HEAD = 4096  # a page: the blob is mapped into memory
_NAME = re.compile(r"[0-9a-f]{32}\.(blob|next)")
_BLOCK = 4096  # what a short file takes at least
_LONGEST_NOTE = 1 << 16


# -- what goes wrong

_warned: set[str] = set()
_warned_lock = lock()


def fault(folder: str | os.PathLike, cause: Exception | str) -> None:
    """Warns that a cache cannot be used, the first time that something is wrong with its folder."""
    folder = os.fspath(folder)
    with _warned_lock:
        if folder in _warned:
            return
        _warned.add(folder)
    warnings.warn(
        f"The cache of compiled programs in {folder!r} cannot be used as it should: {cause}. "
        "Programs that it cannot hold are compiled by each process. Mend the folder, name another "
        "one, or take none: kerasvino.config.set(cache_dir=None).",
        stacklevel=2,
    )


# -- reading


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
    """A file of the cache, mapped into memory. It may be removed meanwhile.

    Attributes:
        blob: its bytes behind the head.

    Raises:
        OSError: there is none, or it cannot be read.
        ValueError: it is empty.
    """

    def __init__(self, path: pathlib.Path):
        with _open(path) as file:
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


def _open(path: pathlib.Path) -> io.FileIO:
    """Opens a file of the cache, and says by its time that it was used."""
    # a pipe would be waited for
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    with contextlib.suppress(OSError):  # of a folder that is only read, where nothing is removed
        os.utime(path)
    return io.FileIO(descriptor, "rb")


def opened(path: pathlib.Path) -> Mapped | None:
    """A file of the cache; None where there is none, an empty one, or one that cannot be read."""
    try:
        return Mapped(path)
    except (FileNotFoundError, ValueError):
        return None
    except OSError as error:
        fault(path.parent, error)
        return None


def note(path: pathlib.Path) -> Any:
    """What a note says, as JSON has it; None where there is none, or one that cannot be read."""
    try:
        with _open(path) as file:
            text = file.read(_LONGEST_NOTE + 1)
        return json.loads(text) if text is not None and len(text) <= _LONGEST_NOTE else None
    except (FileNotFoundError, ValueError, RecursionError):  # the last two of a damaged one
        return None
    except OSError as error:
        fault(path.parent, error)
        return None


def imported(
    file: Mapped, device: str, properties: dict[str, str]
) -> tuple[openvino.CompiledModel, openvino.Tensor]:
    """The program of the blob in a file, and what has to live as long as it does.

    Raises:
        ForkError: programs cannot be run in this process.
        RuntimeError: OpenVINO does not take the blob.
    """
    tensor = to_ov(file.blob, "uint8")
    forking.check(device)
    with forking.compiling():
        model = forking.keep(devices.core().import_model(tensor, device, properties))
    file.leave()  # the device has most weights in an order of its own by now
    return model, tensor


# -- writing

# After a failure nothing is written to a folder for a while; in seconds.
_PAUSE = 60.0
_not_before: dict[pathlib.Path, float] = {}

# By folder and bound: when to look through it again, and its bytes with what was written since.
_looked: dict[tuple[pathlib.Path, int | None], tuple[float, int]] = {}


def write(path: pathlib.Path, model: openvino.CompiledModel, size: int | None) -> bool:
    """Writes the blob of a program. Returns whether it is there now.

    Args:
        path: of the file.
        model: the program.
        size: how many bytes the folder may hold afterwards; None for any.
    """
    folder = path.parent
    if time.monotonic() < _not_before.get(folder, 0.0):
        return False  # to export a large program for nothing takes seconds
    try:
        exported = model.export_model()
    except RuntimeError as error:  # some devices cannot
        fault(folder, f"OpenVINO does not export a program: {error}")
        return False
    body = memoryview(exported if isinstance(exported, bytes) else exported.getbuffer())
    needed = _HEAD + len(body)
    if size is not None and needed > size:
        fault(folder, f"a program of {needed:,} bytes is larger than cache_size={size:,}")
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _make_room(folder, needed + _BLOCK, size)  # and its note
    except OSError as error:
        return _failed(path, error)
    return replace(path, [_header(body), body])


def replace(path: pathlib.Path, parts: Iterable[bytes | memoryview]) -> bool:
    """Writes a file whole, as other processes may do at the same time. Returns whether it could."""
    try:
        files.write(path, parts, safe=False)  # what a power cut damages is found by its digest
    except OSError as error:
        return _failed(path, error)
    return True


def _failed(path: pathlib.Path, error: OSError) -> bool:
    if os.name == "nt" and isinstance(error, PermissionError) and os.path.isfile(path):
        return False  # a process has mapped the program of that name
    if not os.path.isdir(path):  # else it is not the folder's fault
        _not_before[path.parent] = time.monotonic() + _PAUSE
    fault(path.parent, error)
    return False


def contents(folder: str | os.PathLike) -> list[tuple[float, int, str]]:
    """The files of the cache: when each was used last, its bytes on the disk, and its path.

    Raises:
        OSError: the folder cannot be read.
    """
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if _NAME.fullmatch(entry.name):
                with contextlib.suppress(FileNotFoundError):  # another process has removed it
                    facts = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(facts.st_mode):
                        found.append((facts.st_mtime, max(facts.st_size, _BLOCK), entry.path))
    return found


def _make_room(folder: pathlib.Path, needed: int, size: int | None) -> None:
    """Removes what was used least recently, until there is room for `needed` bytes within `size`.

    To look through a folder of many files takes long. So a tenth of `size` is freed at once, and
    the folder is looked at again when this process has filled that, or for what other processes
    have written: as often as costs a fiftieth of the time.

    Raises:
        OSError: the folder cannot be read.
    """
    begin = time.monotonic()
    look_again, total = _looked.get((folder, size), (0.0, 0))
    room = math.inf if size is None else size - needed
    if begin >= look_again or total > room:
        files.remove_dead_drafts(folder)
        if size is not None:
            total = _removed_to(folder, room, room - size // 10)
        end = time.monotonic()
        look_again = end + max(0.1, 50 * (end - begin))
    _looked[folder, size] = look_again, total + needed


def _removed_to(folder: pathlib.Path, most: float, few: float) -> int:
    """How many bytes the folder holds; if that is more than `most`, after removing to `few`.

    Who has a file mapped keeps it: its name is removed, and its bytes when they are let go.
    """
    found = contents(folder)
    total = sum(held for _, held, _ in found)
    if total <= most:
        return total
    for _, held, path in sorted(found):
        if total <= few:
            break
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass  # another process was faster
        except OSError:  # another user's; or in Windows in use
            continue
        total -= held
    return total


def _header(body: memoryview) -> bytes:
    return (_MAGIC + digest([body])).ljust(_HEAD, b"\0")
