"""How often the compiled networks of keras.applications change the order of their data.

Counted in the graph as the CPU plugin runs it: Transpose nodes, but for those of constants, and
Reorder nodes, but for those that only relabel ("fake"). What is left is named in `EXPECTED`.
"""

import keras
import numpy as np
import pytest

from kerasvino.graph import Spec, trace
from kerasvino.runtime import config
from kerasvino.runtime.program import Program


def moved(network, edge):
    """(Transposes, Reorders) by name of the runtime graph of a network."""
    model = getattr(keras.applications, network)(weights=None, input_shape=(edge, edge, 3))
    graph = trace(lambda x: [model(x, training=False)], [Spec((1, edge, edge, 3), "float32")])
    constants = {i: v._value._array for i, v in enumerate(graph.reads)}
    program = Program(graph, config.Settings(), constants)
    output = program([np.zeros((1, edge, edge, 3), "float32")])[0]
    assert np.isfinite(output).all()
    transposes, reorders = [], []
    for node in program.runtime_model.get_ordered_ops():
        kind = node.get_rt_info()["layerType"].astype(str)
        sources = {
            value.get_node().get_rt_info()["layerType"].astype(str) for value in node.input_values()
        }
        name = node.get_friendly_name()
        if sources == {"Const"}:
            continue
        if kind == "Transpose":
            transposes.append(name)
        elif kind == "Reorder" and not name.endswith("_fake"):
            reorders.append(name)
    return transposes, reorders


# network: (edge of the image, what the name of each Reorder that is left begins or ends with)
EXPECTED = {
    "ResNet50": (64, ()),
    "MobileNetV3Small": (64, ("logits/",)),  # flattening
    # of one value for each channel, on its way into a squeeze-and-excite block
    "EfficientNetB0": (64, ("_se_reduce/conv",)),
    "EfficientNetV2B0": (64, ("_se_reduce/conv",)),
    "DenseNet121": (64, ()),
    "ConvNeXtTiny": (64, ()),
    "InceptionV3": (75, ()),
    "Xception": (71, ()),
    "VGG16": (32, ("flatten/reshape",)),
    "NASNetMobile": (64, ()),
}


@pytest.mark.parametrize("network", EXPECTED)
def test_data_keep_their_order(network):
    edge, known = EXPECTED[network]
    transposes, reorders = moved(network, edge)
    assert transposes == []
    assert [n for n in reorders if not (n.startswith(known) or n.endswith(known))] == []
