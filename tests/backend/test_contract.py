"""Keras's contract, read from its JAX backend: every name is here, with its arguments."""

import ast
import importlib
import inspect
import pathlib

import keras
import pytest

JAX = pathlib.Path(keras.__file__).parent / "src/backend/jax"
# Helpers of the JAX backend that are not part of the contract.
INTERNAL = {
    "core": {"should_shard_at_init"},
    "nn": {"wrap_flash_attention"},
    "random": {"jax_draw_seed"},
    "rnn": {"unstack"},
}


def contract(module):
    """{name: argument names} of the public functions of a module of the JAX backend."""
    tree = ast.parse((JAX / f"{module}.py").read_text())
    return {
        node.name: [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and not node.name.startswith("_")
        and node.name not in INTERNAL.get(module, ())
    }


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
     "stop_gradient", "vectorized_map", "rnn", "lstm", "gru", "bidirectional_lstm",
     "bidirectional_gru", "cudnn_ok", "IS_THREAD_SAFE", "SUPPORTS_COMPLEX_DTYPES",
     "SUPPORTS_RAGGED_TENSORS", "SUPPORTS_SPARSE_TENSORS"],
)  # fmt: skip
def test_the_package_exports_what_keras_imports_from_it(name):
    assert hasattr(importlib.import_module("kerasvino.backend"), name)
