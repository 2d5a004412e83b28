"""Ctrl-C within a long run cancels it."""

import os
import signal
import threading
import time

import keras
import numpy as np
import pytest


@pytest.mark.skipif(os.name == "nt", reason="os.kill ends the process there")
def test_a_long_run_is_cancelled():
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals reach the main thread alone")
    layers = [keras.layers.Dense(2048, "relu") for _ in range(12)]
    model = keras.Sequential([keras.Input((2048,)), *layers])
    x = np.ones((1024, 2048), "float32")
    expected = model.predict_on_batch(x)
    start = time.perf_counter()
    model.predict_on_batch(x)
    whole = time.perf_counter() - start
    sent = []

    def interrupt():
        time.sleep(whole / 8)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            model.predict_on_batch(x)
        answered = time.perf_counter() - sent[0]
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert answered < max(0.5, whole / 2)
    np.testing.assert_array_equal(model.predict_on_batch(x), expected)
