"""Post-training quantization: calibrated Keras models in 8 bits, convolutions included."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kerasvino.backend.calibrated import keep_ranges, ranges_of
from kerasvino.backend.keras_private import Layer, Model, io_utils
from kerasvino.export.ov_model import traced
from kerasvino.export.signature import Signature, signature_of
from kerasvino.graph import Graph, Spec
from kerasvino.graph.ranges import Ranges
from kerasvino.passes.ranges import named
from kerasvino.quantizing import samples as data
from kerasvino.quantizing.accuracy import errors_of_layers, within_drop
from kerasvino.quantizing.calibration import MODEL_TYPES, PRESETS, Options, calibrated, nncf
from kerasvino.quantizing.choice import Trial, chosen, layer_of
from kerasvino.quantizing.neighbours import Neighbours

__all__ = ["Quantization", "dequantize", "quantization", "quantize"]

SAMPLES = 300  # as NNCF takes by default
BATCHES = (1, 16)  # that are measured


def quantize(
    model: Any,
    dataset: Any,
    *,
    preset: str | None = None,
    ignored: Iterable[Any] = (),
    model_type: str | None = None,
    metric: Callable[[Any], float] | None = None,
    max_drop: float | None = None,
    samples: int = SAMPLES,
    verbose: bool = True,
) -> Any:
    """Has a model computed in 8 bits where that is faster; its weights stay as they are.

        kerasvino.quantize(model, x)
        model.predict(x)

    NNCF runs the model on samples and finds in which range each value lies. The model keeps these
    ranges: `predict`, `evaluate`, `model(x)` and `kerasvino.jit(model)` round to 8 bits from now
    on, `model.export` writes it so, `model.save` and `load_model` keep it. `fit` computes exactly.
    Weights are rounded when a program is compiled, so later assignments are seen.

    Layers that are not faster in 8 bits here are computed in bfloat16, or float32 if the processor
    has no bfloat16 or the setting `precision` says so. What is faster is measured.

    Args:
        model: a built `keras.Model`, in float32.
        dataset: samples as the model will get them, some hundred; all that `predict` or `fit` takes
            as x. Targets in it are not used.
        preset: "performance": values are rounded to numbers around zero; "mixed": values that are
            not around zero as they lie, which is more exact, and slower. Default: the first, for
            transformers the second.
        ignored: names of layers, or layers, that are not rounded; with all that is in them.
        model_type: "transformer" for one; attention has operations that are better not rounded.
        metric: `metric(model)` is a number that is higher for a better model, as
            `lambda model: model.evaluate(x, y, return_dict=True)["accuracy"]`.
        max_drop: by how much the metric may be less than in float32; layers are left in float until
            it is not. Given with `metric`.
        samples: how many samples are taken from the dataset.
        verbose: whether progress and a summary are shown.

    Returns:
        `model` itself.

    Raises:
        ImportError: NNCF is not installed: `pip install 'kerasvino[quantize]'`.
        TypeError: no Keras model; a metric that is no function or gives no number.
        ValueError: a model that is not built, or has nothing to round; an argument that is not
            accepted; a dataset that is empty or does not fit.
    """
    _check(model, preset, model_type, metric, max_drop, samples)
    signature = signature_of(model, None)
    nncf()
    rows = data.samples(dataset, signature, samples)
    trials = _trials(model, signature, rows)
    graph = trials[0].graph
    left = _ignored(model, graph, ignored)
    found = calibrated(graph, rows, left, Options(preset, model_type, verbose))
    if not found.activations:
        raise ValueError(
            f"There is nothing to round in {model.name!r}: it has no product of float32 that is "
            "not ignored. A model with a policy of bfloat16 or float16 stays as it is."
        )
    say = _say if verbose else _silent
    say(f"Calibrated with {len(rows)} samples; measuring what is faster.")
    found = chosen(found, trials, say)
    if metric is not None and max_drop is not None:
        found = _as_exact(model, metric, max_drop, found, graph, rows, say)
    keep_ranges(model, found)
    say(str(Quantization(model.name, found)))
    return model


def quantization(model: Any) -> Quantization | None:
    """What `kerasvino.quantize` found of a model; None if it is computed exactly."""
    found = ranges_of(model)
    return None if found is None else Quantization(model.name, found)


def dequantize(model: Any) -> Any:
    """Undoes `kerasvino.quantize`: a model is computed exactly again. Returns it."""
    keep_ranges(model, None)
    return model


class Quantization:
    """What `kerasvino.quantize` found of a model. `str()` of it is a summary.

    Attributes:
        layers: {path of a layer with products: "int8", "bf16" or "f32"}, what it is computed in.
        seconds: {"f32", "bf16" where there is such a thing, "chosen"}: what a call with one sample
            took, measured when the model was quantized.
    """

    def __init__(self, model: str, ranges: Ranges):
        self._model = model
        self.layers: dict[str, str] = dict(ranges.layers)
        self.seconds: dict[str, float] = dict(ranges.seconds)

    def __str__(self) -> str:
        kinds = [list(self.layers.values()).count(kind) for kind in ("int8", "bf16", "f32")]
        parts = zip(kinds, ("int8", "bf16", "f32"), strict=True)
        counted = ", ".join(f"{count} in {kind}" for count, kind in parts if count)
        times = {name: f"{1e3 * seconds:.3g} ms" for name, seconds in self.seconds.items()}
        took = times.pop("chosen", "unknown")
        before = ", ".join(f"{name} {seconds}" for name, seconds in times.items())
        return (
            f"{self._model}: of {len(self.layers)} layers with products {counted}. A call with one "
            f"sample takes {took} ({before})."
        )

    def __repr__(self) -> str:
        return f"<Quantization of {self}>"


# -- arguments


def _check(model, preset, model_type, metric, max_drop, count) -> None:
    if not isinstance(model, Model):
        raise TypeError(f"quantize takes a keras.Model; given: {model!r} of {type(model)}.")
    if not model.built:
        raise ValueError(
            f"{model.name!r} has not been built: it has no weights yet. Call it once, or "
            "model.build(input_shape)."
        )
    for layer in model._flatten_layers():
        if getattr(layer, "quantization_mode", None) is not None:
            raise ValueError(
                f"The layer {layer.path!r} is quantized already, by model.quantize"
                f"({layer.quantization_mode!r}). Take one of the two."
            )
    for name, given, accepted in (
        ("preset", preset, PRESETS),
        ("model_type", model_type, MODEL_TYPES),
    ):
        if given is not None and given not in accepted:
            raise ValueError(f"{name}={given!r}; accepted: {', '.join(accepted)}, None.")
    if (metric is None) != (max_drop is None):
        given = "metric" if max_drop is None else "max_drop"
        raise ValueError(
            f"metric and max_drop belong together, and only {given} is given: how good the model "
            "is, and by how much that may be less."
        )
    if metric is not None and not callable(metric):
        raise TypeError(
            f"metric is a function of the model that returns a number, higher for better: "
            "metric=lambda model: model.evaluate(x, y, return_dict=True)['accuracy']; "
            f"given: {metric!r}."
        )
    if max_drop is not None and not _is_number(max_drop):
        raise ValueError(f"max_drop is a number, 0 or more; given: {max_drop!r}.")
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"samples is a whole number, 1 or more; given: {count!r}.")


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def _ignored(model, graph: Graph, ignored) -> list[str]:
    """The nodes of layers that are not to be rounded."""
    given = [ignored] if isinstance(ignored, (str, Layer)) else list(ignored)
    names = list(named(graph.bind(graph.foldable())))
    known = {layer.name for layer in model._flatten_layers(include_self=False)}
    known |= {layer_of(name) for name in names}
    found: list[str] = []
    for one in given:
        if not isinstance(one, (str, Layer)):
            raise ValueError(f"ignored takes layers and names of layers; given: {one!r}.")
        wanted = one.name if isinstance(one, Layer) else one
        if wanted not in known:
            close = difflib.get_close_matches(wanted, known, 3)
            hint = f"; there are: {', '.join(close)}" if close else ""
            raise ValueError(f"ignored: {model.name!r} has no layer {wanted!r}{hint}.")
        found += [name for name in names if f"/{wanted}/" in f"/{name}"]
    return found


def _trials(model, signature: Signature, rows: Sequence[Sequence[Any]]) -> list[Trial]:
    """The graphs of a call with one sample, and with a batch of many.

    Of a model of batches of one length with that alone; of samples of several shapes with one.
    """
    fixed = any(spec.shape and spec.shape[0] is not None for spec in signature.specs)
    shapes = {tuple(array.shape for array in row) for row in rows}
    if fixed or len(shapes) > 1:
        return [_trial(model, signature, signature.specs, rows[0])]
    found = []
    for count in BATCHES:
        arrays = data.joined((list(rows) * count)[:count])
        pairs = zip(signature.specs, arrays, strict=True)
        specs = [dataclasses.replace(spec, shape=array.shape) for spec, array in pairs]
        found.append(_trial(model, signature, specs, arrays))
    return found


def _trial(model, signature: Signature, specs: Sequence[Spec], arrays: Sequence[Any]) -> Trial:
    graph = traced(model, dataclasses.replace(signature, specs=list(specs)))
    return Trial(dataclasses.replace(graph, ranges=()), arrays)


# -- accuracy


def _as_exact(model, metric, most, ranges: Ranges, graph: Graph, rows, say) -> Ranges:
    """Ranges with which `metric` is less by `most` at most."""
    before = ranges_of(model)
    near = Neighbours(graph)

    def value(trial: Ranges | None) -> float:
        keep_ranges(model, trial)
        found = metric(model)
        try:
            return float(found)
        except (TypeError, ValueError):
            raise TypeError(f"metric returned {found!r}, which is no number.") from None

    def errors():
        say("The metric drops by more than max_drop; looking for the layers that cause it.")
        return errors_of_layers(ranges, graph, rows[:16], near)

    try:
        found, exact, reached = within_drop(ranges, value, most, errors, near)
        if exact - reached > most:  # of bfloat16
            found = dataclasses.replace(
                found, rest="f32", layers=dict.fromkeys(found.layers, "f32")
            )
            reached = value(found)
    finally:
        keep_ranges(model, before)
    say(f"The metric: {reached:.4g}, exact {exact:.4g}.")
    return found


def _say(text: str) -> None:
    io_utils.print_msg(text)


def _silent(text: str) -> None:
    pass
