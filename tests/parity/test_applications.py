"""A network of each family of keras.applications predicts what it does with Keras on torch or JAX.

Both sides load one weights file, with every weight randomised. `make test` takes small images,
`make parity` the published sizes.
"""

from __future__ import annotations

import gc
import pathlib

import keras  # on kerasvino, which tests/conftest.py imports first
import numpy as np
import pytest

from benchmarks._common import NETWORKS, WEIGHTS, build, reference, relative_difference

TOLERANCE = 1e-4
# For the quick run: small images (Inception and Xception take none under 75 and 71), and all but
# NASNetMobile, whose reference takes JAX a minute to compile, and the large InceptionResNetV2.
EDGES = {
    "ResNet50": 64,
    "MobileNetV3Small": 64,
    "EfficientNetB0": 64,
    "EfficientNetV2B0": 64,
    "DenseNet121": 64,
    "ConvNeXtTiny": 64,
    "InceptionV3": 75,
    "Xception": 71,
    "VGG16": 32,
    "ResNet50V2": 64,
    "MobileNet": 64,
    "MobileNetV2": 64,
}


def check(network: str, edge: int, folder: pathlib.Path) -> None:
    x, expected = reference(network, edge, 7, folder)
    # A comparison of constants, or of logits that do not depend on the image, would show nothing.
    assert np.std(expected, axis=0).mean() > 0.01 * np.abs(expected).max()

    model = build(keras, network, edge)
    weights = folder / WEIGHTS
    model.load_weights(weights)
    weights.unlink()  # up to half a gigabyte
    found = {
        "batch 1": (model.predict_on_batch(x[:1]), expected[:1]),
        "batch 3": (model.predict_on_batch(x[:3]), expected[:3]),
        "7 by 3": (model.predict(x, batch_size=3, verbose=0), expected),
    }
    differences = {name: relative_difference(*pair) for name, pair in found.items()}
    print(network, edge, {name: f"{value:.1e}" for name, value in differences.items()})
    del model
    keras.backend.clear_session()
    gc.collect()
    assert max(differences.values()) <= TOLERANCE, differences


@pytest.mark.parametrize("network", list(EDGES))
def test_small_images(network, tmp_path):
    check(network, EDGES[network], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("network", list(NETWORKS))
def test_published_size(network, tmp_path):
    check(network, NETWORKS[network], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("network", list(NETWORKS))
def test_export(network, tmp_path):
    """The exported network computes in OpenVINO alone what it predicts in Keras."""
    import openvino

    edge = EDGES.get(network, 224 if network == "NASNetMobile" else 75)
    model = build(keras, network, edge)
    x = np.random.default_rng(0).uniform(0, 255, (2, edge, edge, 3)).astype("float32")
    expected = model.predict_on_batch(x)
    model.export(tmp_path / "network.xml", format="openvino", verbose=False)
    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(tmp_path / "network.xml", "CPU", hints)
    assert compiled.input(0).get_partial_shape()[0].is_dynamic
    (found,) = compiled([x]).values()
    assert relative_difference(found, expected) <= TOLERANCE
