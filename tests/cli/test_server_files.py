"""What is written for a model server, against the documented formats.

- config.json: the JSON schema that OpenVINO Model Server checks it by (its src/schema.cpp), in
  which no key may be unknown.
- The repository: https://docs.openvino.ai/2026/model-server/ovms_docs_models_repository.html
- Names, types and shapes of tensors, as the Open Inference Protocol (KServe v2) tells them:
  https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol

No server was run.
"""

import json
import re
from pathlib import Path

import keras
import openvino
import pytest
from keras import layers

from kerasvino.__main__ import main

# Of an entry of `model_config_list`: key -> what its value is. No other key is allowed.
ENTRY = {
    "name": str,
    "base_path": str,
    "batch_size": (int, str),
    "graph_path": str,
    "subconfig": str,
    "model_version_policy": dict,
    "shape": (dict, str),
    "layout": (dict, str),
    "nireq": int,
    "target_device": str,
    "allow_cache": bool,
    "plugin_config": dict,
    "stateful": bool,
    "idle_sequence_cleanup": bool,
    "low_latency_transformation": bool,
    "max_sequence_number": int,
    "custom_loader_options": dict,
}
# Element types that the protocol has a name for.
DATATYPES = {
    "boolean": "BOOL", "u8": "UINT8", "u16": "UINT16", "u32": "UINT32", "u64": "UINT64",
    "i8": "INT8", "i16": "INT16", "i32": "INT32", "i64": "INT64", "f16": "FP16", "f32": "FP32",
    "f64": "FP64", "string": "BYTES",
}  # fmt: skip


def classifier():
    return keras.Sequential(
        [keras.Input((6, 6, 3), name="image"), layers.Conv2D(4, 3), layers.Flatten(),
         layers.Dense(3, "softmax")]
    )  # fmt: skip


def of_several():
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    extra = keras.Input((4,), dtype="uint8", name="extra")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(10, 4)(tokens))
    x = layers.Concatenate()([x, layers.Rescaling(1 / 255)(extra)])
    return keras.Model([tokens, extra], {"score": layers.Dense(1)(x), "features": x})


def of_half_precision():
    return keras.Sequential([keras.Input((4,), name="x"), layers.Dense(2, dtype="float16")])


MODELS = {"classifier": classifier, "several": of_several, "half": of_half_precision}


@pytest.fixture
def served(tmp_path, monkeypatch, request):
    """The folder with a model in two versions."""
    monkeypatch.chdir(tmp_path)
    MODELS[request.param]().save("model.keras")
    for version in ("1", "12"):
        assert (
            main(["export", "model.keras", "served", "--server", "--model-version", version]) == 0
        )
    return Path("served")


@pytest.mark.parametrize("served", MODELS, indirect=True)
def test_files_are_as_documented(served):
    config = json.loads((served / "config.json").read_text(encoding="utf-8"))
    assert set(config) == {"model_config_list"}
    assert [set(entry) for entry in config["model_config_list"]] == [{"config"}]
    entry = config["model_config_list"][0]["config"]
    assert {"name", "base_path"} <= set(entry) <= set(ENTRY)
    for key, value in entry.items():
        assert isinstance(value, ENTRY[key]), key
    assert all(isinstance(v, (str, bool, int, float)) for v in entry["plugin_config"].values())
    versions = sorted(p.name for p in (served / entry["base_path"]).iterdir())
    assert versions == ["1", "12"]  # positive whole numbers, nothing else
    for version in versions:
        files = sorted(p.suffix for p in (served / entry["base_path"] / version).iterdir())
        assert files == [".bin", ".xml"]  # one model each
        _check_tensors(openvino.Core().read_model(_xml(served / entry["base_path"] / version)))


def _xml(folder):
    return next(folder.glob("*.xml"))


def _check_tensors(model):
    """Requests name tensors, and metadata tell their types and shapes."""
    for ports in (model.inputs, model.outputs):
        names = [port.get_any_name() for port in ports]
        assert len(set(names)) == len(names)
        assert all(re.fullmatch(r"[ -~]+", name) for name in names)
        for port in ports:
            assert port.get_element_type().get_type_name() in DATATYPES
            assert port.get_partial_shape().rank.is_static
    assert {p.get_any_name() for p in model.inputs} in ({"image"}, {"tokens", "extra"}, {"x"})
