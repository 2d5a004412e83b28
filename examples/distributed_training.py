"""Training on several processes, on one machine or many, each with its part of every batch.

    pip install "kerasvino[distributed]"
    torchrun --nproc-per-node 2 examples/distributed_training.py
    export KERAS_DISTRIBUTION_JOB_ADDRESSES=127.0.0.1:29500
    mpirun -n 2 python examples/distributed_training.py

or by hand, one line for each process:

    python examples/distributed_training.py --address 127.0.0.1:29500 --processes 2 --process 0
    python examples/distributed_training.py --address 127.0.0.1:29500 --processes 2 --process 1

On several machines: `torchrun --nnodes 4 --node-rank … --master-addr … --nproc-per-node 1`, and
the like. When a process dies, all end with an error; start them again with the same --checkpoint,
and they go on from the last epoch. Each process writes its own copy of the checkpoint; that of
process 0 counts.
"""

from __future__ import annotations

import argparse
import os

import kerasvino  # before keras: selects the backend

import keras  # isort: skip
import numpy as np

ROWS, BATCH = 2048, 64  # a batch of all processes together


def data(process: int, processes: int):
    """The rows of one process: of each batch of 64 its share, in the order of the batches."""
    draw = np.random.default_rng(0)
    x = draw.standard_normal((ROWS, 16)).astype("float32")
    y = (np.abs(x).sum(axis=1) > 12.7).astype("int32")
    mine = np.arange(ROWS).reshape(-1, processes, BATCH // processes)[:, process].ravel()
    return x[mine], y[mine]


def network() -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input((16,)),
            keras.layers.Dense(64, "relu"),
            keras.layers.Dropout(0.1),
            keras.layers.Dense(1, "sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(5e-3), "binary_crossentropy", metrics=["accuracy"])
    return model


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", help="host:port of process 0, where no launcher names it")
    parser.add_argument("--processes", type=int)
    parser.add_argument("--process", type=int)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--checkpoint", help="a folder, to go on from after a failure")
    given = parser.parse_args(arguments)

    keras.utils.set_random_seed(0)  # the same weights on each process
    kerasvino.config.set(threads=1)
    keras.distribution.initialize(given.address, given.processes, given.process)
    distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
    keras.distribution.set_distribution(distribution)
    process, processes = distribution.data_shard_id, distribution.num_processes

    model = network()
    callbacks = []
    if given.checkpoint:
        folder = os.path.join(given.checkpoint, str(process))
        callbacks.append(keras.callbacks.BackupAndRestore(folder))
    history = model.fit(
        *data(process, processes), BATCH // processes, epochs=given.epochs, shuffle=False,
        verbose=0, callbacks=callbacks,
    )  # fmt: skip
    accuracy = history.history["accuracy"][-1]
    print(f"process {process} of {processes}: accuracy {accuracy:.4f}", flush=True)
    return accuracy


if __name__ == "__main__":
    main()
