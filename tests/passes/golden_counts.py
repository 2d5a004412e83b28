"""Counts the nodes that the CPU plugin runs for whole networks, and records them.

    python -m tests.passes.golden_counts                     # records all networks
    python -m tests.passes.golden_counts UNet Encoder        # some of them anew

A pass that finds less, or an operation that is written with more nodes, changes a count. Kept are
the nodes by type as the plugin names them ("layerType"), in float32 with a batch of one. Results
and constants are left out.
"""

from __future__ import annotations

import argparse
import collections
import json
import pathlib

import keras
import openvino

import kerasvino  # noqa: F401 - before keras
from benchmarks.networks import CUSTOM
from kerasvino.export.ov_model import convert

FILE = pathlib.Path(__file__).with_name("golden_counts.json")

# Those of keras.applications, on images of this many pixels.
APPLICATIONS = {
    "ConvNeXtTiny": 64,
    "DenseNet121": 64,
    "EfficientNetB0": 64,
    "EfficientNetV2B0": 64,
    "InceptionV3": 75,
    "MobileNetV2": 64,
    "MobileNetV3Small": 64,
    "NASNetMobile": 64,
    "ResNet50": 64,
    "VGG16": 32,
    "Xception": 71,
}
NETWORKS = (*CUSTOM, *APPLICATIONS)
# Neither is work: constants, inputs and results. Reorders depend on the instructions of the CPU.
_LEFT_OUT = ("Const", "Input", "Output", "Reorder")


def model_of(network: str) -> keras.Model:
    """A network of the benchmarks, with random weights."""
    if network in CUSTOM:
        return CUSTOM[network][1](keras)
    edge = APPLICATIONS[network]
    return getattr(keras.applications, network)(weights=None, input_shape=(edge, edge, 3))


def counts(network: str) -> dict[str, int]:
    """How many nodes of each type the CPU plugin runs for `network`."""
    keras.utils.clear_session()
    model = convert(model_of(network))
    model.reshape([1, *list(model.input(0).partial_shape)[1:]])
    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(model, "CPU", hints)
    nodes = compiled.get_runtime_model().get_ordered_ops()
    found = collections.Counter(op.get_rt_info()["layerType"].astype(str) for op in nodes)
    return {kind: found[kind] for kind in sorted(found) if kind not in _LEFT_OUT}


def main() -> None:
    """Records the counts of the networks that are named, or of all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("networks", nargs="*", metavar="NETWORK")
    recorded = json.loads(FILE.read_text()) if FILE.exists() else {}
    for network in parser.parse_args().networks or NETWORKS:
        recorded[network] = counts(network)
        print(network, sum(recorded[network].values()), recorded[network], flush=True)
    FILE.write_text(json.dumps(recorded, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
