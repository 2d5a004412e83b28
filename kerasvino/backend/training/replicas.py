"""Data-parallel training: what the processes of a group exchange in a step.

Each process computes on its part of a global batch, and all end a step in the same state, that of
one process on the whole batch: gradients are averaged by the numbers of samples, states of metrics
added up, other states of layers (BatchNormalization's moving statistics) averaged. Losses that do
not divide by the number of samples are scaled so that this average is that of the global batch.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from kerasvino import dtypes
from kerasvino.backend.distribution_lib import replicas
from kerasvino.backend.keras_private import WHEN_DISTRIBUTED, at, tree
from kerasvino.backend.ops import numpy as knp
from kerasvino.backend.ops.core.convert import convert_to_tensor, to_dtype
from kerasvino.distribution import Group, Step, current_step, stepping, when_joined
from kerasvino.errors import DistributedError
from kerasvino.primitives.collective import exchange
from kerasvino.tensor import Tensor

__all__ = ["Share", "agree", "shared_step", "together", "weighed"]

_local = threading.local()


# -- data


class Share(NamedTuple):
    """A batch of this process, and how many samples of it count: all or none."""

    batch: Any
    rows: int


def weighed(data) -> tuple[Any, np.ndarray]:
    """(batch, number of its samples as a float32 scalar) of a batch or a `Share`."""
    if isinstance(data, Share):
        return data.batch, np.array(data.rows, np.float32)
    return data, np.array(_rows(data), np.float32)


def _rows(batch) -> int:
    for leaf in tree.flatten(batch):
        if leaf is not None and len(leaf.shape):
            return int(leaf.shape[0])
    return 1


def together(group: Group, iterator) -> Iterator[tuple[int, int, list[Share]]]:
    """The batches of an EpochIterator, equally many on each process.

    One whose data end before those of others goes on with its last batch, which then does not
    count: the others wait for its part of each exchange.

    Raises:
        DistributedError: a process has no data at all.
    """
    known = group.gather(iterator.num_batches)
    even = None not in known and len(set(known)) == 1
    last = None
    step = 0
    batches = iter(iterator)
    while True:
        _, _, data = next(batches, (0, 0, ()))
        shares = [Share(batch, _rows(batch)) for batch in data]
        count = len(shares)
        if not even:
            counts = group.gather(count)
            count = max(counts)
            if step == 0 and 0 in counts and count:
                without = [rank for rank, found in enumerate(counts) if not found]
                raise DistributedError(
                    f"Processes {without} of {group.size} have no data. Give each process at least "
                    "one batch: a smaller batch size, or fewer processes."
                )
        if count == 0:
            return
        last = shares[-1].batch if shares else last
        shares += [Share(last, 0)] * (count - len(shares))
        yield step, step + count - 1, shares
        step += count


# -- the state at the beginning


def agree(group: Group, model, initial_epoch: int) -> int:
    """Gives all processes the state of process 0: weights, optimizer, random numbers, the epoch.

    Returns the epoch to begin with.

    Raises:
        DistributedError: the models differ in their variables.
    """
    variables = list(model.variables)
    if model.optimizer is not None:
        variables += model.optimizer.variables
    specs = [(v.path, tuple(v.shape), v.dtype) for v in variables]
    of_first = group.broadcast(specs)
    differing = [
        f"{a or 'no variable'} there, {b or 'none'} here"
        for a, b in zip(_padded(of_first, len(specs)), _padded(specs, len(of_first)), strict=True)
        if a is None or b is None or a[1:] != b[1:]
    ]
    found = group.gather(differing[:1])
    if any(found):
        rank, first = next((r, f[0]) for r, f in enumerate(found) if f)
        raise DistributedError(
            f"The model {model.name!r} of process {rank} is not that of process 0: {first}. All "
            "processes build the same model and compile it in the same way."
        )
    for variable in variables:
        held = np.asarray(variable._value._array)
        wanted = group.spread(held)
        if wanted.tobytes() != held.tobytes():
            variable.assign(convert_to_tensor(wanted))
    return group.broadcast(initial_epoch)


def _padded(specs, length):
    return [*specs, *[None] * (length - len(specs))]


# -- a step


def shared_step(group: Group, model, step, data, rows):
    """Runs `step(data)`, which assigns the model's variables; returns its logs, of all processes.

    Args:
        group: the processes.
        model: whose step it is.
        step: `train_step` or `test_step` as a function of the data.
        data: the batch of this process.
        rows: how many samples it has, a float32 scalar tensor.
    """
    rows = convert_to_tensor(rows)
    states = {id(v): (v, v.value) for v in _states(model)}
    with stepping(Step(group, rows)):
        logs = step(data)
    changed = []
    for variable in _states(model):
        known = states.get(id(variable))
        before = known[1] if known is not None else knp.zeros_like(variable.value)
        if variable.value is not before:
            changed.append((variable, before))
    return _exchanged(model, logs, changed, rows)


def _states(model):
    """What steps assign beside weights: states of metrics and of layers, if they are floats."""
    found = {id(v): v for v in (*model.metrics_variables, *model.non_trainable_variables)}
    return [v for v in found.values() if dtypes.is_float(v.dtype) or _adds(v)]


def _adds(variable) -> bool:
    return getattr(variable, "aggregation", None) == "sum"


def _exchanged(model, logs, changed, rows):
    """Makes changed states those of all processes, and the logs with them."""
    free = []  # logs that are no results of metrics
    if isinstance(logs, dict):
        known = model.get_metrics_result() if model.metrics else {}
        free = [name for name, value in logs.items() if name not in known and _is_number(value)]
    counts = to_dtype(knp.greater(rows, 0), "float32")
    of_rank = [_part(variable, before, rows) for variable, before in changed]
    means = [knp.multiply(to_dtype(convert_to_tensor(logs[n]), "float32"), rows) for n in free]
    *sums, _ = exchange(counts, rows, *map(_of_full_width, of_rank), *means, mean=False)
    total = sums[0]
    for (variable, before), found in zip(changed, sums[1:], strict=False):
        if _adds(variable):
            found = knp.add(before, to_dtype(found, variable.dtype))
        elif getattr(variable, "aggregation", None) != "only_first_replica":
            found = knp.divide(found, total)
        variable.assign(to_dtype(found, variable.dtype))
    if not isinstance(logs, dict):
        return logs
    logs = {**logs}
    if model.metrics:
        logs |= {n: v for n, v in model.get_metrics_result().items() if n in logs}
    for name, found in zip(free, sums[1 + len(changed) :], strict=True):
        logs[name] = knp.divide(found, total)
    return logs


def _part(variable, before, rows):
    """What a process adds to the new value of a state."""
    now = variable.value
    if _adds(variable):
        return knp.subtract(now, before)
    now = to_dtype(now, "float32")
    if getattr(variable, "aggregation", None) == "only_first_replica":
        return knp.multiply(now, np.float32(replicas().rank == 0))
    return knp.multiply(now, rows)


def _is_number(value) -> bool:
    return isinstance(value, Tensor) and value.shape == () and dtypes.is_float(value.dtype)


# -- gradients and losses, wherever a step computes them


def change_keras(group: Group) -> None:
    """Puts the functions of `WHEN_DISTRIBUTED` in the place of Keras's, once."""
    for patch in WHEN_DISTRIBUTED:
        module, _, path = patch.where.partition(":")
        kind, _, name = path.rpartition(".")
        owner = at(f"{module}:{kind}")
        whole = getattr(owner, name)
        if not hasattr(whole, "_kerasvino_whole"):
            changed = _CHANGED[name](whole)
            changed._kerasvino_whole = whole
            setattr(owner, name, changed)


when_joined(change_keras)


def averaged(gradients) -> list:
    """Gradients averaged over the processes; None stays None."""
    step = current_step()
    rows = convert_to_tensor(np.float32(1)) if step is None else step.rows
    given = [convert_to_tensor(g) for g in gradients if g is not None]
    if not given:
        return list(gradients)
    *found, _ = exchange(rows, *map(_of_full_width, given), mean=True)
    rest = iter(to_dtype(mean, g.dtype) for mean, g in zip(found, given, strict=True))
    return [None if g is None else next(rest) for g in gradients]


def _of_full_width(tensor: Tensor) -> Tensor:
    """A tensor as it is exchanged: floats of 8 and 16 bits in float32."""
    is_narrow = dtypes.is_float(tensor.dtype) and tensor.dtype not in ("float32", "float64")
    return to_dtype(tensor, "float32") if is_narrow else tensor


@contextlib.contextmanager
def _applying():
    _local.applying = True
    try:
        yield
    finally:
        _local.applying = False


def _averaging(whole):
    """A method of an optimizer that takes `grads`, given their averages."""
    signature = inspect.signature(whole)

    @functools.wraps(whole)
    def method(*args, **kwargs):
        if getattr(_local, "applying", False) or replicas() is None:
            return whole(*args, **kwargs)
        given = signature.bind(*args, **kwargs)
        given.arguments["grads"] = averaged(list(given.arguments["grads"]))
        with _applying():
            return whole(*given.args, **given.kwargs)

    return method


def _of_the_global_batch(whole):
    """`reduce_weighted_values` of a loss, such that its mean over processes is the global value.

    A mean over the samples is so already. A sum is multiplied by N / n, the samples of all
    processes by those of this one; what is divided by a count d of its own (of what is not masked,
    of weights) by (d / D) * (N / n), with the count D of all.
    """

    @functools.wraps(whole)
    def reduced(values, sample_weight=None, mask=None, reduction="sum_over_batch_size", dtype=None):
        result = whole(values, sample_weight, mask, reduction, dtype)
        step = current_step()
        if step is None:
            return result
        counts = to_dtype(knp.greater(step.rows, 0), "float32")
        own = _divisor(values, sample_weight, mask, reduction, dtype)
        if own is _SAMPLES:
            return result
        if own is None:
            samples, _ = exchange(counts, step.rows, mean=False)
            share = convert_to_tensor(np.float32(1))
        else:
            samples, divisor, _ = exchange(counts, step.rows, own, mean=False)
            share = knp.divide(own, knp.maximum(divisor, np.float32(1e-30)))
        factor = knp.multiply(share, knp.divide(samples, knp.maximum(step.rows, 1)))
        return knp.multiply(result, to_dtype(factor, convert_to_tensor(result).dtype))

    return reduced


_SAMPLES = object()


def _divisor(values, sample_weight, mask, reduction, dtype):
    """What a loss divides its sum by, a float32 scalar; None: nothing; `_SAMPLES`: their number."""
    from kerasvino.backend.keras_private import apply_mask, standardize_reduction

    reduction = standardize_reduction(reduction)
    if reduction == "sum":
        return None
    if reduction == "mean_with_sample_weight" and (sample_weight is not None or mask is not None):
        values = convert_to_tensor(values, dtype=dtype)
        weights = apply_mask(sample_weight, mask, values.dtype, reduction)
        return knp.sum(convert_to_tensor(weights, "float32"))
    if reduction in ("mean", "sum_over_batch_size") and mask is not None:
        return knp.sum(convert_to_tensor(mask, "float32"))
    return _SAMPLES


_CHANGED = {
    "apply": _averaging,
    "stateless_apply": _averaging,
    "reduce_weighted_values": _of_the_global_batch,
}
