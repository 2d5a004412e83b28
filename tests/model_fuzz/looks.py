"""The table of looks: actions that give results, which are compared.

A look is `look(session, rng)`.
"""

from __future__ import annotations

import concurrent.futures
import os
import pickle

import keras
import numpy as np
from keras import ops, tree
from keras.src.saving.serialization_lib import SafeModeScope

import kerasvino
from kerasvino import dtypes
from kerasvino.runtime import devices
from kerasvino.runtime.ov_tensors import to_ov
from tests.model_fuzz.build import BUILT_LENGTH

__all__ = ["LOOKS", "OFTEN", "RARE"]


def _cut(x, size):
    """The batches of `size` rows."""
    rows = len(tree.flatten(x)[0])
    return [tree.map_structure(lambda a, i=i: a[i : i + size], x) for i in range(0, rows, size)]


def _predicts(s, x, size, **more):
    before = s.state()
    s.check(
        lambda: s.model.predict(x, batch_size=size, verbose=0, **more),
        lambda: s.predictions(_cut(x, size), before),
    )


# -- predict


def predict(s, rng):
    rows = rng.choice([None, s.usual[0], 2 * s.usual[0], 2 * s.usual[0] + 1])
    _predicts(s, s.batch(rng, rows), s.usual[0])


def predict_on_batch(s, rng):
    x, before = s.batch(rng), s.state()
    s.check(lambda: s.model.predict_on_batch(x), lambda: s.predictions([x], before))


def predict_many_shapes(s, rng):
    """More shapes than there are programs of one shape each."""
    for rows, length in [(1, 5), (2, 6), (3, 7), (5, 8), (6, 9), (7, 11), (2, 6)]:
        _predicts(s, s.batch(rng, rows, length), rng.choice([4, 8]))


def predict_long(s, rng):
    """So many batches that several may run at a time, the last a short one."""
    size = s.usual[0]
    _predicts(s, s.batch(rng, 11 * size + 1, s.usual[1]), size)


def predict_with_settings(s, rng):
    chosen = rng.choice([{"performance": "throughput"}, {"threads": 1}, {"performance": "latency"}])
    with kerasvino.config.using(**chosen):
        predict(s, rng)


def predict_eagerly(s, rng):
    before = s.model.run_eagerly
    s.model.run_eagerly = True
    predict(s, rng)
    s.model.run_eagerly = before


class _Batches(keras.utils.PyDataset):
    """The batches of `x`, if `reused` in the same memory where they are of the same size."""

    def __init__(self, x, size, reused):
        super().__init__()
        self._cuts, self._reused = _cut(x, size), reused
        self._memory = tree.map_structure(np.empty_like, self._cuts[0])

    def __len__(self):
        return len(self._cuts)

    def __getitem__(self, index):
        cut = self._cuts[index]
        if not self._reused or len(tree.flatten(cut)[0]) != len(tree.flatten(self._memory)[0]):
            return (cut,)
        for memory, array in zip(tree.flatten(self._memory), tree.flatten(cut), strict=True):
            memory[...] = array
        return (self._memory,)


def predict_dataset(s, rng):
    size = s.usual[0]
    x, before = s.batch(rng, 2 * size + 1), s.state()
    reused = s.model.steps_per_execution == 1  # else Keras takes several at once
    s.check(
        lambda: s.model.predict(_Batches(x, size, reused), verbose=0),
        lambda: s.predictions(_cut(x, size), before),
    )


def threads(s, rng):
    """Four threads at once, where the model assigns nothing."""
    if "counting" in s.steps:
        return
    inputs, before = [s.batch(rng) for _ in range(4)], s.state()
    with concurrent.futures.ThreadPoolExecutor(len(inputs)) as pool:
        runs = [pool.submit(s.model.predict_on_batch, x) for x in inputs * 2]
        concurrent.futures.wait(runs)
    for run, x in zip(runs, inputs * 2, strict=True):
        s.check(run.result, lambda x=x: s.predictions([x], before), "in a thread: ")


# -- calls


def _called(s, rng, call, times=3, **more):
    """Several calls alike: the first two run eagerly, the third compiled."""
    first = s.batch(rng)
    rows, length = len(tree.flatten(first)[0]), _length(first)
    for x in [first, *(s.batch(rng, rows, length) for _ in range(times - 1))]:
        x = tree.map_structure(lambda a: a.astype("float32") if a.dtype == "float64" else a, x)
        given, before = s.tensors(x), s.state()
        s.check(
            lambda given=given: call(given, **more),
            lambda x=x, before=before: s.reference(lambda: s.model(s.tensors(x), **more), before),
        )


def _length(x):
    shape = tree.flatten(x)[0].shape
    return shape[1] if len(shape) > 1 else None


def call(s, rng):
    _called(s, rng, s.model)


def call_for_inference(s, rng):
    _called(s, rng, s.model, training=False)


def call_in_training(s, rng):
    """With the seeds and moving averages as they were, which it then moves."""
    _called(s, rng, s.model, training=True)


def jit(s, rng):
    _called(s, rng, s.jitted, times=1)


# -- evaluate, fit


def _logs(s, batches, before):
    def run():
        s.model.reset_metrics()
        for x, y in batches:
            logs = s.model.test_step((s.tensors(x), s.tensors(y)))
        return _numbers(logs)

    return s.reference(run, before)


def _numbers(logs):
    return {name: np.float32(ops.convert_to_numpy(value)) for name, value in logs.items()}


def evaluate(s, rng):
    size = s.usual[0]
    x = s.batch(rng, rng.choice([None, size, 2 * size + 1]))
    y, before = s.targets(x, rng), s.state()
    batches = list(zip(_cut(x, size), _cut(y, size), strict=True))
    s.check(
        lambda: _numbers(s.model.evaluate(x, y, batch_size=size, verbose=0, return_dict=True)),
        lambda: _logs(s, batches, before),
    )


def test_on_batch(s, rng):
    x = s.batch(rng)
    y, before = s.targets(x, rng), s.state()
    s.check(
        lambda: _numbers(s.model.test_on_batch(x, y, return_dict=True)),
        lambda: _logs(s, [(x, y)], before),
    )


test_on_batch.__test__ = False  # its name is Keras's, and no test of pytest


def train(s, rng):
    """A step of training from the same values, compiled and eagerly: logs and what it assigned."""
    model, optimizer = s.model, s.model.optimizer
    if not s.trains or model.steps_per_execution > 1:
        return
    x = s.batch(rng)
    y = s.targets(x, rng)
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    # by what a step does with them; each group is compared as one array, by its largest move
    groups = [model.trainable_variables, model.non_trainable_variables, optimizer.variables]
    variables = list({id(v): v for group in groups for v in group}.values())
    before = {id(v): v.numpy() for v in variables}

    def on_batch():
        return model.train_on_batch(x, y, return_dict=True)

    def in_fit():
        history = model.fit(x, y, batch_size=64, shuffle=False, verbose=0).history
        return {name: value[0] for name, value in history.items()}

    def eagerly():
        for variable in variables:
            variable.assign(before[id(variable)])
        with s.plain():
            model.reset_metrics()
            return model.train_step((s.tensors(x), s.tensors(y)))

    def step(run):
        return _numbers(run()), [_moves(group, before) for group in groups]

    actual = rng.choice([on_batch, in_fit])
    s.check(lambda: step(actual), lambda: step(eagerly))


def _moves(variables, before):
    """How floats have moved since, and what integers are now, each as one array."""
    floats, integers = [np.empty(0, "float32")], [np.empty(0, "int64")]
    for variable in variables:
        value = variable.numpy()
        if value.dtype.kind in "biu":
            integers.append(value.ravel().astype("int64"))
        else:
            floats.append((value - before[id(variable)]).ravel().astype("float32"))
    return np.concatenate(floats), np.concatenate(integers)


# -- copies


def _copied(s, rng, copy):
    """A copy predicts what the model does; at times the case goes on with the copy."""
    x, before = s.batch(rng), s.state()
    made = []

    def run():
        made.append(copy())
        return made[0].predict(x, verbose=0)

    s.check(run, lambda: s.predictions([x], before))
    if made and rng.random() < 0.3:
        s.use(made[0])


def save_and_load(s, rng):
    path = os.path.join(s.folder, "model.keras")

    def copy():
        s.model.save(path)
        return keras.saving.load_model(path, safe_mode=False)

    _copied(s, rng, copy)


def pickled(s, rng):
    with SafeModeScope(False):  # a Lambda layer may be among its own
        _copied(s, rng, lambda: pickle.loads(pickle.dumps(s.model)))


def export(s, rng):
    """The exported IR, run by OpenVINO alone."""
    path = os.path.join(s.folder, "exported.xml")
    # of a subclassed model Keras knows the shape that it was built with
    length = BUILT_LENGTH if s.case.plan.form == "subclassed" else None
    x, before = s.batch(rng, length=length), s.state()

    def run():
        s.model.export(path, format="openvino", verbose=False)
        compiled = devices.core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found = compiled(_for_ports(compiled.inputs, s, tree.flatten(x)))
        return [found[i].astype("float32") for i in range(len(compiled.outputs))]

    def expected():
        return [a.astype("float32") for a in tree.flatten(s.predictions([x], before))]

    s.check(run, expected)


def _for_ports(ports, s, arrays):
    by_name = dict(zip([f"in{i}" for i in range(len(arrays))], arrays, strict=True))
    found = {}
    for index, port in enumerate(ports):
        array = by_name[port.any_name] if len(ports) > 1 else arrays[0]
        kind = next(name for name, row in dtypes.TABLE.items() if row.graph == port.element_type)
        found[index] = to_ov(array.astype(dtypes.numpy_dtype(kind)), kind)
    return found


# -- the tables

LOOKS = {
    look.__name__: look
    for look in (
        predict, predict_on_batch, predict_many_shapes, predict_long, predict_with_settings,
        predict_eagerly, predict_dataset, threads, call, call_for_inference, call_in_training, jit,
        evaluate, test_on_batch, train, save_and_load, pickled, export,
    )
}  # fmt: skip
# Before and after changes: the entries that keep programs.
OFTEN = ("predict", "predict_on_batch", "call", "call_in_training", "jit", "evaluate", "train")
OFTEN += ("test_on_batch",)
RARE = tuple(LOOKS)
