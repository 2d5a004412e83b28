"""Inference of ten networks of keras.applications, at the image sizes they were published for.

    python benchmarks/predict.py [--networks ResNet50,VGG16] [--batch 1] [--roles kerasvino,bundled]
                                 [--rounds 5] [--json FILE]

All roles load one weights file. The Keras backends run `model.predict_on_batch`. Raw OpenVINO is
the network traced from Keras on torch by `openvino.convert_model`, with a static shape: once as
the networks are written, channels-last, and once built channels-first, as OpenVINO likes it best.
Outputs (logits) are compared with those of the first role; ratios are taken within a round of turns.
"""

from __future__ import annotations

import os
import tempfile
import time

import numpy as np
from _common import (
    NETWORKS,
    ROLES,
    Worker,
    build,
    choice,
    images,
    import_keras,
    median,
    paired_ratio,
    parser,
    relative_difference,
    report,
    serve,
    time_calls,
)

RAW = ("raw", "raw-nchw")
DEFAULT_ROLES = ("kerasvino", "bundled", *RAW)


def compile_raw(keras, model, shape: tuple[int, ...]):
    """The Keras model on torch, traced and compiled by OpenVINO for one shape, as a function."""
    import openvino
    import torch

    example = torch.zeros(shape)
    with torch.no_grad():
        converted = openvino.convert_model(model, example_input=example, input=[shape])
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

    def prepare(network: str, batch: int, weights: str):
        """Builds the network, makes the weights file or loads it, and predicts once."""
        size = NETWORKS[network]
        x = images(batch, size)
        if role == "raw-nchw":
            x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        start = time.perf_counter()
        model = build(keras, network, size)
        model.load_weights(weights)
        built = time.perf_counter()
        predict = compile_raw(keras, model, x.shape) if role in RAW else model.predict_on_batch
        output = predict(x)
        state["call"] = lambda: predict(x)
        return {
            "build": built - start,
            "first": time.perf_counter() - built,
            "output": np.asarray(output, "float64").tolist(),
        }

    def answer(samples: int = 0, **request):
        if samples:
            return time_calls(state["call"], samples)
        return prepare(**request)

    serve(answer)


def measure(network: str, options, weights: str) -> dict[str, dict]:
    """Role -> figures of one network. A role that fails is left out, with its error printed."""
    workers, prepared = [], {}
    for role in options.roles:  # one after another: the first makes the weights file
        worker = Worker(__file__, role)
        try:
            prepared[role] = worker.ask(network=network, batch=options.batch, weights=weights)
        except RuntimeError as error:
            print(f"{network}: {error}")
        else:
            workers.append(worker)
    found = {worker.role: [] for worker in workers}
    for _ in range(options.rounds):
        for worker in workers:
            found[worker.role].append(worker.ask(samples=options.samples))
    for worker in workers:
        worker.close()
    if not prepared:
        return {}
    reference = np.array(next(iter(prepared.values()))["output"])
    return {
        role: {
            "milliseconds": median(rounds) * 1e3,
            "build seconds": prepared[role]["build"],
            "first call seconds": prepared[role]["first"],
            "difference": relative_difference(np.array(prepared[role]["output"]), reference),
            "rounds": rounds,
        }
        for role, rounds in found.items()
    }


def main() -> None:
    arguments = parser(__doc__.splitlines()[0], DEFAULT_ROLES)
    arguments.add_argument("--networks", type=lambda text: choice(text, NETWORKS))
    arguments.add_argument("--batch", type=int, default=1)
    arguments.add_argument("--samples", type=int, default=10, help="predictions in a turn")
    options = arguments.parse_args()
    if options.role:
        work(options.role)
        return
    others = [role for role in options.roles if role != "kerasvino"]
    ratios = others if "kerasvino" in options.roles else []
    rows, data = [], []
    for network in options.networks or NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(network, options, os.path.join(folder, "model.weights.h5"))
        ours = found.get("kerasvino")
        row = [network]
        for role in options.roles:
            row.append(f"{found[role]['milliseconds']:.1f}" if role in found else "failed")
        for role in ratios:
            known = ours and role in found
            row.append(
                f"{paired_ratio(found[role]['rounds'], ours['rounds']):.2f}" if known else "-"
            )
        row.append(f"{ours['first call seconds']:.1f}" if ours else "-")
        row.append(f"{max((figure['difference'] for figure in found.values()), default=0):.1e}")
        rows.append(row)
        data.append({"network": network, "batch": options.batch, "roles": found})
        print(" ".join(row), flush=True)
    columns = [f"ms, batch {options.batch}", *(ROLES[role][2] for role in options.roles)]
    columns += [f"{role} / ours" for role in ratios] + ["first call, s", "largest difference"]
    report("Prediction, float32, medians", columns, rows, options.json, data)


if __name__ == "__main__":
    main()
