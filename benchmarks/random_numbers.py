"""A million random numbers in a compiled program against NumPy's Philox generator on the host.

    python benchmarks/random_numbers.py [--limit 4] [--rounds 15] [--json FILE]

Both in one process, in turns; float32 from either, and the array of it. Ends with code 1 when the
median ratio of uniform or normal numbers exceeds the limit.
"""

from __future__ import annotations

import sys

import numpy as np
from _common import import_keras, median, paired_ratio, parser, report, time_calls

COUNT = 1_000_000


def calls(keras):
    """Distribution -> (compiled program, NumPy's function), both without arguments."""
    from kerasvino.backend.jit import jit

    generator = keras.random.SeedGenerator(1)
    philox = np.random.Generator(np.random.Philox(1))

    def compiled(draw):
        program = jit(lambda: draw((COUNT,), seed=generator))
        return lambda: program().numpy()

    random = keras.random
    return {
        "uniform": (
            compiled(random.uniform),
            lambda: philox.random(COUNT, dtype=np.float32),
        ),
        "normal": (
            compiled(random.normal),
            lambda: philox.standard_normal(COUNT, dtype=np.float32),
        ),
        "integers": (
            compiled(lambda shape, seed: random.randint(shape, -(2**31), 2**31, seed=seed)),
            lambda: philox.integers(-(2**31), 2**31, COUNT, dtype=np.int32),
        ),
    }


def main() -> int:
    arguments = parser(__doc__, ("kerasvino",))
    arguments.add_argument("--limit", type=float, default=4.0, help="of the ratios")
    arguments.set_defaults(rounds=15)
    options = arguments.parse_args()
    keras = import_keras("kerasvino")
    rows, data = [], []
    for name, (ours, numpy) in calls(keras).items():
        ours()
        found = {"kerasvino": [], "numpy": []}
        for _ in range(options.rounds):
            found["kerasvino"].append(time_calls(ours, samples=3))
            found["numpy"].append(time_calls(numpy, samples=3))
        milli = {who: median(rounds) * 1e3 for who, rounds in found.items()}
        ratio = paired_ratio(found["kerasvino"], found["numpy"])
        rows.append([name, *(f"{value:.2f}" for value in milli.values()), f"{ratio:.2f}"])
        data.append({"distribution": name, "milliseconds": milli, "ratio": ratio})
    columns = ["ms for 1,000,000", "kerasvino", "NumPy Philox", "ours / NumPy"]
    report("Random numbers in float32 and int32, medians", columns, rows, options.json, data)
    return int(any(row["ratio"] > options.limit for row in data))


if __name__ == "__main__":
    sys.exit(main())
