"""What importing costs: pairs of fresh processes, whole, from start to exit.

    python benchmarks/import_time.py [--rounds 10] [--json FILE]

`import kerasvino; import keras` against `import keras` with the bundled OpenVINO backend, and
`import kerasvino` alone against what it stands on, `import openvino, numpy`. The two processes of
a pair follow each other, in turns of order; the ratio is the median over the pairs.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from _common import environment, parser, report

PAIRS = (
    (("kerasvino", "import kerasvino; import keras"), ("bundled", "import keras")),
    (("kerasvino", "import kerasvino"), ("bundled", "import openvino, numpy")),
)


def seconds(role: str, code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=environment(role), check=True)
    return time.perf_counter() - start


def measure(pair, rounds: int) -> list[tuple[float, float]]:
    """(ours, theirs) in seconds, a pair for each round; the first processes only warm the disk."""
    for role, code in pair:
        seconds(role, code)
    found = []
    for turn in range(rounds):
        order = pair if turn % 2 else pair[::-1]
        taken = {side: seconds(*side) for side in order}
        found.append((taken[pair[0]], taken[pair[1]]))
    return found


def main() -> None:
    options = parser(__doc__.partition("\n")[0], ("kerasvino", "bundled"))
    options.set_defaults(rounds=10)
    arguments = options.parse_args()
    rows, data = [], []
    for pair in PAIRS:
        found = measure(pair, arguments.rounds)
        ours, theirs = (statistics.median(column) for column in zip(*found, strict=True))
        ratio = statistics.median(a / b for a, b in found)
        rows.append([pair[0][1], f"{ours:.3f}", pair[1][1], f"{theirs:.3f}", f"{ratio:.2f}"])
        data.append({"ours": pair[0][1], "theirs": pair[1][1], "seconds": found, "ratio": ratio})
    columns = ["ours", "s", "theirs", "s", "ours / theirs"]
    report(f"Import, medians of {arguments.rounds} pairs", columns, rows, arguments.json, data)


if __name__ == "__main__":
    main()
