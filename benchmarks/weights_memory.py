"""What the weights of a model take, in each process of a server and in all of them together.

    python benchmarks/weights_memory.py [--processes 2] [--width 4096] [--layers 4] [--json FILE]

Each process builds the same model of Dense layers, predicts a batch of 40, one of 4 (padded, on the
same program) and one of 50 (another shape). The figures are what came on top of an empty process:
memory that is the process's own (unique set size), and the sum over the processes with shared pages
counted once (proportional set size). With `share_weights` and without. Linux only.
"""

from __future__ import annotations

import gc
import os
import pathlib
import sys
import tempfile

import numpy as np
import psutil
from _common import Worker, import_keras, parser, report, serve

MEBIBYTE = 2**20
STEPS = ("empty", "built", "weights", "predict 40", "predict 4", "predict 50")
PREDICTS = {"predict 40": 40, "predict 4": 4, "predict 50": 50}


def worker(role: str) -> None:
    """Does one step of `STEPS` for each request, and says what memory is in use."""
    keras = import_keras(role)
    import kerasvino

    held: dict = {}

    def answer(step, width, layers, path):
        if step == "built":
            kinds = [keras.layers.Dense(width, kernel_initializer="ones") for _ in range(layers)]
            held["model"] = keras.Sequential([keras.Input((width,)), *kinds])
        elif step == "weights" and path is not None:
            kerasvino.share_weights(held["model"], path)
        elif step in PREDICTS:
            held["model"].predict_on_batch(np.ones((PREDICTS[step], width), "float32"))
        gc.collect()
        found = psutil.Process().memory_full_info()
        return {"own": found.uss / MEBIBYTE, "proportional": found.pss / MEBIBYTE}

    serve(answer)


def measured(processes: int, width: int, layers: int, path: str | None) -> dict:
    """Mebibytes after each step beyond the empty processes: own, of the first; together, of all."""
    workers = [Worker(__file__, "kerasvino") for _ in range(processes)]
    found: dict = {"own": [], "together": []}
    try:
        for step in STEPS:
            for each in workers:
                each.ask(step=step, width=width, layers=layers, path=path)
            # once all are there: pages are shared among those that have them
            now = [each.ask(step="", width=width, layers=layers, path=path) for each in workers]
            found["own"].append(now[0]["own"])
            found["together"].append(sum(memory["proportional"] for memory in now))
    finally:
        for each in workers:
            each.close()
    return {kind: [value - values[0] for value in values] for kind, values in found.items()}


def main() -> int:
    arguments = parser(__doc__.splitlines()[0], ())
    arguments.add_argument("--processes", type=int, default=2)
    arguments.add_argument("--width", type=int, default=4096)
    arguments.add_argument("--layers", type=int, default=4)
    options = arguments.parse_args()
    if options.role:
        worker(options.role)
        return 0
    rows, data = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for name, path in (
            ("each its own", None),
            ("share_weights", os.fspath(pathlib.Path(folder, "weights"))),
        ):
            found = measured(options.processes, options.width, options.layers, path)
            data[name] = {kind: dict(zip(STEPS, found[kind], strict=True)) for kind in found}
            for kind, title in (("own", "own of a process"), ("together", "all processes")):
                rows.append([f"{name}, {title}", *(f"{value:.0f}" for value in found[kind][1:])])
    size = options.layers * options.width**2 * 4 / MEBIBYTE
    title = f"MiB of a model with {size:.0f} MiB of weights, {options.processes} processes"
    report(title, ["", *STEPS[1:]], rows, options.json, data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
