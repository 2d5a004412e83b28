"""What happens after a fork, in one process that has imported Keras once: `main()` prints JSON.

It compiles nothing itself, so that each case begins in a fork of it that is like a new process.
"""

import gc
import json
import os
import signal
import sys
import tempfile
import threading
import time

import keras
import numpy as np

import kerasvino
from kerasvino.errors import ForkError
from kerasvino.runtime import forking

LIMIT = int(os.environ.get("FORK_LIMIT", "60"))  # seconds; a busy machine is slow
X = np.random.default_rng(0).random((40, 16), dtype="float32")
Y = np.zeros((40, 4), "float32")


class DataSet(keras.utils.PyDataset):
    def __len__(self):
        return 5

    def __getitem__(self, i):
        return X[i * 8 : i * 8 + 8], Y[:8]


def network():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((16,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(4)]
    model = keras.Sequential(layers)
    model.compile("sgd", "mse")
    return model


def batches():
    return ((X[i : i + 8],) for i in range(0, 40, 8))


USES = {
    "array": lambda m: m.predict(X, batch_size=40, verbose=0),
    "long": lambda m: m.predict(X, batch_size=4, verbose=0),
    "generator": lambda m: m.predict(batches(), steps=5, verbose=0),
    "dataset": lambda m: m.predict(DataSet(), verbose=0),
    "call": lambda m: [m(X) for _ in range(4)][-1],
    "fit": lambda m: m.fit(X, Y, verbose=0, epochs=2, shuffle=False),
    "fit a dataset": lambda m: m.fit(DataSet(), verbose=0, shuffle=False),
    "evaluate": lambda m: m.evaluate(X, Y, verbose=0),
}
IN_CHILD = ("array", "generator", "dataset", "fit")


def expected(model):
    """The predictions, by NumPy."""
    first, second = (layer for layer in model.layers if layer.weights)
    hidden = np.maximum(X @ np.asarray(first.kernel) + np.asarray(first.bias), 0)
    return hidden @ np.asarray(second.kernel) + np.asarray(second.bias)


def used(model, use):
    """Uses the model; whether the results are right."""
    before = expected(model)
    if use not in ("fit", "fit a dataset"):
        result = USES[use](model)
        return use == "evaluate" or bool(np.allclose(result, before, atol=1e-5))
    USES[use](model)
    return float(np.square(expected(model)).mean()) < float(np.square(before).mean())


def forked(function, limit=LIMIT):
    """What `function` says in a forked child: its result, "ForkError: …", or "HANG"."""
    with tempfile.TemporaryFile("w+") as said:
        child = os.fork()
        if child == 0:
            signal.alarm(limit)
            try:
                result = function()
            except Exception as error:  # noqa: BLE001 - told to the parent
                result = f"{type(error).__name__}: {error}"
            json.dump(result, said)
            said.flush()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return "HANG" if os.WTERMSIG(status) == signal.SIGALRM else f"signal {status}"
        said.seek(0)
        return json.load(said)


def pairs():
    """{parent: {child: whether the results are right}}"""

    def of(parent):
        model = network()
        assert used(model, parent)
        return {child: forked(lambda use=child: used(model, use)) for child in IN_CHILD}

    return {parent: forked(lambda use=parent: of(use), 5 * LIMIT) for parent in USES}


def convolutions():
    """A step of training a network of convolutions, after a prediction; child and grandchild."""
    layers = [keras.layers.Conv2D(16, 3, padding="same", activation="relu") for _ in range(3)]
    model = keras.Sequential(
        [keras.Input((32, 32, 3)), *layers, keras.layers.GlobalAveragePooling2D()]
    )
    model.compile("sgd", "mse")
    x, y = np.ones((4, 32, 32, 3), "float32"), np.zeros((4, 16), "float32")

    def step():
        return bool(model.train_on_batch(x, y) > 0)

    model.predict_on_batch(x)
    return [forked(step), forked(lambda: [step(), forked(step)]), step()]


def dropped():
    """Programs of the parent that are gone have left threads behind, which are not taken up."""
    for _ in range(3):
        model = network()
        used(model, "generator")
        used(model, "long")
    del model
    gc.collect()
    return [forked(lambda use=use: used(network(), use)) for use in ("generator", "long", "fit")]


def exits():
    """A child ends as any process does, with all that it holds of the parent."""
    model = network()
    used(model, "generator")
    child = os.fork()
    if child == 0:
        signal.alarm(LIMIT)
        used(model, "generator")
        sys.exit(7)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def parent_goes_on():
    """The parent's programs stay as they are."""
    model = network()
    used(model, "generator")
    [function] = model.predict_function.compiled.functions.values()
    programs = lambda: {id(s.program) for s in function.specialisations.of_shapes.values()}
    before = programs()
    forked(lambda: used(model, "generator"))
    return used(model, "generator") and programs() == before


def beside_a_thread(wait):
    """A fork while another thread runs a program that takes a while."""
    forking.LONGEST_WAIT = wait
    layers = [keras.layers.Dense(2048, "relu") for _ in range(4)]
    long = keras.Sequential([keras.Input((2048,)), *layers])
    rows = np.ones((1024, 2048), "float32")
    long.predict_on_batch(rows)
    model = network()
    thread = threading.Thread(target=lambda: [long.predict_on_batch(rows) for _ in range(2)])
    thread.start()
    while not forking._active:
        time.sleep(0.001)
    result = forked(lambda: used(model, "array"))
    thread.join()
    return [result, used(model, "array")]


def inside_predict():
    """A child that goes on with a run of its parent's."""
    model = network()
    used(model, "generator")
    parent = os.getpid()
    child = []

    def forking_batches():
        for index, batch in enumerate(batches()):
            if index == 3 and os.getpid() == parent:
                child.append(os.fork())
                if not child[0]:
                    signal.alarm(LIMIT)
            yield batch

    try:
        result = model.predict(forking_batches(), steps=5, verbose=0)
    except ForkError:
        os._exit(3)
    if os.getpid() != parent:
        os._exit(0)
    _, status = os.waitpid(child[0], 0)
    return [
        os.waitstatus_to_exitcode(status),
        bool(np.allclose(result, expected(model), atol=1e-5)),
    ]


def other_device():
    """A device that is not the CPU alone."""
    model = network()
    used(model, "array")

    def on_auto():
        with kerasvino.config.using(device="auto"):
            return used(network(), "array")

    return [forked(on_auto), forked(lambda: used(model, "array"))]


def eager():
    """Operations of one program each."""
    x = np.ones((1, 8, 8, 3), "float32")
    kernel = np.ones((3, 3, 3, 4), "float32")
    convolved = lambda: float(keras.ops.conv(x, kernel)[0, 0, 0, 0])
    return [convolved(), forked(convolved), convolved()]


def jit():
    """A compiled function with a variable, which it assigns."""
    count = keras.Variable(0.0)
    function = kerasvino.jit(lambda x: count.assign_add(x))
    one = keras.ops.ones(())
    function(one)
    child = forked(lambda: float([function(one), function(one)][-1]))
    return [child, float(function(one))]


def workers_of_a_dataset():
    """Processes that Keras forks to load a data set, while a program runs."""

    class Loaded(DataSet):
        def __init__(self):
            super().__init__(workers=2, use_multiprocessing=True)

    model = network()
    used(model, "generator")
    result = model.predict(Loaded(), verbose=0)
    return bool(np.allclose(result, expected(model), atol=1e-5))


CASES = {
    "pairs": pairs,
    "convolutions": convolutions,
    "dropped": dropped,
    "exits": exits,
    "parent goes on": parent_goes_on,
    "beside a thread": lambda: beside_a_thread(0.0),
    "waits for a thread": lambda: beside_a_thread(LIMIT / 2),
    "inside predict": inside_predict,
    "other device": other_device,
    "eager": eager,
    "jit": jit,
    "workers of a data set": workers_of_a_dataset,
}


def main(names=tuple(CASES)):
    found = {}
    for name in names:  # the pairs are forks of forks themselves
        found[name] = pairs() if name == "pairs" else forked(CASES[name], 5 * LIMIT)
    print(json.dumps(found))
