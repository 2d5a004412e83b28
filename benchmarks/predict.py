"""Inference side by side: ours, the other backends of Keras, and OpenVINO alone.

    python benchmarks/predict.py [--networks ResNet50,UNet] [--roles kerasvino,bundled,raw]
        [--rounds 7] [--processes 1] [--batches 1,16] [--samples 256] [--json FILE] [--plot FILE]

Each role is a process of its own with the same weights file; they take turns in rounds, so that
noise of the machine falls on all, and the ratio of a pair of rounds has a 95% interval. Keras's
backends run `model.predict_on_batch`, and `model.predict` over `--samples` samples at the largest
batch. Raw OpenVINO is the network traced from Keras on torch by `openvino.convert_model` with a
static shape: as it is written, channels-last, and built channels-first, as OpenVINO likes it best.
ONNX Runtime has the network that torch exports.

A process may be slow or fast from its start to its end (where its memory and its threads lie), and
has one first call: `--processes 7 --rounds 1` gives each role that many, in turns.

Ours, raw OpenVINO and `bundled-f32` compute in float32. The bundled backend by itself leaves the
precision to the plugin, which takes bfloat16 on processors that have it: `kerasvino-auto` does so
as well. The columns of errors tell what that costs.
"""

from __future__ import annotations

import json
import os
import pathlib
import tempfile
import time

import numpy as np
from _common import (
    NETWORKS,
    PAUSE,
    REFERENCE_BACKENDS,
    ROLES,
    WEIGHTS,
    Worker,
    build,
    choice,
    import_keras,
    interval,
    machine,
    median,
    paired_ratio,
    parser,
    reference,
    relative_difference,
    report,
    samples,
    serve,
    time_calls,
)
from networks import CUSTOM

RAW = ("raw", "raw-nchw")
# `predict` over many samples, and its batches given to `predict_on_batch` one by one
STREAMED = ("samples per second", "samples per second, batch by batch")
# of ours, which the two are compared for; of the others, up to 30 times slower, one
STREAMED_TURNS = 5
CONVERTED = (*RAW, "onnxruntime")
CHANNELS_LAST_ONLY = ("DenseNet121", "ConvNeXtTiny", "NASNetMobile", *CUSTOM)
DEFAULT_ROLES = ("kerasvino", "bundled", "bundled-f32", "raw", "raw-nchw", "jax", "tensorflow")
DEFAULT_ROLES = (*DEFAULT_ROLES, "torch", "onnxruntime")
DEFAULT_NETWORKS = (
    "ResNet50", "MobileNetV3Small", "EfficientNetB0", "DenseNet121", "ConvNeXtTiny", "InceptionV3",
    *CUSTOM,
)  # fmt: skip
EDGES = NETWORKS | {name: shape[0] for name, (shape, _) in CUSTOM.items()}


# -- in a worker


def compile_raw(keras, model, shape: tuple[int, ...]):
    """The Keras model, traced and compiled by OpenVINO for one shape, as a function of an array."""
    import openvino

    if keras.backend.backend() == "torch":
        import torch

        with torch.no_grad():
            example = torch.zeros(shape)
            # `convert_model` traces by itself, but gives up where Keras unrolls a recurrence
            traced = torch.jit.trace(model, example, check_trace=False)
            converted = openvino.convert_model(traced, example_input=example, input=[shape])
    else:
        import tensorflow as tf

        traced = tf.function(lambda x: model(x, training=False)).get_concrete_function(
            tf.TensorSpec(shape, tf.float32)
        )
        converted = openvino.convert_model(traced)
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(converted, "CPU", hints).create_infer_request()

    def predict(x):
        request.infer([x], share_inputs=True)
        return request.get_output_tensor(0).data.copy()

    return predict


def compile_onnx(model, shape: tuple[int, ...]):
    """The Keras model on torch, exported to ONNX, as a function of an array in ONNX Runtime."""
    import io

    import onnxruntime
    import torch

    file = io.BytesIO()
    with torch.no_grad():
        torch.onnx.export(model, (torch.zeros(shape),), file, dynamo=False, opset_version=17)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]


class Job:
    """A network in a worker: its model, its inputs, and what is timed."""

    def __init__(self, keras, role: str):
        self.keras, self.role = keras, role

    def prepare(self, network: str, folder: str, batch: int) -> dict:
        """Builds the network, predicts once, and compares with the reference."""
        with np.load(os.path.join(folder, "reference.npz")) as found:
            x, logits = found["x"], found["logits"]
        if self.role == "raw-nchw":
            x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        start = time.perf_counter()
        self.model = build(self.keras, network, EDGES[network])
        self.model.load_weights(os.path.join(folder, WEIGHTS))
        built = time.perf_counter()
        self.x = np.concatenate([x] * -(-batch // len(x)))[:batch]
        if self.role in RAW:
            self.predict = compile_raw(self.keras, self.model, self.x.shape)
        elif self.role == "onnxruntime":
            self.predict = compile_onnx(self.model, self.x.shape)
        else:
            self.predict = self.model.predict_on_batch
        output = np.asarray(self.predict(self.x))
        count = min(len(logits), batch)
        return {
            "build seconds": built - start,
            "first call seconds": time.perf_counter() - built,
            "difference": relative_difference(output[:count], logits[:count]),
            "memory": peak_memory(),
        }

    def time(self, calls: int) -> list[float]:
        return time_calls(lambda: self.predict(self.x), calls)

    def stream(self, network: str, count: int, turns: int) -> dict[str, list[float]]:
        """Seconds for `count` samples, of each of `STREAMED`.

        They take turns, on the same memory: where that lies changes what reading it takes.
        """
        many = samples(network, EDGES[network], count)
        batch = len(self.x)
        found: dict[str, list[float]] = {name: [] for name in STREAMED}
        self.model.predict(many[: 2 * batch], batch_size=batch, verbose=0)
        for _ in range(turns):
            start = time.perf_counter()
            for first in range(0, count, batch):
                self.model.predict_on_batch(many[first : first + batch])
            between = time.perf_counter()
            self.model.predict(many, batch_size=batch, verbose=0)
            taken = time.perf_counter() - between, between - start
            for name, seconds in zip(STREAMED, taken, strict=True):
                found[name].append(seconds)
        return found


def peak_memory() -> float:
    """Largest resident memory of this process so far, in MiB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def work(role: str) -> None:
    keras = import_keras(role)
    if role == "raw-nchw":
        keras.config.set_image_data_format("channels_first")
    job = Job(keras, role)
    serve(lambda do, **request: getattr(job, do)(**request))


# -- in the parent


def measure(network: str, batch: int, options, folder: pathlib.Path) -> dict[str, dict]:
    """Role -> figures of one network. Left out: roles that fail, with their error printed."""
    found: dict[str, dict] = {}
    roles = [r for r in options.roles if r != "raw-nchw" or network not in CHANNELS_LAST_ONLY]
    for _ in range(options.processes):
        workers = []
        for role in roles:
            worker, answer = started(role, network, batch, folder)
            if worker is not None:
                workers.append(worker)
                figures = found.setdefault(role, {"starts": [], "rounds": []})
                figures["starts"].append(answer)
        # a role that failed once is not tried again
        roles = [worker.role for worker in workers]
        for _ in range(options.rounds):
            for worker in workers:
                time.sleep(PAUSE)
                found[worker.role]["rounds"].append(worker.ask(do="time", calls=options.calls))
        if options.samples and batch == max(options.batches):
            for worker in workers:
                if worker.role not in CONVERTED:
                    turns = STREAMED_TURNS if worker.role.startswith("kerasvino") else 1
                    seconds = worker.ask(
                        do="stream", network=network, count=options.samples, turns=turns
                    )
                    found[worker.role].setdefault("streamed", []).append(seconds)
        for worker in workers:
            worker.close()
    found = {role: found[role] for role in roles}
    base = next((role for role in options.roles if role.startswith("kerasvino")), None)
    summarise(found, base, options.samples)
    return found


def started(role: str, network: str, batch: int, folder: pathlib.Path):
    """A worker that has made its first call, and what it says of it; None, None if it failed."""
    # Keras refuses to build some networks on torch; their trace comes from TensorFlow.
    instead = role in RAW and network in REFERENCE_BACKENDS
    worker = Worker(__file__, role, {"KERAS_BACKEND": "tensorflow"} if instead else None)
    try:
        return worker, worker.ask(do="prepare", network=network, folder=str(folder), batch=batch)
    except RuntimeError as error:
        print(f"{network}: {error}")
        return None, None


def summarise(found: dict[str, dict], base: str | None, count: int) -> None:
    """Adds medians, and ratios to the role `base` with their intervals, to the figures of roles."""
    for figures in found.values():
        starts = figures["starts"]
        for name in ("build seconds", "first call seconds", "memory"):
            figures[name] = median([[start[name] for start in starts]])
        figures["difference"] = max(start["difference"] for start in starts)
        if "streamed" in figures:
            many, singly = ([each[name] for each in figures["streamed"]] for name in STREAMED)
            figures |= {n: count / median(s) for n, s in zip(STREAMED, (many, singly), strict=True)}
            turns = [[[seconds] for each in side for seconds in each] for side in (singly, many)]
            compare(figures, "long predict ", *turns)
        figures["milliseconds"] = median(figures["rounds"]) * 1e3
    ours = found.get(base)
    for role, figures in found.items():
        if ours and role != base:
            compare(figures, "", figures["rounds"], ours["rounds"])
            first, our_first = (
                [[start["first call seconds"]] for start in f["starts"]] for f in (figures, ours)
            )
            compare(figures, "first call ", first, our_first)


def compare(figures: dict, what: str, seconds: list, base: list) -> None:
    """Adds how many times as long as `base` it takes, in pairs of rounds, and the interval."""
    figures[f"{what}ratio"] = paired_ratio(seconds, base)
    figures[f"{what}interval"] = interval(seconds, base)


def cached_first_calls(network: str, folder: pathlib.Path, processes: int) -> dict:
    """Our first calls in new processes, with and without their program in a cache, in turns."""
    settings = {"with": {"KERASVINO_CACHE_DIR": str(folder / "cache")}, "without": None}
    starts: dict[str, list[dict]] = {name: [] for name in settings}
    for turn in range(processes + 1):
        for name, environment in settings.items():
            worker = Worker(__file__, "kerasvino", environment)
            found = worker.ask(do="prepare", network=network, folder=str(folder), batch=1)
            worker.close()
            if turn > 0:  # the first one fills the cache
                starts[name].append(found)
    seconds = {n: [[start["first call seconds"]] for start in s] for n, s in starts.items()}
    figures: dict = {f"first calls {name}": median(rounds) for name, rounds in seconds.items()}
    figures |= {"starts": starts, "memory": median([[s["memory"] for s in starts["with"]]])}
    compare(figures, "without ", seconds["without"], seconds["with"])
    return figures


def row_of(network: str, batch: int, found: dict[str, dict], roles: list[str]) -> list[str]:
    """A line of the table: times, ratios to ours with their intervals, first calls, errors."""
    cells = [network, str(batch)]
    for role in roles:
        figures = found.get(role)
        if figures is None:
            cells.append("-")
        elif "ratio" in figures:
            cells.append(f"{figures['milliseconds']:.1f} {compared(figures, '')}")
        else:
            cells.append(f"{figures['milliseconds']:.1f}")
    return cells


def compared(figures: dict, what: str) -> str:
    """What `compare` added."""
    low, high = figures[f"{what}interval"]
    return f"({figures[f'{what}ratio']:.2f}x {low:.2f}-{high:.2f})"


def first_call_of(figures: dict | None) -> str:
    if figures is None:
        return "-"
    cell = f"{figures['first call seconds']:.3f} s"
    if "first call ratio" in figures:
        cell += f" {compared(figures, 'first call ')}"
    return f"{cell}, {figures['memory']:.1f} MiB, {figures['difference']:.0e}"


def cached_rows(data: list[dict]) -> list[list[str]]:
    """Lines of the table of first calls with and without the cache."""
    return [
        [
            entry["network"],
            f"{found['first calls with']:.3f} s, {found['memory']:.1f} MiB",
            f"{found['first calls without']:.3f} s {compared(found, 'without ')}",
        ]
        for entry in data
        if (found := entry["roles"].get("kerasvino", {}).get("cached"))
    ]


def geometric_means(data: list[dict], roles: list[str]) -> list[str]:
    lines = []
    for batch in sorted({entry["batch"] for entry in data}):
        for role in roles:
            ratios = [
                entry["roles"][role]["ratio"]
                for entry in data
                if entry["batch"] == batch and "ratio" in entry["roles"].get(role, {})
            ]
            if ratios:
                mean = float(np.exp(np.mean(np.log(ratios))))
                lines.append(
                    f"batch {batch}: {role} takes {mean:.2f} times as long as ours "
                    f"(geometric mean of {len(ratios)}; least {min(ratios):.2f})"
                )
    return lines


def plot(data: list[dict], path: pathlib.Path) -> None:
    """Bars: time of each role over ours, by network, one panel for each batch size."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    batches = sorted({entry["batch"] for entry in data})
    figure, axes = pyplot.subplots(len(batches), 1, figsize=(12, 4 * len(batches)), squeeze=False)
    for axis, batch in zip(axes[:, 0], batches, strict=True):
        entries = [entry for entry in data if entry["batch"] == batch]
        roles = [role for role, figures in entries[0]["roles"].items() if "ratio" in figures]
        width = 0.8 / max(len(roles), 1)
        for number, role in enumerate(roles):
            heights = [entry["roles"].get(role, {}).get("ratio", 0) for entry in entries]
            places = np.arange(len(entries)) + number * width
            axis.bar(places, heights, width, label=ROLES[role][2])
        axis.axhline(1, color="black", linewidth=0.8)
        axis.set_xticks(np.arange(len(entries)) + 0.4, [e["network"] for e in entries], rotation=20)
        axis.set_ylabel("time / kerasvino's")
        axis.set_title(f"predict, batch {batch} (above the line: slower than kerasvino)")
        axis.legend(fontsize=8, ncols=4)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    arguments = parser(__doc__.splitlines()[0], DEFAULT_ROLES)
    arguments.add_argument("--networks", type=lambda text: choice(text, EDGES))
    arguments.add_argument(
        "--batches", type=lambda text: [int(n) for n in text.split(",")], default=[1, 16]
    )
    arguments.add_argument("--calls", type=int, default=5, help="predictions in a turn")
    arguments.add_argument("--samples", type=int, default=256, help="of predict; 0 for none")
    arguments.add_argument("--processes", type=int, default=1, help="of each role, in turns")
    arguments.add_argument("--cache", action="store_true", help="time a cached first call too")
    arguments.add_argument("--plot", type=pathlib.Path, help="write a picture to this file")
    options = arguments.parse_args()
    if options.role:
        work(options.role)
        return
    rows, data = [], []
    for network in options.networks or DEFAULT_NETWORKS:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            reference(network, EDGES[network], 4, folder)
            for batch in options.batches:
                found = measure(network, batch, options, folder)
                if options.cache and batch == min(options.batches):
                    found["kerasvino"]["cached"] = cached_first_calls(
                        network, folder, options.processes
                    )
                rows.append(row_of(network, batch, found, options.roles))
                data.append({"network": network, "batch": batch, "roles": found})
                print(*rows[-1], flush=True)
                if options.json:
                    options.json.write_text(json.dumps({"machine": machine(), "results": data}))
    columns = [
        "ms (times ours, 95% interval)",
        "batch",
        *(ROLES[role][2] for role in options.roles),
    ]
    report("Prediction, medians", columns, rows, options.json, data)
    first = [
        [e["network"], str(e["batch"]), *(first_call_of(e["roles"].get(r)) for r in options.roles)]
        for e in data
    ]
    report("First call, peak memory, largest relative error", columns, first, None, None)
    if cached := cached_rows(data):
        columns = ["First call", "program in the cache", "no cache"]
        report("First calls in new processes", columns, cached, None, None)
    streamed = [
        [e["network"], role, *(f"{f[name]:.0f}" for name in STREAMED), compared(f, "long predict ")]
        for e in data
        for role, f in e["roles"].items()
        if STREAMED[0] in f
    ]
    if streamed:
        columns = ["samples per second", "role", "predict", "batch by batch", "their ratio"]
        report(f"Long predict, {options.samples} samples", columns, streamed, None, None)
    print("\n".join(geometric_means(data, options.roles)))
    if options.plot:
        plot(data, options.plot)


if __name__ == "__main__":
    main()
