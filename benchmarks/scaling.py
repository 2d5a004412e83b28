"""What was measured on one and two processes, put forth to many nodes: a table and a picture.

    python benchmarks/scaling.py docs/scaling.json [--draw docs/scaling.png] [--gigabits 25]

The file holds what `benchmarks/distributed.py --json` wrote. docs/scaling.md says what the model
leaves out.
"""

from __future__ import annotations

import argparse
import json
import math
import pathlib
from typing import NamedTuple

import numpy as np

NODES = (1, 2, 8, 64, 512)
# Of one node with two cores: rows per second of ResNet50 in float32 (docs/predict.json), and tokens
# per second of a network like GPT-2 with 45 million parameters (docs/generating.md).
ROWS, TOKENS = 30.0, 54.5
EXCHANGES = 2  # in a step: of gradients, of states
IMAGE = 224 * 224 * 3 * 4.0  # bytes of a row


class Network(NamedTuple):
    """What connects the nodes.

    Attributes:
        bandwidth: bytes per second that a node sends, while it receives as many.
        latency: seconds of one message, software included.
        storage: bytes per second that the storage gives to all nodes together.
    """

    bandwidth: float
    latency: float
    storage: float


class Training(NamedTuple):
    """A training, as it was measured on one node.

    Attributes:
        samples: of a node in a step.
        compute: seconds of a step without exchanges.
        gradients: bytes that are exchanged.
        copies: seconds of packing and unpacking them.
        exchanges: how many there are in a step.
    """

    samples: int
    compute: float
    gradients: float
    copies: float
    exchanges: float


def ring(size: float, nodes: int, network: Network) -> float:
    """Seconds in which `nodes` add up `size` bytes by a ring.

    Each node sends 2 (n - 1) pieces of size / n bytes, one after the other (Patarasuk and Yuan,
    2009, https://doi.org/10.1016/j.jpdc.2008.09.002).
    """
    if nodes == 1:
        return 0.0
    return 2 * (nodes - 1) * (network.latency + size / nodes / network.bandwidth)


def late(nodes: int, spread: float) -> float:
    """By which part of a step the last of `nodes` is later than the mean, if steps are normal.

    The expected maximum of n standard normal numbers, by its usual bound sqrt(2 ln n).
    """
    return spread * math.sqrt(2 * math.log(nodes)) if nodes > 1 else 0.0


def step(training: Training, nodes: int, network: Network, spread: float = 0.03) -> float:
    """Seconds of a step: nothing overlaps. Small exchanges cost their latency."""
    if nodes == 1:
        return training.compute
    small = (training.exchanges - 1) * ring(0, nodes, network)
    return (
        training.compute * (1 + late(nodes, spread))
        + training.copies
        + small
        + ring(training.gradients, nodes, network)
    )


def inference(rate: float, row: float, nodes: int, network: Network) -> float:
    """Rows per second: as many as the nodes compute, their cards and the storage bring."""
    return min(nodes * rate, nodes * network.bandwidth / row, network.storage / row)


def loading(weights: float, nodes: int, network: Network) -> float:
    """Seconds until all nodes have read the weights from the storage."""
    return max(weights * nodes / network.storage, weights / network.bandwidth)


def fitted(times: dict[str, float]) -> tuple[float, float]:
    """(latency, bandwidth) of two processes, from seconds by bytes: t = 2 latency + bytes / b.

    Least squares of relative errors, so that small messages count.
    """
    size = np.array([float(s) for s in times])
    seconds = np.array(list(times.values()))
    columns = np.stack([np.full_like(size, 2), size], 1) / seconds[:, None]
    (latency, inverse), *_ = np.linalg.lstsq(columns, np.ones_like(seconds), rcond=None)
    return float(max(latency, 1e-6)), float(1 / max(inverse, 1e-12))


def measured(found: dict) -> dict[str, Training]:
    """The trainings of a file of `benchmarks/distributed.py`, of one node with one thread."""
    latency, bandwidth = fitted(found["transports"]["gloo"])
    local = Network(bandwidth, latency, math.inf)
    trainings = {}
    for name, row in found.items():
        if "parameters" not in row:
            continue
        size = 4.0 * row["parameters"]
        transported = ring(size, 2, local) + (EXCHANGES - 1) * ring(0, 2, local)
        trainings[name] = Training(
            samples=row["batch"] // 2,
            compute=row["seconds_2"] - row["exchanging"],
            gradients=size,
            copies=max(row["exchanging"] - transported, 0.0),
            exchanges=EXCHANGES,
        )
    return trainings


def table(trainings: dict[str, Training], network: Network, nodes=NODES) -> str:
    """Efficiency by the number of nodes, as Markdown."""
    lines = [
        "| training | " + " | ".join(f"{n} nodes" if n > 1 else "1 node" for n in nodes) + " |",
        "|---|" + "---|" * len(nodes),
    ]
    for name, training in trainings.items():
        cells = []
        for n in nodes:
            seconds = step(training, n, network)
            rate = n * training.samples / seconds
            cells.append(f"{rate:,.0f}/s ({training.compute / seconds:.0%})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(trainings: dict[str, Training], network: Network, path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    nodes = 2 ** np.arange(0, 11)
    figure, axes = pyplot.subplots(figsize=(6, 4))
    for name, training in trainings.items():
        part = [training.compute / step(training, int(n), network) for n in nodes]
        axes.plot(nodes, part, marker="o", label=f"training, {name}")
    for rate in (ROWS, 20 * ROWS):
        part = [inference(rate, IMAGE, int(n), network) / (rate * n) for n in nodes]
        axes.plot(nodes, part, marker="s", label=f"ResNet50 inference, {rate:.0f} rows/s a node")
    axes.set(xscale="log", xlabel="nodes", ylabel="part of linear scaling", ylim=(0, 1.05))
    axes.legend()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("measured", type=pathlib.Path)
    parser.add_argument("--draw", help="a picture to write")
    parser.add_argument("--gigabits", type=float, default=25.0, help="of a node's card")
    parser.add_argument("--latency", type=float, default=50.0, help="microseconds of a message")
    parser.add_argument("--storage", type=float, default=10.0, help="gigabytes per second, of all")
    given = parser.parse_args()
    found = json.loads(given.measured.read_text())
    network = Network(0.8e9 * given.gigabits / 8, 1e-6 * given.latency, 1e9 * given.storage)
    latency, bandwidth = fitted(found["transports"]["gloo"])
    print(f"fitted: {1e6 * latency:.0f} us a message, {bandwidth / 1e9:.2f} GB/s on one machine")
    trainings = measured(found)
    for name, training in trainings.items():
        print(f"{name}: {training}")
    print(table(trainings, network))
    print("\n| nodes | ResNet50, rows/s | loading 100 MB | tokens/s | loading 14 GB |")
    print("|---" * 5 + "|")
    for n in NODES:
        print(
            f"| {n} | {inference(ROWS, IMAGE, n, network):,.0f} | {loading(1e8, n, network):.2f} s "
            f"| {n * TOKENS:,.0f} | {loading(1.4e10, n, network):.0f} s |"
        )
    if given.draw:
        draw(trainings, network, given.draw)


if __name__ == "__main__":
    main()
