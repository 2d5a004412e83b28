"""One model, many threads: are all results those of one thread, and how many come in a second?

    python benchmarks/threads.py [--network MobileNetV3Small] [--threads 8] [--calls 1000]

Every thread predicts its own image again and again by `predict_on_batch`, with the default settings
and with `performance="throughput"`. Ends with code 1 when a result differs from what the same
image gave on one thread.
"""

from __future__ import annotations

import threading
import time

import numpy as np
from _common import NETWORKS, build, choice, images, import_keras, parser, report


def run(model, inputs: list[np.ndarray], calls: int) -> tuple[float, int]:
    """Seconds with one thread for each input, and how many results were others than on one."""
    expected = [model.predict_on_batch(x) for x in inputs]
    wrong = [0] * len(inputs)

    def work(index: int) -> None:
        for _ in range(calls):
            found = model.predict_on_batch(inputs[index])
            wrong[index] += not np.array_equal(found, expected[index])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(inputs))]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start, sum(wrong)


def main() -> None:
    arguments = parser(__doc__.partition("\n")[0], ("kerasvino",))
    arguments.add_argument(
        "--network", type=lambda text: choice(text, NETWORKS)[0], default="MobileNetV3Small"
    )
    arguments.add_argument("--threads", type=int, default=8)
    arguments.add_argument("--calls", type=int, default=1000, help="of each thread")
    options = arguments.parse_args()
    keras = import_keras("kerasvino")
    from kerasvino import config

    edge = NETWORKS[options.network]
    model = build(keras, options.network, edge)
    inputs = [x[None] for x in images(options.threads, edge)]
    rows, data, failed = [], [], 0
    for performance in ("auto", "throughput"):
        config.set(performance=performance)
        for count in (1, options.threads):
            seconds, wrong = run(model, inputs[:count], options.calls)
            rate = count * options.calls / seconds
            rows.append([performance, str(count), f"{rate:.0f}", str(wrong)])
            data.append(
                {"performance": performance, "threads": count, "rate": rate, "wrong": wrong}
            )
            failed += wrong
    columns = ["performance", "threads", "predictions/s", "other results"]
    report(f"{options.network}, one model", columns, rows, options.json, data)
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
