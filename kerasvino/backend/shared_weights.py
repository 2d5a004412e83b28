"""A model's weights in one file, which all processes of a machine map into memory.

The system keeps one copy of such a file in memory, however many processes map it, and may drop it
when memory is short, since it can be read again. Programs hold packed copies beside it, which no
two processes share.
"""

from __future__ import annotations

import json
import mmap
import os
from typing import Any, NamedTuple

import numpy as np

from kerasvino import files
from kerasvino.tensor import Tensor

__all__ = ["share_weights"]

_MAGIC = b"kerasvino-weights-1\n"
_PAGE = 4096  # smaller arrays stay where they are
_ALIGNED = 64  # bytes, for vector instructions
_BLOCK = 1 << 20  # compared at a time


class _Place(NamedTuple):
    """Where an array is in the file."""

    offset: int
    array: np.ndarray


def share_weights(model: Any, path: str | os.PathLike[str]) -> int:
    """Moves the weights of a built model into a file that other processes share.

    Each process calls this once its model has its weights, before the first `predict`: programs
    that are compiled already are compiled anew. Values do not change. A file that holds other
    values, of other weights or damaged ones, is replaced; processes that have it mapped keep it.
    What is assigned later, by `fit` or `set_weights`, is the process's own again.

    Args:
        model: a built model or layer.
        path: of the file, in a folder that exists and where nobody else writes. Never change it in
            place: that would change the weights of all who have it mapped.

    Returns:
        The number of bytes that are shared. Weights of less than 4 KiB are not.

    Raises:
        ValueError: the model is not built.
        OSError: the file is not there and cannot be written.
    """
    if not model.built:
        raise ValueError(
            f"{model.name!r} is not built, so it has no weights to share. Call it on data, or "
            "`build(input_shape)`, and load its weights first."
        )
    path = os.path.abspath(path)
    variables = [
        v for v in model.weights if v._value is not None and v._value._array.nbytes >= _PAGE
    ]
    places, head = _layout([_bytes(v) for v in variables])
    if not places:
        return 0
    mapped = _mapped(path, places, head)
    if mapped is None:
        with files.locked(os.path.dirname(path)):
            mapped = _mapped(path, places, head)  # of another process, meanwhile
            if mapped is None:
                files.write(path, _parts(places, head))
                mapped = _mapped(path, places, head)
        if mapped is None:
            raise OSError(f"{path!r} does not hold what was written into it just now.")
    for variable, (offset, data) in zip(variables, places, strict=True):
        array = variable._value._array
        shared = mapped[offset : offset + data.nbytes].view(array.dtype).reshape(array.shape)
        variable._direct_assign(Tensor._wrap(shared))
    return sum(place.array.nbytes for place in places)


def _bytes(variable) -> np.ndarray:
    return np.ascontiguousarray(variable._value._array).reshape(-1).view(np.uint8)


def _layout(arrays: list[np.ndarray]) -> tuple[list[_Place], bytes]:
    """Where each array goes, and what stands before them."""
    said = json.dumps([array.nbytes for array in arrays]).encode()
    head = _MAGIC + len(said).to_bytes(8, "little") + said
    offset, places = -(-len(head) // _PAGE) * _PAGE, []
    for array in arrays:
        places.append(_Place(offset, array))
        offset += -(-array.nbytes // _ALIGNED) * _ALIGNED
    return places, head


def _parts(places: list[_Place], head: bytes):
    """The bytes of the file."""
    yield head
    end = len(head)
    for offset, array in places:
        yield bytes(offset - end)
        yield memoryview(array)
        end = offset + array.nbytes


def _mapped(path: str, places: list[_Place], head: bytes) -> np.ndarray | None:
    """The bytes of the file, mapped; None where it is not there or holds anything else."""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size != places[-1].offset + places[-1].array.nbytes:
                return None
            # Nobody writes to it, and nobody else would see that. But constants share the memory
            # of writable arrays alone: others are copied when a program is compiled.
            data = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)
    except FileNotFoundError:
        return None
    if data[: len(head)].tobytes() != head:
        return None
    for offset, array in places:
        for start in range(0, array.nbytes, _BLOCK):
            block = array[start : start + _BLOCK]
            if not np.array_equal(data[offset + start : offset + start + len(block)], block):
                return None
    return data
