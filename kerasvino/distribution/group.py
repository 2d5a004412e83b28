"""A group of processes that add arrays up: gloo, as torch.distributed brings it."""

from __future__ import annotations

import datetime
import os
import pickle
import time
from collections.abc import Callable, Sequence

import numpy as np

from kerasvino.distribution.launch import Place
from kerasvino.errors import DistributedError

__all__ = ["Group", "current", "join", "leave", "when_joined"]

# Seconds that a process waits for the others to start.
START = 300.0

_group: Group | None = None
_told: list[Callable[[Group], None]] = []


def current() -> Group | None:
    """The group that this process has joined."""
    return _group


def join(place: Place, timeout: float) -> Group:
    """Joins the group of all processes, once. Waits for them up to five minutes.

    Args:
        place: where this process stands.
        timeout: seconds that a process waits for the others in each exchange.

    Raises:
        ImportError: torch is not installed.
        DistributedError: the others do not come.
        RuntimeError: this process has joined another group.
    """
    global _group
    if _group is not None:
        if (_group.size, _group.rank) == (place.size, place.rank):
            return _group
        raise RuntimeError(
            f"This process is {_group.rank} of {_group.size} already; it cannot become "
            f"{place.rank} of {place.size}. Start another process."
        )
    try:
        import torch.distributed as transport
    except ModuleNotFoundError as error:
        raise ImportError(
            "Several processes exchange gradients by torch.distributed, which is not installed: "
            "pip install 'kerasvino[distributed]'"
        ) from error
    if not transport.is_available():
        raise ImportError("This build of torch has no torch.distributed; install another.")
    try:
        if not transport.is_initialized():  # Ray Train, say, has done so
            transport.init_process_group(
                "gloo",
                init_method=f"tcp://{place.host}:{place.port}" if not _launched() else "env://",
                world_size=place.size,
                rank=place.rank,
                timeout=datetime.timedelta(seconds=START),
            )
        handle = transport.new_group(backend="gloo", timeout=datetime.timedelta(seconds=timeout))
    except (RuntimeError, ValueError) as error:  # DistNetworkError is one
        raise DistributedError(
            f"Process {place.rank} of {place.size} could not join the others at "
            f"{place.host}:{place.port} within {START:.0f} s. Are all of them running, and can "
            f"that address be reached? {error}"
        ) from error
    _group = Group(transport, handle, place.size, place.rank, timeout)
    for function in _told:
        function(_group)
    return _group


def when_joined(function: Callable[[Group], None]) -> None:
    """Has `function(group)` called when this process joins a group."""
    _told.append(function)


def leave() -> None:
    """Leaves the group; the process can join another."""
    global _group
    group, _group = _group, None
    if group is not None:
        group.close()


def _launched() -> bool:
    """Whether torchrun holds the place where processes meet: process 0 must not open another."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


class Group:
    """Processes that call the same exchanges in the same order.

    Attributes:
        size: how many there are.
        rank: the number of this one, from 0.
        exchanges: how many there have been.
        seconds: what they took, waiting for the others included.
        failure: the error of the exchange that failed; the group is of no use after it.
    """

    def __init__(self, transport, handle, size: int, rank: int, timeout: float):
        self._transport = transport
        self._handle = handle
        self._timeout = timeout
        self.size = size
        self.rank = rank
        self.exchanges = 0
        self.seconds = 0.0
        self.failure: DistributedError | None = None
        self._buffers: dict[np.dtype, np.ndarray] = {}

    def add(self, buffer: np.ndarray) -> None:
        """Replaces a contiguous array by the sum over all processes; the same bits on each.

        Raises:
            DistributedError: a process has ended, or does not come in time.
        """
        import torch

        tensor = torch.from_numpy(buffer)
        self._exchange(lambda: self._transport.all_reduce(tensor, group=self._handle))

    def total(
        self, weight: float, arrays: Sequence[np.ndarray], mean: bool = False
    ) -> tuple[list[np.ndarray], np.float32]:
        """(the sum over processes of weight * array, for each array; the sum of weights).

        The results lie in memory that the next call writes again.

        Args:
            weight: of this process, 0 or more; with 0 its arrays do not count, NaN in them neither.
            arrays: of the same shapes and dtypes on each process. Floats of 8 and 16 bits are
                added up in float32; integers exactly, as if the weight were 1.
            mean: whether the sums are divided by the sum of weights.

        Raises:
            DistributedError: a process has ended, or does not come in time.
        """
        whole = [a.dtype.kind in "iub" for a in arrays]
        floats = [a for a, is_whole in zip(arrays, whole, strict=True) if not is_whole]
        wide = any(a.dtype == np.float64 for a in floats)
        flat = self._buffer(
            sum(a.size for a in floats) + 1, np.dtype(np.float64 if wide else np.float32)
        )
        _fill(flat, floats, weight)
        flat[-1] = weight
        self.add(flat)
        if mean and flat[-1] > 0:
            flat[:-1] /= flat[-1]
        integers = np.empty(0, np.int64)
        if any(whole):
            given = [a for a, is_whole in zip(arrays, whole, strict=True) if is_whole]
            integers = self._buffer(sum(a.size for a in given), np.dtype(np.int64))
            _fill(integers, given, int(weight > 0))
            self.add(integers)
        places = [0, 0]
        results = []
        for array, is_whole in zip(arrays, whole, strict=True):
            begin = places[is_whole]
            places[is_whole] += array.size
            part = (integers if is_whole else flat)[begin : begin + array.size]
            results.append(part.reshape(array.shape).astype(array.dtype, copy=False))
        return results, np.float32(flat[-1])

    def _buffer(self, count: int, dtype: np.dtype) -> np.ndarray:
        """An array of so many numbers, in memory that is kept: new pages take as long as copies."""
        held = self._buffers.get(dtype)
        if held is None or held.size < count:
            held = self._buffers[dtype] = np.empty(count, dtype)
        return held[:count]

    def broadcast(self, value: object) -> object:
        """What process 0 gives, on all of them.

        Raises:
            DistributedError: a process has ended, or does not come in time.
        """
        data = np.frombuffer(pickle.dumps(value), np.uint8) if self.rank == 0 else None
        length = np.array([0 if data is None else data.size], np.int64)
        self.add(length)
        buffer = np.empty(int(length[0]), np.uint8) if data is None else data
        return pickle.loads(self.spread(buffer).tobytes())

    def spread(self, array: np.ndarray) -> np.ndarray:
        """The array of process 0, on all of them; others give one of its shape and dtype.

        Raises:
            DistributedError: a process has ended, or does not come in time.
        """
        import torch

        copy = np.array(array, order="C")
        if copy.size == 0:
            return copy
        tensor = torch.from_numpy(copy.reshape(-1).view(np.uint8))
        source = self._transport.get_global_rank(self._handle, 0)
        self._exchange(lambda: self._transport.broadcast(tensor, source, group=self._handle))
        return copy

    def gather(self, value: object) -> list:
        """The small values of all processes, by their numbers, on each.

        Raises:
            DistributedError: a process has ended, or does not come in time.
        """
        found: list = [None] * self.size
        self._exchange(lambda: self._transport.all_gather_object(found, value, group=self._handle))
        return found

    def _exchange(self, run) -> None:
        if self.failure is not None:
            raise self.failure
        begin = time.perf_counter()
        try:
            run()
        except RuntimeError as error:  # as gloo raises it
            took = time.perf_counter() - begin
            self.failure = DistributedError(
                f"Process {self.rank} of {self.size} waited {took:.1f} s in exchange "
                f"{self.exchanges}, and another process has ended, or is later than the "
                f"{self._timeout:.0f} s of the setting collective_timeout; its own output says "
                "why. The weights here are those of the last whole step. Start all processes "
                "again: BackupAndRestore goes on from its last checkpoint. The transport said: "
                f"{error}"
            )
            raise self.failure from error
        self.exchanges += 1
        self.seconds += time.perf_counter() - begin

    def close(self) -> None:
        """Closes the connections, without waiting for the others."""
        if self._transport.is_initialized():
            self._transport.destroy_process_group(self._handle)


def _fill(flat, arrays, weight) -> None:
    """Writes `weight * array` of each array into `flat`, one after the other."""
    begin = 0
    for array in arrays:
        part = flat[begin : begin + array.size]
        begin += array.size
        if not weight:
            part[...] = 0
        elif weight == 1:
            part[...] = array.reshape(-1)
        else:
            np.multiply(array.reshape(-1), flat.dtype.type(weight), out=part, casting="same_kind")
