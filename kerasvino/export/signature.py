"""What a model is called with and what it returns: structures, shapes, dtypes, and names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kerasvino.backend.keras_private import (
    Functional,
    KerasTensor,
    Model,
    Sequential,
    get_input_signature,
    standardize_dtype,
    standardize_shape,
    tree,
)
from kerasvino.backend.ops.core.convert import is_tensor
from kerasvino.graph import Spec

__all__ = ["Signature", "output_names", "signature_of"]


@dataclass(frozen=True)
class Signature:
    """The arguments of a model's call.

    Attributes:
        arguments: (name, nested structure of placeholders) of each; with name None it is given by
            position.
        specs: shape, dtype and name of each leaf, in order.
    """

    arguments: list[tuple[str | None, object]]
    specs: list[Spec]

    def call(self, model, leaves: Sequence):
        """What `model` returns for `leaves` in inference mode."""
        rest, positional, keywords = list(leaves), [], {}
        for name, structure in self.arguments:
            count = len(tree.flatten(structure))
            value = tree.pack_sequence_as(structure, rest[:count])
            rest = rest[count:]
            if name is None:
                positional.append(value)
            else:
                keywords[name] = value
        if model._call_has_training_arg:
            keywords["training"] = False
        return model(*positional, **keywords)

    def reshaped(self, shapes: Mapping[str, tuple]) -> Signature:
        """With other shapes for the inputs that are named.

        Raises:
            ValueError: there is no such input, or its rank is another.
        """
        known = {spec.name: spec.shape for spec in self.specs}
        for name, shape in shapes.items():
            if name not in known:
                raise ValueError(f"There is no input {name!r}; there are {', '.join(known)}.")
            if len(shape) != len(known[name]):
                raise ValueError(
                    f"The shape {shape} for {name!r} has {len(shape)} axes (the batch is one); "
                    f"the model takes {known[name]}."
                )
        return replace(
            self, specs=[replace(s, shape=shapes.get(s.name, s.shape)) for s in self.specs]
        )


def signature_of(model, given=None) -> Signature:
    """The signature of a model's call, as `given` or derived from the model.

    Raises:
        TypeError: `model` is no Keras model, or a leaf of `given` is no specification.
        ValueError: the model has not been built, or `given` does not fit it.
    """
    if isinstance(given, Signature):
        return given
    if not isinstance(model, Model):
        raise TypeError(f"A keras.Model can be exported; given: {model!r} of {type(model)}.")
    derived = given is None
    arguments = _derived(model) if derived else _given(model, given)
    leaves = tree.flatten([structure for _, structure in arguments])
    if not leaves:
        raise ValueError("input_signature holds no input.")
    names = _unique(_input_names(model, arguments, derived))
    specs = [Spec(*_described(leaf), name) for leaf, name in zip(leaves, names, strict=True)]
    for spec in specs:
        if spec.dtype == "string":
            raise ValueError(
                f"The input {spec.name} is of strings, which OpenVINO's graphs do not process. "
                "Export the part of the model that follows the text layer."
            )
    placeholders = [(name, tree.map_structure(lambda _: 0, value)) for name, value in arguments]
    first_name = placeholders[0][0]
    if first_name == _parameters(model)[0].name:  # Keras's layers take it by position
        placeholders[0] = (None, placeholders[0][1])
    return Signature(placeholders, specs)


# -- the arguments of a call, as (parameter name or None, structure of specs)


def _parameters(model) -> list[inspect.Parameter]:
    """The parameters of `call` but those that Keras passes along by itself."""
    parameters = inspect.signature(model.call).parameters.values()
    return [
        p for p in parameters if p.name not in ("training", "mask") and p.kind is not p.VAR_KEYWORD
    ]


def _derived(model) -> list:
    values = get_input_signature(model)
    if isinstance(model, (Functional, Sequential)):
        return [(None, value) for value in values]
    # A subclassed model recorded the shapes that it was built with, each under the name of the
    # argument of `build`, which is that of `call` with a suffix where there are several.
    keys = [key.removesuffix("_shape") for key in model._build_shapes_dict]
    order = [p.name for p in _parameters(model)]
    if not set(keys) <= set(order):
        return [(None, value) for value in values]
    return sorted(zip(keys, values, strict=True), key=lambda pair: order.index(pair[0]))


def _given(model, given) -> list:
    if not isinstance(given, (list, tuple)):
        return [(None, given)]
    if len(given) < 2:
        return [(None, value) for value in given]
    parameters = _parameters(model)
    if isinstance(model, (Functional, Sequential)) or (
        len(parameters) == 1 and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL
    ):
        return [(None, given)]  # one argument, which is a list
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return [(None, value) for value in given]
    if len(given) > len(parameters):
        raise ValueError(
            f"input_signature has {len(given)} arguments, and call() of {model.name} takes "
            f"{', '.join(p.name for p in parameters)}. Several inputs in one argument are a list "
            "within the list."
        )
    return [(p.name, value) for p, value in zip(parameters, given, strict=False)]


def _is_example(leaf) -> bool:
    """Whether a leaf is a value, whose batch says nothing of the next one."""
    return isinstance(leaf, (KerasTensor, np.ndarray)) or is_tensor(leaf)


def _described(leaf) -> tuple[tuple, str]:
    shape, dtype = getattr(leaf, "shape", None), getattr(leaf, "dtype", None)
    if shape is None or dtype is None:
        raise TypeError(
            "input_signature is made of keras.InputSpec with shape and dtype, KerasTensor or "
            f"tensors; given: {leaf!r}."
        )
    shape = standardize_shape(tuple(shape))
    if _is_example(leaf):
        shape = (None, *shape[1:])[: len(shape)]
    return shape, standardize_dtype(dtype)


# -- names


def _input_names(model, arguments, derived) -> list[str]:
    """A name for each leaf: its keys in a dict, else its own, else the argument of `call`."""
    own = _layer_names(model, "inputs")
    parameters = [p.name for p in _parameters(model) if p.kind is not p.VAR_POSITIONAL]
    names: list[str] = []
    for position, (argument, structure) in enumerate(arguments):
        if argument is None:
            argument = parameters[position] if position < len(parameters) else f"input_{position}"
        for path, leaf in tree.flatten_with_path(structure):
            given = None if derived or _is_example(leaf) else getattr(leaf, "name", None)
            if any(isinstance(key, str) for key in path):
                path = path if len(arguments) == 1 else (argument, *path)
                names.append("/".join(map(str, path)))
            elif given is None and len(names) < len(own):
                names.append(own[len(names)])
            else:
                names.append(given or "_".join([argument, *map(str, path)]))
    return names


def output_names(model, outputs) -> list[str]:
    """A name for each output: its keys in a dict, else its layer's, else `output`."""
    own = _layer_names(model, "outputs")
    names = []
    for position, (path, _) in enumerate(tree.flatten_with_path(outputs)):
        if any(isinstance(key, str) for key in path):
            names.append("/".join(map(str, path)))
        elif position < len(own):
            names.append(own[position])
        else:
            names.append("_".join(["output", *map(str, path)]))
    return _unique(names)


def _layer_names(model, which: str) -> list[str]:
    """Names of the layers that a functional model's inputs or outputs come from."""
    functional = getattr(model, "_functional", model)
    if not isinstance(functional, Functional):
        return []
    return [tensor._keras_history.operation.name for tensor in getattr(functional, which)]


def _unique(names: list[str]) -> list[str]:
    """`names` with a number behind repeated ones."""
    taken: list[str] = []
    for name in names:
        candidate, number = name, 0
        while candidate in taken:
            number += 1
            candidate = f"{name}_{number}"
        taken.append(candidate)
    return taken
