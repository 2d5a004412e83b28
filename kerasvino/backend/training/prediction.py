"""The loop of `predict`: batches are loaded while others run, outputs land in one array.

A batch is begun as soon as its data are there and collected when the next one has been loaded;
those cut out of arrays, which takes no time, run on the calling thread.
Where the device works on several requests at a time (performance "throughput"), so many are under
way. Callbacks see begin and end of each batch in its order. One that may assign weights or stop the
loop is awaited: a batch is over, and its end has been heard, before the next one is loaded.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from kerasvino.backend.jit import Ended
from kerasvino.backend.keras_private import ArrayDataAdapter, tree
from kerasvino.backend.training.data import concatenated, owned
from kerasvino.backend.training.hooks import are_awaited, batch_hooks

__all__ = ["run_batches", "starter"]


def run_batches(model, run, iterator, callbacks):
    """Outputs for all of the iterator's batches, joined, as NumPy arrays; None without a batch.

    Args:
        model: its `stop_predicting` ends the loop.
        run: what `make_predict_function` returns.
        iterator: an EpochIterator.
        callbacks: a CallbackList.
    """
    start = starter(run)
    # an adapter of arrays cuts a new one for each batch; what others yield may be written again
    # by the code that loads the next
    from_arrays = isinstance(iterator.data_adapter, ArrayDataAdapter)
    load = list if from_arrays else owned
    gathered = _Outputs(iterator)
    ahead = (iterator.data_adapter.num_batches or 2) - 1  # an only batch is run by this thread
    begin, end = batch_hooks(callbacks, "predict")
    one_by_one = are_awaited(callbacks, "predict")
    if one_by_one:
        ahead = 0
    waiting: deque = deque()

    def collect():
        last, pending = waiting.popleft()
        outputs = gathered.add(pending.arrays())
        end(last, {"outputs": outputs})

    for first, last, batches in iterator:
        while waiting and len(waiting) >= waiting[0][1].parallel:
            collect()
        begin(first)
        batches = load(batches)
        # a slice takes no time worth handing the run over to another thread
        overlap = not (from_arrays or one_by_one)
        pending = start(batches, gathered.places(batches), ahead, overlap=overlap)
        waiting.append((last, pending))
        if one_by_one:
            collect()
        if model.stop_predicting:
            break
    while waiting:
        collect()
    return gathered.joined()


def starter(run):
    """`run`, what `make_predict_function` returns, as `start(batches, into, ahead=1, …)`."""
    return getattr(run, "start", None) or (lambda batches, into, ahead=1, **_: Ended(run(batches)))


class _Outputs:
    """Outputs of the batches, in arrays for all samples when their number is known."""

    def __init__(self, iterator):
        self._batches = []
        self._whole = None
        self._begun = self._added = 0
        known = iterator.data_adapter.num_batches
        if iterator.steps_per_epoch or iterator.steps_per_execution > 1:
            known = None
        self._count = known

    def places(self, batches) -> list[np.ndarray] | None:
        """Where the outputs for the next batch may be written."""
        rows = len(next(leaf for leaf in tree.flatten(batches) if leaf is not None))
        begin, self._begun = self._begun, self._begun + rows
        if self._whole is None:
            return None
        return [array[begin : self._begun] for array in self._whole]

    def add(self, outputs):
        """Takes in the outputs of the next batch; returns them."""
        flat = tree.flatten(outputs)
        if not self._batches and self._count is not None and self._count > 1:
            self._allocate(flat)
        self._batches.append(outputs)
        if self._whole is not None:
            self._place(flat)
        return outputs

    def _allocate(self, flat):
        shapes = [np.shape(array) for array in flat]
        if all(shapes) and len({shape[0] for shape in shapes}) == 1 and shapes[0][0]:
            rows = shapes[0][0] * self._count
            self._whole = [
                np.empty((rows, *shape[1:]), array.dtype)
                for array, shape in zip(flat, shapes, strict=True)
            ]

    def _place(self, flat):
        """Copies what was not written in place; gives up where the batches do not fit together."""
        rows = np.shape(flat[0])[:1]
        span = slice(self._added, self._added + (rows[0] if rows else 0))
        for array, whole in zip(flat, self._whole, strict=True):
            place = whole[span]
            if array.shape != place.shape or array.dtype != place.dtype:
                self._whole = None
                return
            if array.ctypes.data != place.ctypes.data:
                place[...] = array
        self._added = span.stop
        self._batches[-1] = tree.pack_sequence_as(self._batches[-1], [w[span] for w in self._whole])

    def joined(self):
        if not self._batches:
            return None
        if self._whole is None or len(self._batches) == 1:
            return concatenated(self._batches)
        return tree.pack_sequence_as(self._batches[0], [w[: self._added] for w in self._whole])
