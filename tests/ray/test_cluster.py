"""Ray Data and Ray Serve on this machine, started with two CPUs."""

import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from keras import layers

import kerasvino.ray

pytest.importorskip("pyarrow")
ray = pytest.importorskip("ray")
serve = pytest.importorskip("ray.serve")

# Workers cannot import this file.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

X = np.random.default_rng(0).random((100_000, 8), dtype="float32")


@pytest.fixture(scope="module")
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    serve.shutdown()
    ray.shutdown()


@pytest.fixture(scope="module")
def model():
    return keras.Sequential(
        [keras.Input((8,), name="x"), layers.Dense(32, "relu"), layers.Dense(2)]
    )


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("ray") / "model.keras"
    model.save(path)
    return path


def data(count):
    """Rows in blocks, made by Ray's own workers."""
    return ray.data.range(count, override_num_blocks=8).map_batches(
        lambda batch: {"row": batch["id"], "x": X[batch["id"]]}
    )


def predicted(given, count):
    done = data(count).map_batches(
        kerasvino.ray.Predictor,
        fn_constructor_kwargs=kerasvino.ray.arguments(given, inputs="x", outputs="y"),
        batch_size=256,
        num_cpus=0.5,
        compute=ray.data.ActorPoolStrategy(size=2),
    )
    rows, results = [], []
    for batch in done.iter_batches(batch_size=10_000):
        rows.append(batch["row"])
        results.append(batch["y"])
    order = np.argsort(np.concatenate(rows))
    assert len(order) == count
    return np.concatenate(results)[order]


def test_many_rows_are_those_of_predict(cluster, model, path):
    expected = model.predict(X, batch_size=256, verbose=0)
    np.testing.assert_array_equal(predicted(path, len(X)), expected)
    np.testing.assert_array_equal(predicted(model, 5000), expected[:5000])


class Dying(kerasvino.ray.Predictor):
    """Kills its own process in the middle, once for all actors."""

    def __init__(self, model, mark, **options):
        super().__init__(model, **options)
        self._mark, self._count = mark, 0

    def __call__(self, batch):
        self._count += 1
        if self._count == 5:
            try:
                os.close(os.open(self._mark, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(batch)


def test_a_killed_actor_loses_nothing(cluster, model, path, tmp_path):
    mark = tmp_path / "killed"
    given = kerasvino.ray.arguments(path, inputs="x", outputs="y") | {"mark": str(mark)}
    done = data(20_000).map_batches(
        Dying, fn_constructor_kwargs=given, batch_size=256, num_cpus=0.5,
        compute=ray.data.ActorPoolStrategy(size=2),
    )  # fmt: skip
    found = sorted((row["row"], tuple(row["y"])) for row in done.take_all())
    assert mark.exists()
    expected = model.predict(X[:20_000], batch_size=256, verbose=0)
    np.testing.assert_array_equal(np.array([y for _, y in found]), expected)


def test_serve_answers_all_and_reloads_under_load(cluster, model, path, tmp_path):
    newer = keras.models.clone_model(model)
    newer.save(tmp_path / "newer.keras")
    handle = serve.run(kerasvino.ray.deployment(path, threads=1), name="m", route_prefix=None)
    handle.remote(X[0]).result(timeout_s=60)

    def ask(number):
        return handle.remote(X[number]).result(timeout_s=60)

    with ThreadPoolExecutor(8) as pool:
        first = [pool.submit(ask, number) for number in range(1000)]
        time.sleep(0.2)
        reloading = threading.Thread(
            target=lambda: handle.reload.remote(tmp_path / "newer.keras").result(timeout_s=60)
        )
        reloading.start()
        second = [pool.submit(ask, number) for number in range(1000, 2000)]
        answers = np.stack([future.result() for future in [*first, *second]])
        reloading.join()
    old, new = (m.predict(X[:2000], verbose=0) for m in (model, newer))
    is_old = np.isclose(answers, old, atol=1e-6).all(axis=1)
    is_new = np.isclose(answers, new, atol=1e-6).all(axis=1)
    assert (is_old | is_new).all()
    np.testing.assert_allclose(ask(7), new[7], atol=1e-6)


def test_mistakes(cluster, path):
    with pytest.raises(ValueError, match="batch_sizes holds positive integers"):
        kerasvino.ray.deployment(path, batch_sizes=[])
    with pytest.raises(TypeError, match="unexpected keyword argument 'colums'"):
        kerasvino.ray.arguments(path, colums="x")
