"""The class for `Dataset.map_batches` of Ray Data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerasvino.ray.models import Loaded, configure, ray_or_error
from kerasvino.runtime import config

__all__ = ["Predictor", "arguments"]

# The column of the predictions, where a model has one output and none is named.
PREDICTIONS = "predictions"


class Predictor:
    """Predictions for the batches of a data set; Ray makes one in each actor.

    For example, on actors of two threads each::

        scored = dataset.map_batches(
            kerasvino.ray.Predictor,
            fn_constructor_kwargs=kerasvino.ray.arguments("model.keras", inputs="image"),
            batch_size=64,
            num_cpus=2,
            compute=ray.data.ActorPoolStrategy(size=4),
        )

    Batches come as NumPy arrays or Arrow tables, and go as NumPy arrays. The last batch of a block
    is often shorter; it is padded, or has a program of its own, as in `predict`.

    Args:
        model: a `keras.Model`, the path of a `.keras` file or of an OpenVINO IR (`.xml`) that all
            machines have, or a Ray reference to a model.
        inputs: the column that the model reads; for several inputs a list in their order, or a dict
            {name of the input: column}. Default: the columns that are called as the inputs are, or
            the only column.
        outputs: what the new column is called; for several outputs a list in their order, or a dict
            {name of the output: column}. Default: "predictions", or the names of the outputs.
        keep: whether the other columns stay.
        threads: of this actor. Default: the CPUs that Ray has given it (`num_cpus`).
        settings: of `kerasvino.config.set`, for this actor; `arguments` hands on the driver's.
        warm_up: sizes of batches that are compiled for before the first one is answered.
        share: whether the actors of a machine map the weights from one file
            (`kerasvino.share_weights`).

    Raises:
        FileNotFoundError: there is no such model on the machine of the actor.
        KeyError: a batch lacks a column that the model reads; the message lists those that it has.
        ValueError: a column holds arrays of different shapes, or several could be the input.
    """

    def __init__(
        self,
        model: Any,
        *,
        inputs: str | Sequence[str] | Mapping[str, str] | None = None,
        outputs: str | Sequence[str] | Mapping[str, str] | None = None,
        keep: bool = True,
        threads: int | None = None,
        settings: Mapping[str, Any] | None = None,
        warm_up: Sequence[int] = (),
        share: bool = True,
    ):
        configure(settings, threads)
        self._model = Loaded(model, share)
        self._inputs, self._outputs, self._keep = inputs, outputs, keep
        self._warm_up = tuple(warm_up)

    def __call__(self, batch: Any) -> dict[str, np.ndarray]:
        """The batch with the predictions as further columns."""
        columns = _columns(batch)
        x = self._read(columns)
        if self._warm_up:
            self._model.warm_up(x, self._warm_up)
            self._warm_up = ()
        kept = columns if self._keep else {}
        return {**kept, **self._named(self._model(x))}

    def _read(self, columns: Mapping[str, np.ndarray]) -> Any:
        wanted = self._inputs
        if isinstance(wanted, Mapping):
            named = {name: _array(columns, column) for name, column in wanted.items()}
            return named if len(named) > 1 else next(iter(named.values()))
        if isinstance(wanted, str):
            return _array(columns, wanted)
        if wanted is not None:
            arrays = [_array(columns, column) for column in wanted]
            return arrays if len(arrays) > 1 else arrays[0]
        names = self._model.inputs
        if names and all(name in columns for name in names):
            arrays = {name: _array(columns, name) for name in names}
            return arrays if len(arrays) > 1 else next(iter(arrays.values()))
        if len(names) <= 1 and len(columns) == 1:
            return _array(columns, next(iter(columns)))
        raise ValueError(
            f"Which of the columns {sorted(columns)} does the model read? Its inputs are "
            f"{list(names) or 'not named'}. Give `inputs`: a column, a list, or "
            "{input: column}."
        )

    def _named(self, found: Any) -> dict[str, np.ndarray]:
        wanted = self._outputs
        if isinstance(found, Mapping):
            names = wanted if isinstance(wanted, Mapping) else dict(zip(found, found, strict=True))
            if isinstance(wanted, (list, tuple)):
                names = dict(zip(found, wanted, strict=True))
            return {column: np.asarray(found[name]) for name, column in names.items()}
        if isinstance(found, (list, tuple)):
            columns = wanted if isinstance(wanted, (list, tuple)) else self._columns_of(len(found))
            pairs = zip(columns, found, strict=True)
            return {column: np.asarray(result) for column, result in pairs}
        if isinstance(wanted, Mapping):
            wanted = next(iter(wanted.values()))
        elif isinstance(wanted, (list, tuple)):
            (wanted,) = wanted
        return {wanted or PREDICTIONS: np.asarray(found)}

    def _columns_of(self, count: int) -> list[str]:
        names = self._model.outputs
        if isinstance(self._outputs, Mapping) and len(names) == count:
            return [self._outputs[name] for name in names]
        if isinstance(self._outputs, str):
            return [f"{self._outputs}_{number}" for number in range(count)]
        if len(names) == count:
            return list(names)
        return [f"{PREDICTIONS}_{number}" for number in range(count)]


def arguments(model: Any, **options: Any) -> dict[str, Any]:
    """The `fn_constructor_kwargs` of a `Predictor`, made on the driver.

    The settings of this process that are not the default go along, but for `device` and `threads`,
    which belong to a machine. A `keras.Model` is put into Ray's store once, and not sent with each
    actor.

    Args:
        model: as of `Predictor`.
        options: the other arguments of `Predictor`.

    Raises:
        ImportError: Ray is not installed.
        TypeError: `Predictor` has no such argument.
    """
    import inspect

    import keras

    ray = ray_or_error()
    inspect.signature(Predictor.__init__).bind(None, model, **options)
    if isinstance(model, keras.Model):
        model = ray.put(model)
    return {"model": model, **options, "settings": {**_settings(), **options.get("settings", {})}}


def _settings() -> dict[str, Any]:
    mine, default = config.get(), config.Settings()
    names = [field.name for field in dataclasses.fields(config.Settings)]
    local = ("device", "threads")
    changed = [n for n in names if n not in local and getattr(mine, n) != getattr(default, n)]
    return {name: getattr(mine, name) for name in changed}


def _columns(batch: Any) -> dict[str, np.ndarray]:
    """The columns of a batch in any of Ray's formats as arrays."""
    if isinstance(batch, Mapping):
        return dict(batch)
    if hasattr(batch, "column_names"):  # an Arrow table
        from ray.data import block

        return block.BlockAccessor.for_block(batch).to_numpy()
    if hasattr(batch, "columns"):  # pandas
        return {str(name): batch[name].to_numpy() for name in batch.columns}
    raise TypeError(
        "A batch is a dict of NumPy arrays, an Arrow table or a pandas frame; given: "
        f"{type(batch).__name__}."
    )


def _array(columns: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in columns:
        raise KeyError(f"The batch has no column {name!r}; it has {sorted(columns)}.")
    array = np.asarray(columns[name])
    if array.dtype != object:
        return array
    shapes = sorted({np.shape(row) for row in array})
    if len(shapes) > 1:
        raise ValueError(
            f"The column {name!r} holds arrays of different shapes ({shapes[0]}, {shapes[1]} …), "
            "and a batch is one array. Bring them to one shape before `map_batches`."
        )
    return np.stack([np.asarray(row) for row in array])
