"""One of the processes of a test: `python -m tests.distribution.worker NAME FOLDER RANK SIZE PORT`.

What NAME returns is pickled to FOLDER/RANK.
"""

import contextlib
import os
import pathlib
import pickle
import signal
import sys
import time

import kerasvino  # before keras: selects the backend

import keras  # isort: skip
import numpy as np

from tests.distribution import cases


def few(rank, size):
    """The cases of `make test`, one after the other."""
    return {case: cases.trained(case, rank, size) for case in cases.FEW}


def rest(rank, size):
    """The other cases."""
    return {case: cases.trained(case, rank, size) for case in cases.CASES if case not in cases.FEW}


def uneven(rank, size):
    """Processes with unlike numbers of samples and batches, compiled and eagerly."""
    x, y = cases._numbers(23, 12), cases._classes(23)
    rows = np.r_[0:4, 8:12, 16:20] if rank == 0 else np.r_[4:8, 12:16, 20:23]
    if size == 1:
        rows = np.r_[0:23]
    found = {}
    if size > 1:
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(auto_shard_dataset=False)
        )
    for eagerly in (False, True):
        keras.utils.set_random_seed(7)
        model, _, _ = cases.mlp(keras.optimizers.SGD(0.1))
        model.run_eagerly = eagerly
        logs = model.fit(x[rows], y[rows], 8 // size, epochs=2, shuffle=False, verbose=0)
        model.fit(x[rows[:3]] if rank else x[rows], y[rows[:3]] if rank else y[rows], 3, verbose=0)
        found[eagerly] = logs.history, model.get_weights(), len(model.predict(x[rows], verbose=0))
    return found


EPOCHS = 4


class Mishap(keras.callbacks.Callback):
    """What befalls process 1 in the third epoch; notes when each step ended, and the weights."""

    def __init__(self, befall):
        super().__init__()
        self._befall = befall
        self._epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.last, self.weights = time.monotonic(), self.model.get_weights()
        if self._befall is not None and (self._epoch, batch) == (2, 3):
            self._befall()


def checkpointed(rank, size, befall=None, folder=None):
    """Weights and seconds waited: None where the training came to its end."""
    keras.utils.set_random_seed(7)
    model, x, y = cases.mlp(cases._adam())
    callbacks = [Mishap(befall if rank == 1 else None)]
    if folder is not None:
        callbacks.append(keras.callbacks.BackupAndRestore(str(folder / f"backup{rank}")))
    x, y = (cases.part(a[: 8 * cases.BATCH], rank, size) for a in (x, y))
    scope = cases.parallel() if size > 1 else contextlib.nullcontext()
    with scope:
        try:
            model.fit(
                x, y, cases.BATCH // size, epochs=EPOCHS, shuffle=False, verbose=0,
                callbacks=callbacks,
            )  # fmt: skip
        except kerasvino.errors.DistributedError as error:
            waited = time.monotonic() - callbacks[0].last
            print(f"{type(error).__name__} after {waited:.1f} s: {error}", flush=True)
            for one, other in zip(model.get_weights(), callbacks[0].weights, strict=True):
                assert one.tobytes() == other.tobytes()
            return model.get_weights(), waited
    return model.get_weights(), None


def killed(rank, size):
    return checkpointed(rank, size, lambda: os.kill(os.getpid(), signal.SIGKILL), _folder())


def resumed(rank, size):
    return checkpointed(rank, size, None, _folder())


def late(rank, size):
    return checkpointed(rank, size, lambda: time.sleep(20))


def _folder():
    return pathlib.Path(sys.argv[2])


def main(name, folder, rank, size, port):
    rank, size = int(rank), int(size)
    keras.distribution.initialize(f"127.0.0.1:{port}", size, rank)
    result = globals()[name](rank, size)
    pathlib.Path(folder, str(rank)).write_bytes(pickle.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
