"""Inference of ten networks of keras.applications, at the image sizes they were published for.

    python benchmarks/predict.py [--networks ResNet50,VGG16] [--batch 1] [--roles kerasvino,bundled]
                                 [--rounds 5] [--json FILE]

All roles load one weights file. The Keras backends run `model.predict_on_batch`. Raw OpenVINO is
the network traced from Keras on torch by `openvino.convert_model`, with a static shape: once as
the networks are written, channels-last, and once built channels-first, as OpenVINO likes it best.
Ours and raw OpenVINO compute in float32; the bundled backend leaves the precision to the plugin,
which takes bfloat16 on processors that have it: its differences from Keras on torch tell.
"""

from __future__ import annotations

import os
import pathlib
import tempfile
import time

import numpy as np
from _common import (
    NETWORKS,
    REFERENCE_BACKENDS,
    ROLES,
    WEIGHTS,
    Worker,
    build,
    choice,
    import_keras,
    median,
    paired_ratio,
    parser,
    reference,
    relative_difference,
    report,
    serve,
    time_calls,
)

RAW = ("raw", "raw-nchw")
CHANNELS_LAST_ONLY = ("DenseNet121", "ConvNeXtTiny", "NASNetMobile")  # Keras refuses channels-first
DEFAULT_ROLES = ("kerasvino", "bundled", *RAW)


def compile_raw(keras, model, shape: tuple[int, ...]):
    """The Keras model, traced and compiled by OpenVINO for one shape, as a function of an array."""
    import openvino

    if keras.backend.backend() == "torch":
        import torch

        with torch.no_grad():
            example = torch.zeros(shape)
            converted = openvino.convert_model(model, example_input=example, input=[shape])
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


def work(role: str) -> None:
    keras = import_keras(role)
    if role == "raw-nchw":
        keras.config.set_image_data_format("channels_first")
    state = {}

    def prepare(network: str, folder: str):
        """Builds the network, predicts once, and compares with the reference."""
        with np.load(os.path.join(folder, "reference.npz")) as found:
            x, logits = found["x"], found["logits"]
        if role == "raw-nchw":
            x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        start = time.perf_counter()
        model = build(keras, network, NETWORKS[network])
        model.load_weights(os.path.join(folder, WEIGHTS))
        built = time.perf_counter()
        predict = compile_raw(keras, model, x.shape) if role in RAW else model.predict_on_batch
        output = predict(x)
        state["call"] = lambda: predict(x)
        return {
            "build seconds": built - start,
            "first call seconds": time.perf_counter() - built,
            "difference": relative_difference(np.asarray(output), logits),
        }

    def answer(samples: int = 0, **request):
        return time_calls(state["call"], samples) if samples else prepare(**request)

    serve(answer)


def measure(network: str, options, folder: pathlib.Path) -> dict[str, dict]:
    """Role -> figures of one network. Left out: roles that fail, with their error printed."""
    reference(network, NETWORKS[network], options.batch, folder)
    workers, found = [], {}
    for role in options.roles:
        if role == "raw-nchw" and network in CHANNELS_LAST_ONLY:
            continue
        # Keras refuses to build some networks on torch; their trace comes from TensorFlow.
        instead = role in RAW and network in REFERENCE_BACKENDS
        worker = Worker(__file__, role, {"KERAS_BACKEND": "tensorflow"} if instead else None)
        try:
            found[role] = worker.ask(network=network, folder=str(folder)) | {"rounds": []}
        except RuntimeError as error:
            print(f"{network}: {error}")
        else:
            workers.append(worker)
    for _ in range(options.rounds):
        for worker in workers:
            found[worker.role]["rounds"].append(worker.ask(samples=options.samples))
    for worker in workers:
        worker.close()
    for figures in found.values():
        figures["milliseconds"] = median(figures["rounds"]) * 1e3
    return found


def row_of(network: str, found: dict[str, dict], roles: list[str]) -> list[str]:
    """A line of the table: times, ratios to ours, our first call, errors."""
    ours = found.get("kerasvino")
    times = [f"{found[role]['milliseconds']:.1f}" if role in found else "-" for role in roles]
    ratios = [
        f"{paired_ratio(found[role]['rounds'], ours['rounds']):.2f}"
        if ours and role in found
        else "-"
        for role in roles
        if role != "kerasvino"
    ]
    first = f"{ours['first call seconds']:.1f}" if ours else "-"
    others = [figures["difference"] for role, figures in found.items() if role != "kerasvino"]
    differences = [f"{ours['difference']:.0e}" if ours else "-", f"{max(others, default=0):.0e}"]
    return [network, *times, *ratios, first, *differences]


def main() -> None:
    arguments = parser(__doc__.splitlines()[0], DEFAULT_ROLES)
    arguments.add_argument("--networks", type=lambda text: choice(text, NETWORKS))
    arguments.add_argument("--batch", type=int, default=1)
    arguments.add_argument("--samples", type=int, default=10, help="predictions in a turn")
    options = arguments.parse_args()
    if options.role:
        work(options.role)
        return
    rows, data = [], []
    for network in options.networks or NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(network, options, pathlib.Path(folder))
        rows.append(row_of(network, found, options.roles))
        data.append({"network": network, "batch": options.batch, "roles": found})
        print(*rows[-1], flush=True)
    others = [role for role in options.roles if role != "kerasvino"]
    columns = [f"ms, batch {options.batch}", *(ROLES[role][2] for role in options.roles)]
    columns += [f"{role} / ours" for role in others] + [
        "our first call, s",
        "our error",
        "worst of others",
    ]
    report(
        "Prediction, medians; errors relative to the reference", columns, rows, options.json, data
    )


if __name__ == "__main__":
    main()
