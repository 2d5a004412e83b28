"""A model as processes of a cluster are given it: an object, a file, a reference in Ray's store."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xxhash

from kerasvino.backend.keras_private import tree
from kerasvino.backend.shared_weights import share_weights
from kerasvino.runtime import config
from kerasvino.runtime.exported import ExportedModel

__all__ = ["Loaded", "configure", "ray_or_error"]


def ray_or_error() -> Any:
    """The module ray.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise ImportError(
            "kerasvino.ray needs Ray, which is not installed: pip install 'kerasvino[ray]'"
        ) from None
    return ray


def configure(settings: Mapping[str, Any] | None, threads: int | None) -> None:
    """Sets the settings of an actor, with `threads` or, by default, the CPUs that Ray has given."""
    changes = dict(settings or {})
    threads = threads or changes.get("threads") or _threads_of_ray()
    config.set(**{**changes, **({"threads": threads} if threads else {})})


def _threads_of_ray() -> int | None:
    """The CPUs that Ray has given to this actor, at least one; None outside of an actor."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return None
    given = ray.get_runtime_context().get_assigned_resources().get("CPU")
    return max(1, int(given)) if given else None


class Loaded:
    """A model that is ready to predict.

    Args:
        model: a `keras.Model`, the path of a `.keras` file or of an OpenVINO IR (`.xml`), or a Ray
            reference to a model.
        share: whether the weights are mapped from one file for all processes of the machine.

    Attributes:
        inputs: names of the inputs; empty where the model does not tell them.
        outputs: names of the outputs, likewise.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: it is none of these.
    """

    def __init__(self, model: Any, share: bool = True):
        import keras

        name = None
        if isinstance(model, (str, os.PathLike)):
            name = os.path.abspath(model)
            if not os.path.exists(name):
                raise FileNotFoundError(
                    f"There is no file {os.fspath(model)!r} on this machine. Give a path that all "
                    "machines of the cluster have, or the model itself."
                )
            model = ExportedModel(name) if name.endswith(".xml") else _from_keras(name)
        elif type(model).__name__ == "ObjectRef":
            name, model = model.hex(), ray_or_error().get(model)
        if isinstance(model, keras.Model):
            if share and model.built:
                share_weights(model, _shared_file(name or model.name))
            self._predict = model.predict_on_batch
            self.inputs = tuple(tensor.name for tensor in getattr(model, "inputs", None) or ())
            self.outputs = tuple(getattr(model, "output_names", None) or ())
        elif isinstance(model, ExportedModel):
            self._predict, self.inputs, self.outputs = model.predict, model.inputs, model.outputs
        else:
            raise TypeError(
                "The model is a keras.Model, the path of a .keras file or of an OpenVINO IR "
                f"(.xml), or a Ray reference to a model; given: {type(model).__name__}."
            )

    def __call__(self, x: Any) -> Any:
        """Predictions for a batch: an array, or a dict or list of arrays, as of the model."""
        return self._predict(x)

    def warm_up(self, like: Any, sizes: Sequence[int]) -> None:
        """Compiles for batches of these sizes, made of the rows of `like`."""
        for size in sizes:
            self(
                tree.map_structure(lambda rows, n=size: np.resize(rows, (n, *rows.shape[1:])), like)
            )


def _from_keras(path: str) -> Any:
    import keras

    return keras.saving.load_model(path, compile=False)


def _shared_file(name: str) -> str:
    """Where the processes of one user on this machine find the weights of a model."""
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    folder = os.path.join(tempfile.gettempdir(), f"kerasvino-{user}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    return os.path.join(folder, f"{xxhash.xxh3_64_hexdigest(name.encode())}.weights")
