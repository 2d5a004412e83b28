"""Callbacks hear of the batches they listen to; where none does, nothing is handed to threads."""

import concurrent.futures

import keras
import numpy as np
import pytest
from keras.src.callbacks.callback_list import CallbackList

from kerasvino.backend.training.hooks import are_awaited, are_heard


def model_and_data():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    return model, np.ones((12, 3), "float32"), np.ones((12, 2), "float32")


def run(mode, callbacks):
    model, x, y = model_and_data()
    options = {"batch_size": 4, "verbose": 0, "callbacks": callbacks}
    if mode == "train":
        model.fit(x, y, epochs=2, **options)
    elif mode == "test":
        model.evaluate(x, y, **options)
    else:
        model.predict(x, **options)


def listener(name):
    """A callback that overrides the hook of that name, and what it has heard."""
    heard = []

    def hook(self, batch, logs=None):
        heard.append(batch)

    return type("Listener", (keras.callbacks.Callback,), {name: hook})(), heard


MODES = ["train", "test", "predict"]


@pytest.mark.parametrize("end", ["begin", "end"])
@pytest.mark.parametrize("mode", MODES)
def test_a_listener_hears_each_batch(mode, end):
    callback, heard = listener(f"on_{mode}_batch_{end}")
    run(mode, [callback])
    assert heard == [0, 1, 2] * (2 if mode == "train" else 1)


@pytest.mark.parametrize("end", ["begin", "end"])
def test_the_old_names_are_those_of_training(end):
    callback, heard = listener(f"on_batch_{end}")
    run("train", [callback])
    assert heard == [0, 1, 2] * 2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("callbacks", [None, [], [keras.callbacks.EarlyStopping("loss")]])
def test_nobody_is_told_by_another_thread(mode, callbacks, monkeypatch):
    def submit(*arguments):
        raise AssertionError("nobody listens")

    monkeypatch.setattr(concurrent.futures.ThreadPoolExecutor, "submit", submit)
    run(mode, callbacks)


@pytest.mark.parametrize("mode", MODES)
def test_are_heard(mode):
    assert not are_heard(CallbackList(None, add_history=True), mode)
    assert are_heard(CallbackList(None, add_progbar=True), mode)
    assert are_heard(CallbackList([listener(f"on_{mode}_batch_end")[0]]), mode)
    assert are_heard(CallbackList([CallbackList()]), mode)  # a list in a list may do anything
    other = "test" if mode == "predict" else "predict"
    assert not are_heard(CallbackList([listener(f"on_{other}_batch_end")[0]]), mode)
    assert are_heard(type("Own", (CallbackList,), {})(), mode)


@pytest.mark.parametrize("mode", MODES)
def test_are_awaited(mode):
    hook = f"on_{mode}_batch_end"
    assert not are_awaited(CallbackList(None, add_history=True, add_progbar=True), mode)
    assert are_awaited(CallbackList([listener(hook)[0]], add_progbar=True), mode)
    assert are_awaited(CallbackList(listener(f"on_{mode}_batch_begin")[0]), mode)
    safe = listener(hook)[0]
    safe.async_safe = True
    assert not are_awaited(CallbackList([safe]), mode)
    assert are_awaited(CallbackList([safe, listener(hook)[0]]), mode)
    bar = type("Bar", (keras.callbacks.ProgbarLogger,), {})()
    assert are_awaited(CallbackList([bar]), mode)
    assert are_awaited(type("Own", (CallbackList,), {})(), mode)


@pytest.mark.parametrize("form", [lambda c: [c], lambda c: c], ids=["list", "alone"])
@pytest.mark.parametrize("mode", ["train", "test"])
def test_what_a_callback_assigns_reaches_the_next_step(mode, form):
    """Losses of a weight that is assigned after each batch, which the step does not move."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    seen = []

    class Assigning(keras.callbacks.Callback):
        def assign(self, batch, logs=None):
            seen.append(logs["loss"])
            model.layers[0].kernel.assign(np.full((3, 1), float(batch + 1)))
            model.reset_metrics()

        on_train_batch_end = on_test_batch_end = assign

    model.layers[0].kernel.assign(np.zeros((3, 1)))
    x, y = np.ones((24, 3), "float32"), np.zeros((24, 1), "float32")
    run = model.fit if mode == "train" else model.evaluate
    run(x, y, batch_size=2, verbose=0, callbacks=form(Assigning()))
    assert seen == pytest.approx([9.0 * n**2 for n in range(12)])
