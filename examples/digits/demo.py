"""Two classifiers of handwritten digits, trained with Keras on JAX and on torch, on kerasvino.

    make demo        or: python examples/digits/demo.py [--predict-only]

Predicts the images that were held out of the training, and compares with what the training backend
recorded. Then measures the speed, and in a process of its own that of Keras's own OpenVINO backend:
bundled with Keras 3.15; for 3.16 the package keras-openvino, if that is installed. Then trains: a
network from scratch, and the one from JAX by LoRA on turned digits. Ends with code 1 when a logit
is off by more than 1e-4, or an accuracy is not what it should be.
"""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np
from data import load

HERE = pathlib.Path(__file__).parent
MODELS = ("cnn_jax", "cnn_torch")
TOLERANCE = 1e-4
REPEATS = 30
BUNDLED = "--bundled"
QUICK = "--predict-only"


def predictions(keras, x: dict[str, np.ndarray]) -> dict[str, dict]:
    """Name of a model -> its logits on its images, seconds of the first and of a later predict."""
    found = {}
    for name in MODELS:
        model = keras.saving.load_model(HERE / f"{name}.keras")
        start = time.perf_counter()
        logits = model.predict(x[name], verbose=0)
        first = time.perf_counter() - start
        times = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            model.predict(x[name], verbose=0)
            times.append(time.perf_counter() - start)
        found[name] = {"logits": logits, "first": first, "later": statistics.median(times)}
    return found


def bundled_predictions(x: dict[str, np.ndarray]) -> dict[str, dict]:
    """The same by Keras's own OpenVINO backend, nothing where it is not installed.

    Run with KERAS_BACKEND=openvino.
    """
    try:
        import keras
    except ImportError as error:
        if "backend is not installed" in str(error):  # Keras 3.16
            return {}
        raise
    if "kerasvino" in sys.modules:
        sys.exit("kerasvino is enabled for this environment: run `python -m kerasvino disable`.")
    return predictions(keras, x)


def ask_bundled() -> dict[str, dict] | None:
    """Runs this script for Keras's own backend; None, with its message printed, if it fails."""
    done = subprocess.run(
        [sys.executable, __file__, BUNDLED],
        env=os.environ | {"KERAS_BACKEND": "openvino"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        print(f"Keras's own OpenVINO backend failed:\n{done.stderr[-2000:]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def check(name: str, record, logits: np.ndarray, labels: np.ndarray) -> tuple[dict, list[str]]:
    """What the table shows of a model's correctness, and what is wrong with it."""
    accuracy = float(np.mean(logits.argmax(-1) == labels))
    difference = float(np.max(np.abs(logits - record["logits"])))
    wrong = []
    if not difference <= TOLERANCE:
        wrong.append(f"{name}: logits differ by {difference:.1e}, more than {TOLERANCE:.0e}")
    if accuracy != record["accuracy"]:
        wrong.append(f"{name}: accuracy {accuracy:.4f}, recorded {record['accuracy']:.4f}")
    return {"accuracy": accuracy, "difference": difference}, wrong


def show(rows: list[list[str]], images: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Handwritten digits: {images} held-out images, batches of 32")
    columns = ["", "recorded\naccuracy", "kerasvino's\naccuracy", "largest difference\nof logits"]
    columns += ["images/s\nkerasvino", "images/s\nbundled OpenVINO", "ratio"]
    columns += ["first predict\nkerasvino", "first predict\nbundled"]
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 150).print(table)


def main() -> int:
    images, labels = load()
    records = {name: dict(np.load(HERE / f"{name}.npz")) for name in MODELS}
    x = {name: images[record["held_out"]] for name, record in records.items()}
    if BUNDLED in sys.argv[1:]:
        found = bundled_predictions(x)
        timings = {
            name: {key: value for key, value in figures.items() if key != "logits"}
            for name, figures in found.items()
        }
        print(json.dumps(timings))
        return 0

    import kerasvino  # noqa: F401, before keras
    import keras  # isort: skip

    ours, bundled = predictions(keras, x), ask_bundled()
    rows, wrong = [], []
    for name, record in records.items():
        shown, problems = check(name, record, ours[name]["logits"], labels[record["held_out"]])
        wrong += problems
        count = len(record["held_out"])
        row = [f"{name} (trained on {record['backend']})", f"{record['accuracy']:.4f}"]
        row += [f"{shown['accuracy']:.4f}", f"{shown['difference']:.1e}"]
        row.append(f"{count / ours[name]['later']:,.0f}")
        first = [f"{ours[name]['first'] * 1e3:.0f} ms"]
        if bundled:
            row.append(f"{count / bundled[name]['later']:,.0f}")
            row.append(f"{bundled[name]['later'] / ours[name]['later']:.1f}x")
            first.append(f"{bundled[name]['first'] * 1e3:.0f} ms")
        else:
            row += ["-", "-"]
            first.append("-")
        rows.append(row + first)
    show(rows, count)
    if QUICK not in sys.argv[1:]:
        import training

        wrong += training.run(keras, pathlib.Path("digits-training.png").absolute())
    for problem in wrong:
        print(problem, file=sys.stderr)
    return 1 if wrong or bundled is None else 0


if __name__ == "__main__":
    sys.exit(main())
