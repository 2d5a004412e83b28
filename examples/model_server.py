"""A folder of models for OpenVINO Model Server, and a check of it with OpenVINO alone.

    python examples/model_server.py models

Then, where Docker is:

    docker run -p 8000:8000 -v $PWD/models:/models openvino/model_server:latest \
        --config_path /models/config.json --rest_port 8000

`python -m kerasvino export model.keras models --server` does the same for a saved model.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import kerasvino  # noqa: F401 - before keras: selects the backend

import keras  # isort: skip
import numpy as np
import openvino


def main() -> float:
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "models")
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(0)
    layers = [keras.Input((16,), name="features"), keras.layers.Dense(8, "relu")]
    model = keras.Sequential([*layers, keras.layers.Dense(3, "softmax")], name="classifier")
    path = folder / "classifier.keras"
    model.save(path)
    command = [sys.executable, "-m", "kerasvino", "export", str(path), str(folder), "--server"]
    subprocess.run(command, check=True)

    listed = json.loads((folder / "config.json").read_text())["model_config_list"]
    print("config.json lists:", [entry["config"]["name"] for entry in listed])
    (written,) = folder.glob("classifier/1/*.xml")
    server = openvino.Core().compile_model(written, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    x = np.random.default_rng(0).random((5, 16), dtype="float32")
    difference = float(np.abs(server(x)[0] - model.predict(x, verbose=0)).max())
    print(f"OpenVINO alone and Keras differ by at most {difference:.1e}")
    return difference


if __name__ == "__main__":
    main()
