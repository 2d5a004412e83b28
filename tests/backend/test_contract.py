"""Keras's contract, read from its JAX backend: every name is here, with its arguments."""

import ast
import importlib
import inspect
import pathlib

import keras
import pytest

from kerasvino.backend.keras_private import PLUGGABLE

JAX = pathlib.Path(keras.__file__).parent / "src/backend/jax"
# Helpers of the JAX backend that are not part of the contract.
INTERNAL = {
    "core": {"should_shard_at_init"},
    "nn": {"wrap_flash_attention"},
    "random": {"jax_draw_seed"},
    "rnn": {"unstack"},
}
# What Keras 3.16 has more than 3.15, which is here under both; `top_k` follows each.
NEWER = {
    "core": {"grad": ["f", "argnums"]},
    "numpy": {
        "column_stack": ["xs"],
        "copysign": ["x1", "x2"],
        "cov": ["x"],
        "float_power": ["x1", "x2"],
    },
    "math": {
        "gammainc": ["x1", "x2"],
        "lgamma": ["x"],
    },
    "linalg": {"matrix_power": ["a", "n"]},
}


def contract(module):
    """{name: argument names} of the public functions of a module of the JAX backend."""
    folder = JAX / "ops" if PLUGGABLE and module not in ("random", "rnn") else JAX
    tree = ast.parse((folder / f"{module}.py").read_text())
    found = {
        node.name: [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and not node.name.startswith("_")
        and node.name not in INTERNAL.get(module, ())
    }
    if not PLUGGABLE:
        for name, arguments in NEWER.get(module, {}).items():
            assert found.get(name) != arguments, f"{name} is in this Keras: not newer"
            found[name] = arguments
    return found


MODULES = ["core", "numpy", "nn", "math", "linalg", "image", "random", "rnn"]


@pytest.mark.parametrize("module", MODULES)
def test_every_function_is_here(module):
    ours = importlib.import_module(f"kerasvino.backend.{module}")
    missing = sorted(name for name in contract(module) if not hasattr(ours, name))
    assert not missing


@pytest.mark.parametrize("module", MODULES)
def test_arguments_have_the_same_names(module):
    ours = importlib.import_module(f"kerasvino.backend.{module}")
    wrong = []
    for name, wanted in contract(module).items():
        function = getattr(ours, name, None)
        if function is None or not wanted:
            continue
        parameters = inspect.signature(function).parameters
        if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters.values()):
            continue
        if list(parameters) != wanted:
            wrong.append(f"{name}: {list(parameters)} for {wanted}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("module", MODULES)
def test_arguments_have_no_annotations(module):
    """Keras compares the signatures of its operations with the backend's, annotations included."""
    ours = importlib.import_module(f"kerasvino.backend.{module}")
    empty = inspect.Signature.empty
    for name in contract(module):
        function = getattr(ours, name, None)
        if function is None or not hasattr(keras.ops, name):
            continue
        signature = inspect.signature(function)
        annotations = [p.annotation for p in signature.parameters.values()]
        assert set(annotations) | {signature.return_annotation} <= {empty}, name


@pytest.mark.parametrize(
    "name",
    ["Variable", "cast", "compute_output_spec", "cond", "convert_to_numpy", "convert_to_tensor",
     "device_scope", "is_tensor", "name_scope", "random_seed_dtype", "scatter", "shape",
     "stop_gradient", "vectorized_map", "rnn", "IS_THREAD_SAFE", "SUPPORTS_COMPLEX_DTYPES",
     "SUPPORTS_GRADIENT", "SUPPORTS_RAGGED_TENSORS", "SUPPORTS_SPARSE_TENSORS", "ops", "random"],
)  # fmt: skip
def test_the_package_exports_what_keras_imports_from_it(name):
    assert hasattr(importlib.import_module("kerasvino.backend"), name)


@pytest.mark.parametrize(
    "name", ["rnn", "lstm", "gru", "bidirectional_lstm", "bidirectional_gru", "cudnn_ok"]
)
def test_recurrent_functions_are_where_this_keras_looks(name):
    backend = importlib.import_module("kerasvino.backend")
    module = importlib.import_module("kerasvino.backend.rnn")
    found = getattr(backend.rnn if PLUGGABLE else backend, name)
    assert found is getattr(module, name)


def test_the_layout_of_keras_316():
    backend = importlib.import_module("kerasvino.backend")
    for module in ("core", "image", "linalg", "math", "nn", "numpy"):
        assert getattr(backend.ops, module) is getattr(backend, module)
    for name in contract("core"):
        assert getattr(backend.ops, name) is getattr(backend.core, name)
    for module, name in (
        ("layer", "BackendLayer"),
        ("trainer", "Trainer"),
        ("export", "SavedModelExportArchive"),
    ):
        assert isinstance(
            getattr(importlib.import_module(f"kerasvino.backend.{module}"), name), type
        )
