"""The cost of single operations called on values: no compiled function, no model.

    python benchmarks/eager.py [--roles numpy,kerasvino] [--rounds 5] [--json FILE]

Every call ends with its result computed: the bundled OpenVINO backend is lazy, and is asked for
the array. Ratios are taken within a round of turns, then the median over the rounds.
"""

from __future__ import annotations

import numpy as np
from _common import (
    ROLES,
    Worker,
    import_keras,
    median,
    paired_ratio,
    parser,
    report,
    serve,
    time_calls,
)

SIZES = (4, 512)
LAZY = ("bundled",)


def operations(keras, size: int):
    """Name -> call without arguments, on a float32 matrix of edge `size`."""
    ops = keras.ops
    x = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(size, size)).astype("float32"))
    dense = keras.layers.Dense(size)
    dense.build((None, size))
    return {
        "ops.add(x, x)": lambda: ops.add(x, x),
        "float(ops.sum(ops.multiply(x, 2.)))": lambda: float(ops.sum(ops.multiply(x, 2.0))),
        "ops.softmax(x)": lambda: ops.softmax(x),
        "ops.ravel(x)": lambda: ops.ravel(x),
        "dense(x)": lambda: dense(x),
    }


def work(role: str) -> None:
    keras = import_keras(role)
    calls = {size: operations(keras, size) for size in SIZES}

    def forced(call):
        return lambda: keras.ops.convert_to_numpy(call())

    def answer(operation: str, size: int):
        call = calls[size][operation]
        if role in LAZY and not operation.startswith("float"):
            call = forced(call)
        call()
        return time_calls(call, samples=7, at_least=0.005)

    serve(lambda **request: answer(**request) if request else list(calls[SIZES[0]]))


def main() -> None:
    options = parser(__doc__, ("numpy", "kerasvino", "torch", "bundled")).parse_args()
    if options.role:
        work(options.role)
        return
    workers = [Worker(__file__, role) for role in options.roles]
    ready = [worker.ask() for worker in workers]  # waits until the last one has started
    names = ready[0]
    figures = {
        (size, name): {role: [] for role in options.roles} for size in SIZES for name in names
    }
    for _ in range(options.rounds):
        for (size, name), found in figures.items():
            for worker in workers:
                found[worker.role].append(worker.ask(operation=name, size=size))
    for worker in workers:
        worker.close()

    ratios = {"ours / numpy": ("kerasvino", "numpy"), "ours / torch": ("kerasvino", "torch")}
    ratios["bundled / ours"] = ("bundled", "kerasvino")
    ratios = {key: pair for key, pair in ratios.items() if set(pair) <= set(options.roles)}
    rows, data = [], []
    for (size, name), found in figures.items():
        micro = {role: median(rounds) * 1e6 for role, rounds in found.items()}
        ratio = {key: paired_ratio(found[a], found[b]) for key, (a, b) in ratios.items()}
        rows.append([f"{name} {size}x{size}", *(f"{value:,.2f}" for value in micro.values())])
        rows[-1] += [f"{value:,.2f}" for value in ratio.values()]
        data.append({"operation": name, "size": size, "microseconds": micro, "ratios": ratio})
    columns = ["µs per call", *(ROLES[role][2] for role in options.roles), *ratios]
    report("Eager operations, float32, medians", columns, rows, options.json, data)


if __name__ == "__main__":
    main()
