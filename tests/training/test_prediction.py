"""The loop of predict: order, places, what may be written meanwhile."""

import keras
import numpy as np
import pytest
from keras import layers

import kerasvino
from kerasvino.runtime import program


def model_of(*outputs):
    x = keras.Input((3,))
    dense = layers.Dense(2)(x)
    return keras.Model(x, [dense, dense * 2] if outputs else dense)


def rows(count):
    return np.random.default_rng(0).normal(size=(count, 3)).astype("float32")


@pytest.mark.parametrize("count", [1, 4, 7, 8, 9, 12, 13])
def test_batches_in_order_whole_and_ragged(count):
    model, x = model_of(), rows(count)
    expected = x @ model.weights[0].numpy() + model.weights[1].numpy()
    found = model.predict(x, batch_size=4, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    found[...] = 0  # the caller's own
    np.testing.assert_allclose(model.predict(x, batch_size=4, verbose=0), expected, 1e-5, 1e-6)


def test_outputs_are_written_in_place(monkeypatch):
    model, x = model_of("two"), rows(12)
    model.predict(x, batch_size=4, verbose=0)
    places = []
    receiver = program.Program._receiver

    def watched(self, index, into):
        found = receiver(self, index, into)
        places.append(into is not None and found[0] is into[index])
        return found

    monkeypatch.setattr(program.Program, "_receiver", watched)
    both = model.predict(x, batch_size=4, verbose=0)
    assert places == [False] * 2 + [True] * 4
    np.testing.assert_allclose(both[1], both[0] * 2)


@pytest.mark.filterwarnings("ignore:float64 in a compiled:UserWarning")
@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_batches_of_other_floats(dtype):
    x = keras.Input((3,), dtype=dtype)
    model = keras.Model(x, layers.Dense(2, dtype=dtype)(x))
    data = rows(9)
    found = model.predict(data, batch_size=4, verbose=0)
    assert found.dtype == dtype
    expected = model.predict(data, batch_size=9, verbose=0)
    np.testing.assert_allclose(found.astype("float32"), expected.astype("float32"), rtol=1e-2)


class OneBuffer(keras.utils.PyDataset):
    """Batches of 4 rows, all in the same memory."""

    def __init__(self, x):
        super().__init__()
        self._x, self._buffer = x, np.empty((4, 3), "float32")

    def __len__(self):
        return len(self._x) // 4

    def __getitem__(self, index):
        self._buffer[...] = self._x[4 * index : 4 * index + 4]
        return (self._buffer,)


def test_a_data_set_may_write_its_array_again():
    model, x = model_of(), rows(20)
    expected = model.predict(x, verbose=0)
    found = model.predict(OneBuffer(x), verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_callbacks_see_each_batch_in_order():
    events = []

    class Log(keras.callbacks.Callback):
        def on_predict_batch_begin(self, batch, logs=None):
            events.append(("begin", batch))

        def on_predict_batch_end(self, batch, logs=None):
            events.append(("end", batch, len(logs["outputs"])))
            if batch == 2:
                self.model.stop_predicting = True

    found = model_of().predict(rows(30), batch_size=4, verbose=0, callbacks=[Log()])
    assert events == [
        ("begin", 0), ("end", 0, 4), ("begin", 1), ("end", 1, 4), ("begin", 2), ("end", 2, 4),
    ]  # fmt: skip
    assert found.shape == (12, 2)


def test_an_empty_list_of_callbacks_that_listens_itself():
    events = []

    class Listening(keras.callbacks.CallbackList):
        def on_predict_batch_begin(self, batch, logs=None):
            events.append(("begin", batch))

        def on_predict_batch_end(self, batch, logs=None):
            events.append(("end", batch))

    model_of().predict(rows(8), batch_size=4, verbose=0, callbacks=Listening())
    assert events == [("begin", 0), ("end", 0), ("begin", 1), ("end", 1)]


@pytest.mark.parametrize(
    ("performance", "data", "handed_over"),
    [
        ("latency", rows, False),
        ("latency", lambda count: OneBuffer(rows(count)), True),
        ("throughput", rows, True),
    ],
)
def test_runs_that_are_handed_over_to_other_threads(performance, data, handed_over, monkeypatch):
    model, x = model_of(), rows(12)
    ran = []
    wait = program.Run.wait
    monkeypatch.setattr(program.Run, "wait", lambda run: ran.append(run._ahead) or wait(run))
    with kerasvino.config.using(performance=performance, threads=2):
        found = model.predict(data(12), batch_size=4, verbose=0)
    assert ran == [handed_over] * 3
    np.testing.assert_allclose(found, model.predict_on_batch(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("performance", ["latency", "throughput"])
def test_several_requests_at_a_time(performance):
    model, x = model_of("two"), rows(100)
    expected = model.predict(x, verbose=0)
    with kerasvino.config.using(performance=performance):
        found = model.predict(x, batch_size=3, verbose=0)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_outputs_whose_rows_are_not_those_of_the_batch():
    x = keras.Input((3,))
    model = keras.Model(x, keras.ops.sum(x, axis=0, keepdims=True))
    found = model.predict(rows(10), batch_size=4, verbose=0)
    assert found.shape == (3, 3)
    np.testing.assert_allclose(found.sum(0), rows(10).sum(0), rtol=1e-4, atol=1e-5)


def test_steps_and_steps_per_execution():
    model, x = model_of(), rows(12)
    expected = model.predict(x, verbose=0)
    found = model.predict(x, batch_size=4, steps=2, verbose=0)
    np.testing.assert_allclose(found, expected[:8], rtol=1e-5, atol=1e-6)
    model.compile(steps_per_execution=2)
    np.testing.assert_allclose(
        model.predict(x, batch_size=4, verbose=0), expected, rtol=1e-5, atol=1e-6
    )


# -- callbacks that assign


def summing():
    """A model that sums 3 numbers, times a weight that is 0 at first."""
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, use_bias=False)])
    model.layers[0].kernel.assign(np.zeros((3, 1)))
    return model


class Assigning(keras.callbacks.Callback):
    """Assigns the number of the batch, and one for the end of it."""

    def __init__(self, at):
        super().__init__()
        hook = f"on_predict_batch_{at}"
        setattr(self, hook, self.assign)
        self.past = at == "end"

    def assign(self, batch, logs=None):
        self.model.layers[0].kernel.assign(np.full((3, 1), batch + float(self.past)))


class Ones(keras.utils.PyDataset):
    def __len__(self):
        return 24

    def __getitem__(self, index):
        return (np.ones((2, 3), "float32"),)


def together(callback):
    """A CallbackList that Keras does not know to hold a callback that listens."""
    callbacks = keras.callbacks.CallbackList()
    callbacks.callbacks.append(callback)
    return callbacks


@pytest.mark.parametrize("performance", ["latency", "throughput"])
@pytest.mark.parametrize("at", ["begin", "end"])
@pytest.mark.parametrize("source", ["array", "dataset", "generator"])
def test_what_a_callback_assigns_reaches_the_next_batch(at, source, performance):
    ones = np.ones((48, 3), "float32")
    x = {"array": ones, "dataset": Ones(), "generator": ((ones[:2],) for _ in range(24))}[source]
    model = summing()
    with kerasvino.config.using(performance=performance, threads=2):
        # a model that has predicted many batches has a program for several at a time
        model.predict(Ones(), verbose=0)
        options = {} if source != "array" else {"batch_size": 2}
        found = model.predict(x, verbose=0, callbacks=[Assigning(at)], **options)
    np.testing.assert_array_equal(found[:, 0], np.repeat(3 * np.arange(24), 2))


@pytest.mark.parametrize("form", [lambda c: c, lambda c: [c], lambda c: (c,), together])
@pytest.mark.parametrize("verbose", [0, 2])
def test_however_the_callback_is_given(form, verbose):
    model, callback = summing(), Assigning("end")
    callback.set_model(model)
    found = model.predict(
        np.ones((24, 3), "float32"), batch_size=2, verbose=verbose, callbacks=form(callback)
    )
    np.testing.assert_array_equal(found[::2, 0], 3 * np.arange(12))


@pytest.mark.parametrize("performance", ["latency", "throughput"])
@pytest.mark.parametrize("at", ["begin", "end"])
def test_a_callback_stops_exactly_there(at, performance):
    loaded = []

    def batches():
        for number in range(24):
            loaded.append(number)
            yield (np.full((2, 3), number, "float32"),)

    def stop(batch, logs=None):
        if batch == 4:
            callback.model.stop_predicting = True

    callback = keras.callbacks.Callback()
    setattr(callback, f"on_predict_batch_{at}", stop)
    model = summing()
    model.layers[0].kernel.assign(np.ones((3, 1)))
    model.predict(np.ones((2, 3)), verbose=0)
    with kerasvino.config.using(performance=performance, threads=2):
        found = model.predict(batches(), verbose=0, callbacks=[callback])
    np.testing.assert_array_equal(found[::2, 0], 3 * np.arange(5))
    assert loaded[-1] == 4


def test_a_stop_before_the_first_batch_leaves_one():
    class Stop(keras.callbacks.Callback):
        def on_predict_begin(self, logs=None):
            self.model.stop_predicting = True

    assert summing().predict(rows(12), batch_size=4, verbose=0, callbacks=[Stop()]).shape == (4, 1)


class Async(Assigning):
    async_safe = True


@pytest.mark.parametrize("callbacks", [None, [keras.callbacks.EarlyStopping("loss")], "async"])
@pytest.mark.parametrize("verbose", [0, 2])
def test_runs_overlap_where_no_callback_has_to_be_awaited(callbacks, verbose, monkeypatch):
    ran = []
    wait = program.Run.wait
    monkeypatch.setattr(program.Run, "wait", lambda run: ran.append(run._ahead) or wait(run))
    if callbacks == "async":
        callbacks = [Async("end")]
    summing().predict(OneBuffer(rows(12)), verbose=verbose, callbacks=callbacks)
    assert ran == [True] * 3
