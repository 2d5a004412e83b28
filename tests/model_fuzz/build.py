"""The model of a plan, compiled, with weights that all make a difference."""

from __future__ import annotations

import random

import keras
import numpy as np
from keras import layers, losses, ops, optimizers

from kerasvino import dtypes
from tests.model_fuzz.of_graphs import GRAPHS
from tests.model_fuzz.of_layers import ENTERING, LAYERS, layer_for
from tests.model_fuzz.own import Stack
from tests.model_fuzz.plan import KINDS

__all__ = ["BUILT_LENGTH", "built", "compiled", "perturb"]

MOST_RANK = 4
BUILT_LENGTH = 5  # of the first unknown axis of what a subclassed model is built on


def built(plan):
    """The compiled model of a plan."""
    rng = random.Random(plan.seed)
    keras.utils.set_random_seed(plan.seed)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(plan.policy)
    try:
        model = {"functional": _functional, "sequential": _sequential, "subclassed": _subclassed}[
            plan.form
        ](plan, rng)
        perturb(model.weights, np.random.default_rng(plan.seed), 0.1)
        compiled(model, rng)
    finally:
        keras.config.set_dtype_policy(before)
    return model


def _input(entry, index):
    """The KerasTensor of an input."""
    shape, dtype, open_axes = KINDS[entry.kind]
    if entry.unknown:
        shape = tuple(None if axis in open_axes else n for axis, n in enumerate(shape))
    return keras.Input(shape, dtype=dtype, name=f"in{index}")


def _entered(kind, x, rng):
    if kind == "flags":
        return ops.cast(x, "float32")
    return ENTERING[kind](rng)(x) if kind in ENTERING else x


def _functional(plan, rng):
    inputs = [_input(entry, index) for index, entry in enumerate(plan.inputs)]
    pool = [_entered(e.kind, x, rng) for e, x in zip(plan.inputs, inputs, strict=True)]
    for name, seed in plan.steps:
        _step(name, random.Random(seed), pool)
    latest = pool[-1]
    unused = _unused(inputs, pool, latest)
    count = rng.choice([0, 0, 0, 1, 2])
    outputs = [latest, *unused, *rng.sample(pool[:-1], min(count, len(pool) - 1))]
    outputs = list({id(t): t for t in outputs}.values())
    return keras.Model(inputs[0] if len(inputs) == 1 else inputs, _alone(outputs))


def _alone(found):
    return found[0] if len(found) == 1 else found


def _unused(inputs, pool, latest):
    """A tensor of the pool for each input that `latest` does not depend on."""
    needed = {id(t) for t in _ancestors(latest)}
    return [entered for x, entered in zip(inputs, pool, strict=False) if id(x) not in needed]


def _ancestors(tensor):
    waiting, seen = [tensor], {}
    while waiting:
        x = waiting.pop()
        if id(x) not in seen:
            seen[id(x)] = x
            operation, node, _ = x._keras_history
            waiting += operation._inbound_nodes[node].input_tensors
    return seen.values()


def _step(name, rng, pool):
    """Adds the tensors of a step to the pool, mostly from its latest."""
    table = GRAPHS if name in GRAPHS else LAYERS
    suited = [x for x in pool if table[name].fits(x.shape)]
    if not suited:
        return
    x = suited[-1] if rng.random() < 0.8 else rng.choice(suited)
    if name in GRAPHS:
        found = GRAPHS[name].apply(rng, x, pool)
    else:
        found = layer_for(name, rng, x.shape)(x)
    if found is None:
        return
    for tensor in found if isinstance(found, (list, tuple)) else [found]:
        if tensor.dtype == "bool":
            tensor = ops.cast(tensor, "float32")
        if 2 <= len(tensor.shape) <= MOST_RANK and tensor.shape[-1] is not None:
            pool.append(tensor)


def _chain(plan, rng):
    """(input, layers) of a model that is one layer after another."""
    (entry,) = plan.inputs
    x = y = _input(entry, 0)
    found = [ENTERING[entry.kind](rng)] if entry.kind in ENTERING else []
    for layer in found:
        y = layer(y)
    for name, seed in plan.steps:
        layer = layer_for(name, random.Random(seed), y.shape) if name in LAYERS else None
        if layer is not None:
            y = layer(y)
            found.append(layer)
    return x, found or [layers.Dense(3)]


def _sequential(plan, rng):
    x, found = _chain(plan, rng)
    return keras.Sequential([x, *found])


def _subclassed(plan, rng):
    x, found = _chain(plan, rng)
    model = Stack(found, [i for i in range(len(found)) if rng.random() < 0.3])
    shape = [n or BUILT_LENGTH + axis for axis, n in enumerate(x.shape[1:])]
    model(np.zeros((2, *shape), dtypes.numpy_dtype(x.dtype)))
    return model


def compiled(model, rng):
    """Compiles with some optimizer, loss and metrics.

    No optimizer is among them that makes a whole step of a gradient that is rounding alone.
    """
    optimizer = rng.choice(
        [
            lambda: optimizers.SGD(0.05),
            lambda: optimizers.SGD(0.05, momentum=0.8),
            lambda: optimizers.Adam(0.05, epsilon=0.1),
            lambda: optimizers.RMSprop(0.05, epsilon=0.1),
        ]
    )()
    loss = rng.choice(["mse", "mae", losses.Huber(0.5), losses.LogCosh()])
    metrics = rng.choice([None, ["mae"], ["mse", "mae"]])
    if metrics and len(getattr(model, "outputs", [])) > 1:
        metrics = [list(metrics) for _ in model.outputs]
    model.compile(
        optimizer, loss, metrics=metrics, jit_compile=rng.choice(["auto", "auto", True]),
        steps_per_execution=rng.choice([1, 1, 1, 2]),
    )  # fmt: skip


def perturb(variables, rng, size):
    """Adds noise to floats, positive to variances, so that no weight is one that does nothing.

    Not to the mean and variance of a Normalization, of which it keeps tensors: `adapt` sets both.
    """
    for variable in variables:
        if not dtypes.is_float(str(variable.dtype)) or variable.name in ("mean", "variance"):
            continue
        noise = rng.normal(size=variable.shape) * size
        if "variance" in variable.name:
            noise = abs(noise)
        variable.assign(variable.value + noise.astype("float32"))
