"""Training by one process with two threads beside two processes with one each, in turns.

    python benchmarks/distributed.py [--networks MLP Transformer ResNet50] [--json FILE]
    python benchmarks/distributed.py --transports        gloo beside MPI (pip install mpi4py mpich)

Both train the same network on the same global batches. The parts of a step that are spent in
exchanges, waiting for the other process included, are shown beside the samples per second.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Network -> (global batch, steps of one turn)
NETWORKS = {"MLP": (256, 40), "Transformer": (16, 6), "ResNet50": (16, 4)}
SIZES = [2**n for n in range(8, 28, 2)]  # bytes of an exchange


def network(name):
    """(model, x, y) for one global batch."""
    import keras
    from networks import encoder

    layers = keras.layers
    draw = np.random.default_rng(0)
    batch = NETWORKS[name][0]
    if name == "MLP":
        widths = [layers.Dense(n, "relu") for n in (1024, 1024, 1024)]
        model = keras.Sequential([keras.Input((784,)), *widths, layers.Dense(10)])
    elif name == "Transformer":
        inner = encoder(keras)
        x = layers.GlobalAveragePooling1D()(inner.output)
        model = keras.Model(inner.input, layers.Dense(10)(x))
    else:
        model = keras.applications.ResNet50(
            weights=None, input_shape=(96, 96, 3), classes=10, classifier_activation=None
        )
    x = draw.standard_normal((batch, *model.input_shape[1:])).astype("float32")
    y = draw.integers(0, 10, (batch,)).astype("int32")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), loss)
    return model, x, y


def work(name: str, rank: int, size: int, port: int) -> None:
    """A worker: for each line on stdin it trains for a turn, and says how long it took."""
    import kerasvino

    import keras  # isort: skip

    keras.utils.set_random_seed(0)
    kerasvino.config.set(threads=2 // size)
    group = None
    if size > 1:
        keras.distribution.initialize(f"127.0.0.1:{port}", size, rank)
        scope = keras.distribution.DataParallel(auto_shard_dataset=False)
        keras.distribution.set_distribution(scope)
        from kerasvino.distribution import current

        group = current()
    model, x, y = network(name)
    steps = NETWORKS[name][1]
    part = len(x) // size
    x, y = (np.concatenate([a[rank * part : (rank + 1) * part]] * steps) for a in (x, y))
    for _ in range(2):
        model.fit(x[: 2 * part], y[: 2 * part], part, verbose=0, shuffle=False)
    print(json.dumps({"parameters": model.count_params()}), flush=True)

    class Clock(keras.callbacks.Callback):
        """Begins with the first step, after processes have given each other their weights."""

        def on_train_batch_begin(self, batch, logs=None):
            if batch == 0:
                self.before = counted()

    def counted():
        spent = (group.seconds, group.exchanges) if group is not None else (0, 0)
        return time.perf_counter(), *spent

    clock = Clock()
    for _ in sys.stdin:
        model.fit(x, y, part, verbose=0, shuffle=False, callbacks=[clock])
        seconds, exchanging, exchanges = (
            after - before for after, before in zip(counted(), clock.before, strict=True)
        )
        print(
            json.dumps(
                {
                    "seconds": seconds / steps,
                    "exchanging": exchanging / steps,
                    "exchanges": exchanges / steps,
                }
            ),
            flush=True,
        )


def exchange(transport: str, rank: int, size: int, port: int) -> None:
    """Prints the median seconds of a sum over the processes, by its bytes."""
    if transport == "gloo":
        sys.path.insert(0, str(ROOT))
        from kerasvino.distribution import Place, join

        add = join(Place("127.0.0.1", port, size, rank), 60).add
    else:
        from mpi4py import MPI

        def add(buffer):
            MPI.COMM_WORLD.Allreduce(MPI.IN_PLACE, buffer)

        rank = MPI.COMM_WORLD.Get_rank()
    found = {}
    for count in SIZES:
        buffer = np.zeros(count // 4, np.float32)
        times = []
        for _ in range(30 if count < 2**22 else 8):
            start = time.perf_counter()
            add(buffer)
            times.append(time.perf_counter() - start)
        found[count] = statistics.median(times)
    if rank == 0:
        print(json.dumps(found), flush=True)


def _started(*arguments, launcher=()):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KERAS")}
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": path}
    return subprocess.Popen(
        [*launcher, sys.executable, __file__, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=environment,
    )  # fmt: skip


def _port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def compared(name: str, rounds: int) -> dict:
    """Medians of the turns of one process and of two."""
    groups = {
        size: [_started("--work", name, rank, size, port) for rank in range(size)]
        for size, port in ((1, _port()), (2, _port()))
    }
    found: dict = {size: [] for size in groups}
    try:
        for workers in groups.values():
            ready = [json.loads(worker.stdout.readline()) for worker in workers]
        for _ in range(rounds):
            for size, workers in groups.items():
                for worker in workers:
                    worker.stdin.write("go\n")
                    worker.stdin.flush()
                turns = [json.loads(worker.stdout.readline()) for worker in workers]
                found[size].append(max(turns, key=lambda turn: turn["seconds"]))
    finally:
        for workers in groups.values():
            for worker in workers:
                worker.kill()
                worker.wait()
    batch = NETWORKS[name][0]
    row = {"parameters": ready[0]["parameters"], "batch": batch}
    for size, turns in found.items():
        seconds = statistics.median(turn["seconds"] for turn in turns)
        row[f"seconds_{size}"] = seconds
        row[f"samples_{size}"] = batch / seconds
    row["exchanging"] = statistics.median(turn["exchanging"] for turn in found[2])
    row["exchanges"] = found[2][0]["exchanges"]
    row["ratio"] = row["samples_2"] / row["samples_1"]
    return row


def transports() -> dict:
    """Seconds of an exchange of two processes, by transport and bytes."""
    port = _port()
    found = {}
    workers = [_started("--exchange", "gloo", rank, 2, port) for rank in range(2)]
    found["gloo"] = json.loads(workers[0].communicate(timeout=120)[0])
    workers[1].communicate()
    beside = pathlib.Path(sys.executable).with_name("mpirun")
    mpirun = shutil.which("mpirun") or str(beside)
    worker = _started("--exchange", "mpi", 0, 2, 0, launcher=(mpirun, "-n", "2"))
    said = worker.communicate(timeout=120)[0].strip().splitlines()
    if said:
        found["mpi"] = json.loads(said[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="a file that the figures are added to")
    parser.add_argument("--transports", action="store_true")
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--exchange", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    for role, run in ((given.work, work), (given.exchange, exchange)):
        if role:
            run(role[0], *map(int, role[1:]))
            return
    found: dict = {}
    if given.transports:
        found["transports"] = transports()
        print(
            "| bytes |",
            " | ".join(found["transports"]),
            "|\n|---|",
            "---|" * len(found["transports"]),
        )
        for count in SIZES:
            times = [t[str(count)] for t in found["transports"].values()]
            print(f"| {count} |", " | ".join(f"{1e6 * t:.0f} us" for t in times), "|")
    else:
        print(
            "| network | 1 process x 2 threads | 2 x 1 | ratio | exchanging |\n"
            "|---|---|---|---|---|"
        )
        for name in given.networks:
            row = found[name] = compared(name, given.rounds)
            print(
                f"| {name} | {row['samples_1']:.1f} samples/s | {row['samples_2']:.1f} | "
                f"{row['ratio']:.2f} | {1e3 * row['exchanging']:.1f} of "
                f"{1e3 * row['seconds_2']:.1f} ms |",
                flush=True,
            )
    if given.json:
        path = pathlib.Path(given.json)
        before = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**before, **found}, indent=1) + "\n")


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    main()
